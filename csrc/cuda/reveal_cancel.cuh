#pragma once

#include "../rules.h"
#include "packs.cuh"

namespace relprop::cuda {

// Element i of P meets element i % period of x0; x may be null.
template <typename S>
struct RevealCancelArguments {
  const S* positive;
  const S* negative;
  const S* P;
  const S* N;
  const S* x0;
  const S* x;
  S* m_positive;
  S* m_negative;
  int64_t count, period;
};

template <int kPack, typename S, typename A, typename F>
__global__ void reveal_cancel_kernel(RevealCancelArguments<S> a, F f, A h) {
  for (int64_t i = first_thread() * kPack; i < a.count; i += all_threads() * kPack) {
    A positive[kPack], negative[kPack], P[kPack], N[kPack], r[kPack], x[kPack];
    load(a.positive, i, a.count, positive, A(0));
    load(a.negative, i, a.count, negative, A(0));
    load(a.P, i, a.count, P, A(0));
    load(a.N, i, a.count, N, A(0));
    load_repeated(a.x0, i, a.period, r);
    for (int k = 0; k < kPack; ++k) x[k] = r[k] + (P[k] + N[k]);
    if (a.x != nullptr) load(a.x, i, a.count, x, A(0));
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      const Parts<A> slopes = reveal_cancel_slopes(f, P[k], N[k], r[k], x[k], h);
      positive[k] = along_slope(positive[k], slopes.positive);
      negative[k] = along_slope(negative[k], slopes.negative);
    }
    store(a.m_positive, i, a.count, positive);
    store(a.m_negative, i, a.count, negative);
  }
}

}  // namespace relprop::cuda
