#pragma once

#include "../rules.h"
#include "packs.cuh"

namespace relprop::cuda {

// Element i of x meets element i % period of x0. The multipliers, u and v are null where the
// size of y is wanted, else that is.
template <typename S>
struct SignedRevealCancelArguments {
  const S* positive;
  const S* negative;
  const S* x;
  const S* x0;
  const S* size;
  S* u;
  S* v;
  S* size_of_y;
  int64_t count, period;
};

// Both operators in one: y+ = P * (y+ / P) is what the multiplier P would bring, and y- likewise.
template <int kPack, typename S, typename A, typename F>
__global__ void signed_reveal_cancel_kernel(SignedRevealCancelArguments<S> a, F f, A h) {
  const bool sizes_only = a.size_of_y != nullptr;
  for (int64_t i = first_thread() * kPack; i < a.count; i += all_threads() * kPack) {
    A x[kPack], r[kPack], size[kPack], positive[kPack] = {}, negative[kPack] = {};
    load(a.x, i, a.count, x, A(0));
    load_repeated(a.x0, i, a.period, r);
    load(a.size, i, a.count, size, A(0));
    if (!sizes_only) load(a.positive, i, a.count, positive, A(0));
    if (!sizes_only) load(a.negative, i, a.count, negative, A(0));
    A sum[kPack], difference[kPack];
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      const Parts<A> d = parts_of(x[k] - r[k], size[k]);
      const Parts<A> slopes = reveal_cancel_slopes(f, d.positive, d.negative, r[k], x[k], h);
      const A rising = along_slope(sizes_only ? d.positive : positive[k], slopes.positive);
      const A falling = along_slope(sizes_only ? d.negative : negative[k], slopes.negative);
      sum[k] = rising + falling;
      difference[k] = rising - falling;
    }
    if (sizes_only) {
      store(a.size_of_y, i, a.count, difference);
      continue;
    }
    for (int k = 0; k < kPack; ++k) sum[k] /= A(2);
    for (int k = 0; k < kPack; ++k) difference[k] /= A(2);
    store(a.u, i, a.count, sum);
    store(a.v, i, a.count, difference);
  }
}

}  // namespace relprop::cuda
