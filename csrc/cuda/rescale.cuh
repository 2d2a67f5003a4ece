#pragma once

#include "../rules.h"
#include "packs.cuh"

namespace relprop::cuda {

// Element i of x meets element i % period of x0.
template <typename S>
struct RescaleArguments {
  const S* m_y;
  const S* x;
  const S* x0;
  S* m_x;
  int64_t count, period;
};

template <int kPack, typename S, typename A, typename F>
__global__ void rescale_kernel(RescaleArguments<S> a, F f, A h) {
  for (int64_t i = first_thread() * kPack; i < a.count; i += all_threads() * kPack) {
    A m[kPack], x[kPack], x0[kPack];
    load(a.m_y, i, a.count, m, A(0));
    load(a.x, i, a.count, x, A(0));
    load_repeated(a.x0, i, a.period, x0);
#pragma unroll
    for (int k = 0; k < kPack; ++k) m[k] *= rescale_slope(f, x[k], x0[k], h);
    store(a.m_x, i, a.count, m);
  }
}

}  // namespace relprop::cuda
