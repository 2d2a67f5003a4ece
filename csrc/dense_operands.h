// What the dense operators are given, as matrices: d (examples, inputs), weight (outputs, inputs).
#pragma once

#include "stable.h"

namespace relprop {

struct DenseOperands {
  Tensor d, weight;
  int64_t examples = 0, inputs = 0, outputs = 0;
  int64_t weight_step = 0;  // from row to row
};

inline DenseOperands dense_operands(const Tensor& d, const Tensor& weight) {
  DenseOperands o;
  o.d = torch::stable::contiguous(d);
  o.weight =
      weight.stride(1) == 1 || weight.size(1) <= 1 ? weight : torch::stable::contiguous(weight);
  o.outputs = weight.size(0);
  o.inputs = weight.size(1);
  o.weight_step = o.weight.stride(0);
  o.examples = 1;
  for (int64_t dim = 0; dim + 1 < d.dim(); ++dim) o.examples *= d.size(dim);
  return o;
}

// A contiguous tensor with the examples of d, and rows of this length.
inline Tensor rows_like(const Tensor& d, int64_t length) {
  std::vector<int64_t> sizes(d.sizes().begin(), d.sizes().end()), strides(d.dim());
  sizes.back() = length;
  int64_t step = 1;
  for (int64_t dim = d.dim() - 1; dim >= 0; --dim) {
    strides[dim] = step;
    step *= std::max<int64_t>(sizes[dim], 1);
  }
  return empty_strided_like(d, sizes, strides);
}

}  // namespace relprop
