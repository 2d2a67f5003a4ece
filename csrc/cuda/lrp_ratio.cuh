#pragma once

#include "../rules.h"
#include "packs.cuh"

namespace relprop::cuda {

// Null where not given; the channel of element i is (i / inner) % channels.
template <typename S>
struct RatioArguments {
  const S* multiplier;
  const S* amount;
  const S* z;
  const S* denominator;
  const S* bias;
  S* s;
  int64_t count, inner, channels;
};

// d -= bias, for the elements from i on.
template <int kPack, typename S, typename A>
__device__ void leave_out_bias(const RatioArguments<S>& a, int64_t i, A (&d)[kPack]) {
  const Division run = divide(i, a.inner);
  int64_t channel = divide(run.quotient, a.channels).remainder;
  int64_t inside = run.remainder;
  for (int k = 0; k < kPack; ++k) {
    d[k] -= static_cast<A>(a.bias[channel]);
    if (++inside < a.inner) continue;
    inside = 0;
    channel = channel + 1 < a.channels ? channel + 1 : 0;
  }
}

// R = multiplier * f(z) + amount; s = R / stabilize(denominator - bias).
template <int kPack, typename S, typename A, typename F>
__global__ void lrp_ratio_kernel(RatioArguments<S> a, F f, A epsilon) {
  for (int64_t i = first_thread() * kPack; i < a.count; i += all_threads() * kPack) {
    A R[kPack] = {}, z[kPack], d[kPack], more[kPack];
    load(a.denominator, i, a.count, d, A(1));
    if (a.multiplier != nullptr) {
      load(a.multiplier, i, a.count, R, A(0));
      load(a.z, i, a.count, z, A(0));
      for (int k = 0; k < kPack; ++k) R[k] *= f.f(z[k]);
    }
    if (a.amount != nullptr) {
      load(a.amount, i, a.count, more, A(0));
      for (int k = 0; k < kPack; ++k) R[k] += more[k];
    }
    if (a.bias != nullptr) leave_out_bias(a, i, d);
    for (int k = 0; k < kPack; ++k) R[k] = stabilized_ratio(R[k], d[k], epsilon);
    store(a.s, i, a.count, R);
  }
}

}  // namespace relprop::cuda
