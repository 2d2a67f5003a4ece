#pragma once

#include "../rules.h"
#include "packs.cuh"

namespace relprop::cuda {

// The multiplier or the amount may be null; so may `below`: then s is for all of z, else for where
// z >= 0.
template <typename S>
struct SignedRatioArguments {
  const S* multiplier;
  const S* amount;
  const S* z;
  const S* size;
  S* s;
  S* below;
  int64_t count;
};

template <typename A>
struct SignedRatioFactors {
  A whole, gamma, epsilon;
};

// R = multiplier * f(z) + amount; s = R / stabilize(d), d of z and the size of its contributions.
template <int kPack, typename S, typename A, typename F>
__global__ void signed_ratio_kernel(SignedRatioArguments<S> a, F f, SignedRatioFactors<A> by) {
  for (int64_t i = first_thread() * kPack; i < a.count; i += all_threads() * kPack) {
    A R[kPack] = {}, z[kPack], size[kPack], below[kPack];
    load(a.z, i, a.count, z, A(1));
    load(a.size, i, a.count, size, A(1));
    if (a.multiplier != nullptr) {
      load(a.multiplier, i, a.count, R, A(0));
      for (int k = 0; k < kPack; ++k) R[k] *= f.f(z[k]);
    }
    if (a.amount != nullptr) {
      load(a.amount, i, a.count, below, A(0));
      for (int k = 0; k < kPack; ++k) R[k] += below[k];
    }
    for (int k = 0; k < kPack; ++k) {
      const A d = signed_denominator(z[k], size[k], by.whole, by.gamma);
      R[k] = stabilized_ratio(R[k], d, by.epsilon);
    }
    if (a.below != nullptr) {
      for (int k = 0; k < kPack; ++k) {
        const bool above = z[k] >= A(0);
        below[k] = above ? A(0) : R[k];
        R[k] = above ? R[k] : A(0);
      }
      store(a.below, i, a.count, below);
    }
    store(a.s, i, a.count, R);
  }
}

}  // namespace relprop::cuda
