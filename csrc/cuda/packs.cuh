// How a thread finds its elements, and moves several of them at once.
//
// Loops over a pack with much in their body must be told to unroll, or the pack lies on a stack.
//
// Kernels include no torch and use nothing of CUDA but the numbers of blocks and threads (and,
// where a file says so, shuffles), so that a test can run them on the host.
#pragma once

#include <cstdint>

#include "../host_device.h"

namespace relprop::cuda {

// Half types are stored as such and computed with in float.
template <typename Stored>
struct Computed {
  using Type = float;
};
template <>
struct Computed<double> {
  using Type = double;
};

__device__ inline int64_t first_thread() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }

__device__ inline int64_t all_threads() { return int64_t(gridDim.x) * blockDim.x; }

template <typename S, int kPack>
struct alignas(sizeof(S) * kPack) Pack {
  S value[kPack];
};

// Elements [i, i + kPack) of a tensor of `count`, aligned unless kPack is 1; past the end,
// `beyond`.
template <int kPack, typename S, typename A>
__device__ void load(const S* from, int64_t i, int64_t count, A (&to)[kPack], A beyond) {
  if (i + kPack <= count) {
    const auto pack = *reinterpret_cast<const Pack<S, kPack>*>(from + i);
    for (int k = 0; k < kPack; ++k) to[k] = static_cast<A>(pack.value[k]);
  } else {
    for (int k = 0; k < kPack; ++k) to[k] = i + k < count ? static_cast<A>(from[i + k]) : beyond;
  }
}

template <int kPack, typename S, typename A>
__device__ void store(S* to, int64_t i, int64_t count, const A (&from)[kPack]) {
  if (i + kPack <= count) {
    Pack<S, kPack> pack;
    for (int k = 0; k < kPack; ++k) pack.value[k] = static_cast<S>(from[k]);
    *reinterpret_cast<Pack<S, kPack>*>(to + i) = pack;
  } else {
    for (int k = 0; k < kPack && i + k < count; ++k) to[i + k] = static_cast<S>(from[k]);
  }
}

// i / by and i % by; 32-bit division is several times faster, where it suffices.
struct Division {
  int64_t quotient, remainder;
};

RELPROP_HD Division divide(int64_t i, int64_t by) {
  if ((i | by) >> 32 == 0) {
    const uint32_t quotient = uint32_t(i) / uint32_t(by);
    return {int64_t(quotient), int64_t(uint32_t(i) - quotient * uint32_t(by))};
  }
  return {i / by, i % by};
}

// Elements i, i + 1, ... of a tensor that repeats after `period`.
template <int kPack, typename S, typename A>
__device__ void load_repeated(const S* x0, int64_t i, int64_t period, A (&to)[kPack]) {
  int64_t phase = divide(i, period).remainder;
  if (period % kPack == 0) return load(x0, phase, period, to, A(0));
  for (int k = 0; k < kPack; ++k) {
    to[k] = static_cast<A>(x0[phase]);
    phase = phase + 1 < period ? phase + 1 : 0;
  }
}

}  // namespace relprop::cuda
