// What the operators of shared and proportional max pooling are given, matched in memory.
#pragma once

#include "pooling.h"

namespace relprop {

// What arrives at the windows is in units of their maxima (multiplier), as such (amount), or both.
struct ShareOperands {
  OptionalTensor multiplier, amount;
  Tensor x, m_x;
  Planes multiplier_planes, amount_planes, x_planes, m_x_planes;
  Pool pool;
  int64_t batch = 0, channels = 0;
  double epsilon = 0;
};

// The one of the two that there is: both have the shape of the pool's output.
inline const Tensor& at_windows(const OptionalTensor& multiplier, const OptionalTensor& amount) {
  STD_TORCH_CHECK(multiplier || amount, "a pool needs a multiplier or an amount");
  return multiplier ? *multiplier : *amount;
}

inline ShareOperands share_operands(const OptionalTensor& multiplier, const OptionalTensor& amount,
                                    const Tensor& x, const Pool& pool, double epsilon) {
  ShareOperands o;
  o.pool = pool;
  o.batch = x.size(0);
  o.channels = x.size(1);
  o.epsilon = epsilon;
  o.x = in_planes(x);
  o.m_x = torch::stable::empty_like(o.x);
  if (multiplier) o.multiplier = in_planes(*multiplier);
  if (amount) o.amount = in_planes(*amount);
  if (multiplier) o.multiplier_planes = planes_of(*o.multiplier);
  if (amount) o.amount_planes = planes_of(*o.amount);
  o.x_planes = planes_of(o.x);
  o.m_x_planes = planes_of(o.m_x);
  return o;
}

}  // namespace relprop
