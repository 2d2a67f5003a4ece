// What the elementwise operators are given, matched in memory, so that one index serves all
// tensors.
//
// The tensor that the result belongs to (z, x, P) sets the order of the elements: contiguous and
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

// What weighs the parts of a denominator, and what stabilizes it; see signed_denominator.
struct SignedRatioWeights {
  double whole, gamma, epsilon;
};

struct SignedRatioOperands {
  OptionalTensor multiplier, amount;
  Tensor z, size;
  SignedRatioWeights by;
  Tensor s;
  OptionalTensor below;
};

inline SignedRatioOperands signed_ratio_operands(const OptionalTensor& multiplier,
                                                 const OptionalTensor& amount, const Tensor& z,
                                                 const Tensor& size, const SignedRatioWeights& by,
                                                 bool apart) {
  STD_TORCH_CHECK(multiplier || amount, "a ratio needs a multiplier or an amount");
  SignedRatioOperands o;
  o.z = dense(z);
  o.multiplier = laid_out_like(multiplier, o.z);
  o.amount = laid_out_like(amount, o.z);
  o.size = laid_out_like(size, o.z);
  o.by = by;
  o.s = torch::stable::empty_like(o.z);
  if (apart) o.below = torch::stable::empty_like(o.z);
  return o;
}

// A baseline x0 of the dense tensor x, in its order: element i of x meets i % x0.numel() of x0.
inline Tensor baseline_in_order_of(const Tensor& x0, const Tensor& x) {
  const bool in_order = x.dim() > 0 && x.stride(0) == x.numel() / x.size(0);
  if (in_order) return baseline_laid_out_like(x0, x);
  Tensor copy = torch::stable::empty_like(x);
  return torch::stable::copy_(copy, x0);
}

struct RescaleOperands {
  Tensor multiplier, x, x0;
  Tensor m_x;
};

inline RescaleOperands rescale_operands(const Tensor& multiplier, const Tensor& x,
                                        const Tensor& x0) {
  RescaleOperands o;
  o.x = dense(x);
  o.multiplier = laid_out_like(multiplier, o.x);
  o.x0 = baseline_in_order_of(x0, o.x);
  o.m_x = torch::stable::empty_like(o.x);
  return o;
}

struct RevealCancelOperands {
  Tensor positive, negative, P, N, x0;
  OptionalTensor x;
  Tensor m_positive, m_negative;
};

inline RevealCancelOperands reveal_cancel_operands(const Tensor& positive, const Tensor& negative,
                                                   const Tensor& P, const Tensor& N,
                                                   const Tensor& x0, const OptionalTensor& x) {
  RevealCancelOperands o;
  o.P = dense(P);
  o.N = laid_out_like(N, o.P);
  o.positive = laid_out_like(positive, o.P);
  o.negative = laid_out_like(negative, o.P);
  o.x0 = baseline_in_order_of(x0, o.P);
  o.x = laid_out_like(x, o.P);
  o.m_positive = torch::stable::empty_like(o.P);
  o.m_negative = torch::stable::empty_like(o.P);
  return o;
}

struct SignedRevealCancelOperands {
  Tensor positive, negative, x, x0, size;
  Tensor u, v;
};

inline SignedRevealCancelOperands signed_reveal_cancel_operands(const Tensor& positive,
                                                                const OptionalTensor& negative,
                                                                const Tensor& x, const Tensor& x0,
                                                                const Tensor& size) {
  SignedRevealCancelOperands o;
  o.x = dense(x);
  o.positive = laid_out_like(positive, o.x);
  o.negative = negative ? laid_out_like(*negative, o.x) : o.positive;
  o.x0 = baseline_in_order_of(x0, o.x);
  o.size = laid_out_like(size, o.x);
  o.u = torch::stable::empty_like(o.x);
  o.v = torch::stable::empty_like(o.x);
  return o;
}

}  // namespace relprop
