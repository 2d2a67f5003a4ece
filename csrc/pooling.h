// What a max pool's backward operators are given, matched in memory.
//
// The spatial dimensions of each tensor must lie in one run of equal steps, so that one number
// names a place in the plane: true of contiguous and of channels-last tensors, and of slices of
// them along batch and channels. A tensor that lies otherwise is copied.
#pragma once

#include "planes.h"
#include "stable.h"
#include "windows.h"

namespace relprop {

struct PoolOperands {
  Tensor multiplier, x;
  OptionalTensor x0;
  Tensor m_x;
  Planes multiplier_planes, x_planes, x0_planes, m_x_planes;
  Pool pool;
  int64_t batch = 0, channels = 0;
};

// The step of the plane's run; 0 if it does not lie in one.
inline int64_t plane_step(const Tensor& t) {
  int64_t step = 0, expected = 0;
  for (int64_t d = t.dim() - 1; d >= 2; --d) {
    if (t.size(d) == 1) continue;
    if (step == 0) step = expected = t.stride(d);
    if (t.stride(d) != expected) return 0;
    expected *= t.size(d);
  }
  return step == 0 ? 1 : step;
}

inline Tensor in_planes(const Tensor& t) {
  return plane_step(t) == 0 ? torch::stable::contiguous(t) : t;
}

// The planes of t; a tensor common to the batch has the same ones for every example.
inline Planes planes_of(const Tensor& t) {
  return {t.size(0) == 1 ? 0 : t.stride(0), t.size(1) == 1 ? 0 : t.stride(1), plane_step(t)};
}

inline PoolOperands pool_operands(const Tensor& multiplier, const Tensor& x,
                                  const OptionalTensor& x0, const Pool& pool) {
  PoolOperands o;
  o.pool = pool;
  o.batch = x.size(0);
  o.channels = x.size(1);
  o.multiplier = in_planes(multiplier);
  o.x = in_planes(x);
  if (x0) o.x0 = in_planes(is_dense(o.x) ? baseline_laid_out_like(*x0, o.x) : *x0);
  o.m_x = torch::stable::empty_like(o.x);
  o.multiplier_planes = planes_of(o.multiplier);
  o.x_planes = planes_of(o.x);
  if (x0) o.x0_planes = planes_of(*o.x0);
  o.m_x_planes = planes_of(o.m_x);
  return o;
}

// The result m_x, in the memory format of x also where x had to be copied to be read.
inline Tensor like_input(const Tensor& read, const Tensor& m_x, const Tensor& x) {
  if (read.get() == x.get()) return m_x;
  Tensor result = torch::stable::empty_like(x);
  return same_strides(m_x, result) ? m_x : torch::stable::copy_(result, m_x);
}

inline Tensor like_input(const PoolOperands& o, const Tensor& x) {
  return like_input(o.x, o.m_x, x);
}

// The sizes along the spatial dimensions of a tensor.
inline std::vector<int64_t> spatial_size(const Tensor& t) {
  return {t.sizes().begin() + 2, t.sizes().end()};
}

// torch's output size: with ceil_mode, a last window that starts in the input or before it.
inline std::vector<int64_t> pooled_size(const Tensor& x, const std::vector<int64_t>& kernel,
                                        const std::vector<int64_t>& stride,
                                        const std::vector<int64_t>& padding,
                                        const std::vector<int64_t>& dilation, bool ceil_mode) {
  std::vector<int64_t> size = spatial_size(x);
  for (size_t d = 0; d < size.size(); ++d) {
    const int64_t end = size[d] + padding[d];
    const int64_t reach = end + padding[d] - dilation[d] * (kernel[d] - 1) - 1;
    size[d] = (reach + (ceil_mode ? stride[d] - 1 : 0)) / stride[d] + 1;
    if (ceil_mode && (size[d] - 1) * stride[d] >= end) --size[d];
  }
  return size;
}

// The windows that give this output size.
inline Pool fixed_pool(const std::vector<int64_t>& size, const Tensor& x,
                       const std::vector<int64_t>& kernel, const std::vector<int64_t>& stride,
                       const std::vector<int64_t>& padding, const std::vector<int64_t>& dilation) {
  const int64_t dims = x.dim() - 2, missing = Pool::kDims - dims;
  STD_TORCH_CHECK(dims >= 1 && missing >= 0 && int64_t(kernel.size()) == dims &&
                      int64_t(stride.size()) == dims && int64_t(padding.size()) == dims &&
                      int64_t(dilation.size()) == dims,
                  "a pool needs one kernel size, stride, padding and dilation for each dimension");
  Pool pool;
  for (int64_t d = 0; d < dims; ++d) {
    pool.along[missing + d] =
        Windows::fixed(x.size(d + 2), size[d], kernel[d], stride[d], padding[d], dilation[d]);
  }
  return pool;
}

inline Pool fixed_pool(const Tensor& multiplier, const Tensor& x,
                       const std::vector<int64_t>& kernel, const std::vector<int64_t>& stride,
                       const std::vector<int64_t>& padding, const std::vector<int64_t>& dilation) {
  return fixed_pool(spatial_size(multiplier), x, kernel, stride, padding, dilation);
}

inline Pool adaptive_pool(const std::vector<int64_t>& size, const Tensor& x) {
  const int64_t dims = x.dim() - 2, missing = Pool::kDims - dims;
  STD_TORCH_CHECK(dims >= 1 && missing >= 0 && int64_t(size.size()) == dims,
                  "a pool needs one to three spatial dimensions");
  Pool pool;
  for (int64_t d = 0; d < dims; ++d) {
    pool.along[missing + d] = Windows::to_count(x.size(d + 2), size[d]);
  }
  return pool;
}

inline Pool adaptive_pool(const Tensor& multiplier, const Tensor& x) {
  return adaptive_pool(spatial_size(multiplier), x);
}

}  // namespace relprop
