// What the elementwise operators are given, matched in memory, so that one index serves all
// tensors.
//
// The tensor that the result belongs to (z, x) sets the order of the elements: contiguous and
// channels-last ones are walked as they lie. A tensor that lies otherwise is copied into its order.
#pragma once

#include "stable.h"

namespace relprop {

struct RatioOperands {
  OptionalTensor multiplier, amount;
  Tensor z, denominator;
  OptionalTensor bias;
  Tensor s;
  // The channel of element i is (i / inner) % channels.
  int64_t inner = 1, channels = 1;
};

inline RatioOperands ratio_operands(const OptionalTensor& multiplier, const OptionalTensor& amount,
                                    const Tensor& z, const OptionalTensor& denominator,
                                    const OptionalTensor& bias, int64_t channel_dim) {
  RatioOperands o;
  o.z = dense(z);
  o.multiplier = laid_out_like(multiplier, o.z);
  o.amount = laid_out_like(amount, o.z);
  o.denominator = denominator ? laid_out_like(*denominator, o.z) : o.z;
  if (bias) {
    o.bias = torch::stable::contiguous(*bias);
    const int64_t dim = channel_dim < 0 ? channel_dim + z.dim() : channel_dim;
    o.channels = o.z.size(dim);
    o.inner = o.channels == 1 ? o.z.numel() : o.z.stride(dim);
    STD_TORCH_CHECK(bias->numel() == o.channels, "bias must have one element for each channel");
  }
  o.s = torch::stable::empty_like(o.z);
  return o;
}

// Element i of x meets element i % x0.numel() of x0.
struct RescaleOperands {
  Tensor multiplier, x, x0;
  Tensor m_x;
};

inline RescaleOperands rescale_operands(const Tensor& multiplier, const Tensor& x,
                                        const Tensor& x0) {
  RescaleOperands o;
  o.x = dense(x);
  o.multiplier = laid_out_like(multiplier, o.x);
  const bool in_order = o.x.dim() > 0 && o.x.stride(0) == o.x.numel() / o.x.size(0);
  if (in_order) {
    o.x0 = baseline_laid_out_like(x0, o.x);
  } else {
    o.x0 = torch::stable::empty_like(o.x);
    torch::stable::copy_(o.x0, x0);
  }
  o.m_x = torch::stable::empty_like(o.x);
  return o;
}

}  // namespace relprop
