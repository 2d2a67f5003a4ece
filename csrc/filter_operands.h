// What the fused convolution is given, as its kernel reads it: images and filters without gaps, the
// channels that are summed over side by side.
#pragma once

#include "stable.h"

namespace relprop {

// Whether dimensions longer than 1 have these strides.
inline bool has_strides(const Tensor& t, const std::vector<int64_t>& strides) {
  for (int64_t d = 0; d < t.dim(); ++d) {
    if (t.size(d) > 1 && t.stride(d) != strides[d]) return false;
  }
  return true;
}

// t itself, or a copy of it with these strides.
inline Tensor with_strides(const Tensor& t, const std::vector<int64_t>& strides) {
  if (has_strides(t, strides)) return t;
  Tensor copy =
      empty_strided_like(t, std::vector<int64_t>(t.sizes().begin(), t.sizes().end()), strides);
  return torch::stable::copy_(copy, t);
}

inline Tensor dense_channels_last(const Tensor& x) {
  const int64_t column = x.size(1), row = x.size(3) * column;
  return with_strides(x, {x.size(2) * row, 1, row, column});
}

inline OptionalTensor dense_channels_last(const OptionalTensor& x) {
  return x ? OptionalTensor(dense_channels_last(*x)) : std::nullopt;
}

// Filters (out, in, rows, columns) with `in` side by side; for the transpose, with `out`.
inline Tensor filters_side_by_side(const Tensor& weight, bool transposed) {
  const int64_t tap = weight.size(transposed ? 0 : 1), row = weight.size(3) * tap;
  const int64_t filter = weight.size(2) * row;
  if (transposed) return with_strides(weight, {1, filter, row, tap});
  return with_strides(weight, {filter, 1, row, tap});
}

}  // namespace relprop
