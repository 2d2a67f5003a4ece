// What the operators of Shapley max pooling are given, matched in memory.
#pragma once

#include "pooling.h"

namespace relprop {

// positive and negative are what the pool's rises and falls have: their multipliers, which m_x is
// made of, or the parts of the change that they bring, which are results (then there is no m_x).
struct ShapleyOperands {
  Tensor positive, negative, x, x0, m_x;
  Planes positive_planes, negative_planes, x_planes, x0_planes, m_x_planes;
  Pool pool;
  int64_t batch = 0, channels = 0;
};

// The elements of positive or negative; only results are written to.
template <typename T>
T* side_of(const ShapleyOperands& o, const Tensor& side) {
  return o.m_x.defined() ? const_cast<T*>(data_of<T>(side)) : mutable_data_of<T>(side);
}

inline ShapleyOperands shapley_inputs(const Tensor& x, const Tensor& x0, const Pool& pool) {
  ShapleyOperands o;
  o.pool = pool;
  o.batch = x.size(0);
  o.channels = x.size(1);
  o.x = in_planes(x);
  o.x0 = in_planes(is_dense(o.x) ? baseline_laid_out_like(x0, o.x) : x0);
  o.x_planes = planes_of(o.x);
  o.x0_planes = planes_of(o.x0);
  return o;
}

inline ShapleyOperands shapley_operands(const Tensor& positive, const OptionalTensor& negative,
                                        const Tensor& x, const Tensor& x0, const Pool& pool) {
  ShapleyOperands o = shapley_inputs(x, x0, pool);
  o.positive = in_planes(positive);
  o.negative = negative ? in_planes(*negative) : o.positive;
  o.m_x = torch::stable::empty_like(o.x);
  o.positive_planes = planes_of(o.positive);
  o.negative_planes = planes_of(o.negative);
  o.m_x_planes = planes_of(o.m_x);
  return o;
}

// The strides of these sizes in the memory format of x.
inline std::vector<int64_t> pooled_strides(const Tensor& x, const std::vector<int64_t>& sizes) {
  const auto strides_of = [&](const auto& size, bool channels_last) {
    std::vector<int64_t> order, strides(x.dim());
    if (channels_last) order.push_back(1);
    for (int64_t d = x.dim() - 1; d >= 0; --d) {
      if (d != 1 || !channels_last) order.push_back(d);
    }
    int64_t step = 1;
    for (const int64_t d : order) {
      strides[d] = step;
      step *= std::max<int64_t>(size[d], 1);
    }
    return strides;
  };
  const auto lies = [&](bool channels_last) {
    const std::vector<int64_t> strides = strides_of(x.sizes(), channels_last);
    for (int64_t d = 0; d < x.dim(); ++d) {
      if (x.size(d) != 1 && x.stride(d) != strides[d]) return false;
    }
    return true;
  };
  return strides_of(sizes, x.dim() > 3 && x.numel() > 0 && !lies(false) && lies(true));
}

inline ShapleyOperands shapley_parts_operands(const Tensor& x, const Tensor& x0, const Pool& pool) {
  ShapleyOperands o = shapley_inputs(x, x0, pool);
  std::vector<int64_t> sizes = {o.batch, o.channels};
  for (int64_t d = 2; d < x.dim(); ++d) {
    sizes.push_back(pool.along[d - x.dim() + Pool::kDims].count);
  }
  const std::vector<int64_t> strides = pooled_strides(x, sizes);
  o.positive = empty_strided_like(x, sizes, strides);
  o.negative = empty_strided_like(x, sizes, strides);
  o.positive_planes = planes_of(o.positive);
  o.negative_planes = planes_of(o.negative);
  return o;
}

}  // namespace relprop
