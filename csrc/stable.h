// The one file that knows torch's stable ABI: tensors, their layout, checks and registration.
//
// What is built on it runs under every Python from 3.10 and every torch from 2.10, without being
// built again. Strings are kept out of the schemas, as torch 2.13 never frees the ones it passes.
#pragma once

#define TORCH_TARGET_VERSION 0x020a000000000000
#if defined(__CUDACC__) && !defined(USE_CUDA)
#define USE_CUDA
#endif

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <optional>
#include <vector>

#include "activations.h"

namespace relprop {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using OptionalTensor = std::optional<Tensor>;

inline Tensor in_dtype(const Tensor& t, ScalarType dtype) { return torch::stable::to(t, dtype); }

inline OptionalTensor in_dtype(const OptionalTensor& t, ScalarType dtype) {
  return t ? OptionalTensor(in_dtype(*t, dtype)) : std::nullopt;
}

inline bool is_half(const Tensor& t) {
  return t.scalar_type() == ScalarType::Half || t.scalar_type() == ScalarType::BFloat16;
}

template <typename T>
const T* data_of(const Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}

template <typename T>
const T* data_of(const OptionalTensor& t) {
  return t ? data_of<T>(*t) : nullptr;
}

template <typename T>
T* mutable_data_of(const Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

inline Tensor empty_strided_like(const Tensor& owner, const std::vector<int64_t>& sizes,
                                 const std::vector<int64_t>& strides) {
  int32_t dtype, device_type, device_index;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(owner.get(), &dtype));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(owner.get(), &device_type));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(owner.get(), &device_index));
  AtenTensorHandle handle;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(int64_t(sizes.size()), sizes.data(),
                                                         strides.data(), dtype, device_type,
                                                         device_index, &handle));
  return Tensor(handle);
}

// Whether the elements fill their memory without gaps or overlaps, in whatever order.
inline bool is_dense(const Tensor& t) {
  std::vector<int64_t> order(t.dim());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](int64_t a, int64_t b) { return t.stride(a) < t.stride(b); });
  int64_t expected = 1;
  for (const int64_t d : order) {
    if (t.size(d) == 1) continue;
    if (t.stride(d) != expected) return false;
    expected *= t.size(d);
  }
  return true;
}

// t itself, or a dense copy of it.
inline Tensor dense(const Tensor& t) {
  if (is_dense(t)) return t;
  Tensor copy = torch::stable::empty_like(t);
  return torch::stable::copy_(copy, t);
}

// Images of these sizes, with their channels side by side.
inline Tensor empty_channels_last(const Tensor& owner, const std::vector<int64_t>& sizes) {
  const int64_t column = sizes[1], row = sizes[3] * column;
  return empty_strided_like(owner, sizes, {sizes[2] * row, 1, row, column});
}

// x itself, or a copy of it, with its channels side by side.
inline Tensor channels_last(const Tensor& x) {
  if (x.stride(1) == 1 || x.size(1) == 1) return x;
  Tensor copy = empty_channels_last(x, {x.size(0), x.size(1), x.size(2), x.size(3)});
  return torch::stable::copy_(copy, x);
}

// Whether a and b have the same strides along the dimensions from `first` on.
inline bool same_strides(const Tensor& a, const Tensor& b, int64_t first = 0) {
  for (int64_t d = first; d < a.dim(); ++d) {
    if (a.size(d) > 1 && a.stride(d) != b.stride(d)) return false;
  }
  return true;
}

// t itself, or a copy of it with the strides of its owner, which has the same shape and is dense.
inline Tensor laid_out_like(const Tensor& t, const Tensor& owner) {
  if (same_strides(t, owner)) return t;
  Tensor copy = torch::stable::empty_like(owner);
  return torch::stable::copy_(copy, t);
}

inline OptionalTensor laid_out_like(const OptionalTensor& t, const Tensor& owner) {
  return t ? OptionalTensor(laid_out_like(*t, owner)) : std::nullopt;
}

// A baseline x0 of the dense tensor x, one for each example or one for all, with the strides of x.
// A common one lies as it would in the place of the first example.
inline Tensor baseline_laid_out_like(const Tensor& x0, const Tensor& x) {
  if (same_strides(x0, x, 1) && (x0.size(0) == 1 || x0.stride(0) == x.stride(0))) return x0;
  const std::vector<int64_t> sizes(x0.sizes().begin(), x0.sizes().end());
  const std::vector<int64_t> strides(x.strides().begin(), x.strides().end());
  Tensor copy = empty_strided_like(x, sizes, strides);
  return torch::stable::copy_(copy, x0);
}

inline Parameters parameters_of(const std::vector<double>& values) {
  STD_TORCH_CHECK(values.size() <= size_t(Parameters::kMost), "too many activation parameters");
  Parameters parameters;
  std::copy(values.begin(), values.end(), parameters.value);
  return parameters;
}

}  // namespace relprop
