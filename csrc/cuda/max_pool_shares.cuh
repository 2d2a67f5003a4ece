// Max pooling backwards where several inputs of a window may get a part, in two kernels. The first
// finds what each window holds, and writes down what the inputs get that get a share; the second
// lets every input gather its shares. Every value has one writer, so there are no atomics, and sums
// are deterministic.
#pragma once

#include "../planes.h"
#include "../window_shares.h"
#include "../windows.h"
#include "packs.cuh"
#include "places.cuh"

namespace relprop::cuda {

template <typename S>
struct ShareArguments {
  using A = typename Computed<S>::Type;
  const S* multiplier;  // null where not given, and so is the amount
  const S* amount;
  const S* x;
  S* m_x;
  A* highest;  // null where all inputs of a window get its share
  A* share;    // both of them one for each window
  A epsilon;
  Planes multiplier_planes, amount_planes, x_planes, m_x_planes;
  Pool pool;
  int64_t batch, channels;
  bool channels_last;  // neighbouring threads take neighbouring channels, else places
};

// What a window holds; lane l of kLanes looks at every kLanes-th column from l on.
template <int kLanes, typename S, typename Rule, typename A = typename Computed<S>::Type>
__device__ Held<A> held_by(const S* x, int64_t step, const Pool& pool, const Place3d& o, int lane) {
  const Windows &depth = pool.along[0], &height = pool.along[1], &width = pool.along[2];
  const int64_t start = start_of(pool, o);
  Held<A> held;
  for (int64_t kd = depth.low(o.d); kd < depth.high(o.d); ++kd) {
    for (int64_t kh = height.low(o.h); kh < height.high(o.h); ++kh) {
      const int64_t d = kd * depth.dilation, h = kh * height.dilation;
      const int64_t row = start + (d * height.length + h) * width.length;
      for (int64_t kw = width.low(o.w) + lane; kw < width.high(o.w); kw += kLanes) {
        held = Rule::with(held, static_cast<A>(x[(row + kw * width.dilation) * step]));
      }
    }
  }
  // The lanes of a warp put together what they hold.
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    const Held<A> other{__shfl_xor_sync(0xffffffffu, held.highest, distance),
                        __shfl_xor_sync(0xffffffffu, held.total, distance)};
    held = Rule::together(held, other);
  }
  return held;
}

// The window's value in a tensor of the pool's output size; 0 where there is no such tensor.
template <typename S, typename A = typename Computed<S>::Type>
__device__ A value_at(const S* t, const Planes& planes, const Element& window) {
  if (t == nullptr) return A(0);
  return static_cast<A>(t[planes.offset(window.n, window.c) + window.place * planes.step]);
}

// One thread a window, or one warp where windows are long.
template <int kLanes, typename S, typename Rule>
__global__ void find_shares_kernel(ShareArguments<S> a) {
  using A = typename Computed<S>::Type;
  const int64_t outputs = a.pool.outputs();
  const int64_t windows = a.batch * a.channels * outputs;
  const int lane = int(threadIdx.x % kLanes);
  for (int64_t i = first_thread() / kLanes; i < windows; i += all_threads() / kLanes) {
    const Element window = element_of(a, i, outputs);
    const Place3d o = place_3d(window.place, a.pool.along[1].count, a.pool.along[2].count);
    const S* x = a.x + a.x_planes.offset(window.n, window.c);
    const Held<A> held = held_by<kLanes, S, Rule>(x, a.x_planes.step, a.pool, o, lane);
    if (lane != 0) continue;
    const A multiplier = value_at(a.multiplier, a.multiplier_planes, window);
    const A amount = value_at(a.amount, a.amount_planes, window);
    a.share[i] = Rule::share(held, multiplier, amount, a.epsilon);
    if constexpr (!Rule::kForAll) a.highest[i] = held.highest;
  }
}

template <typename S, typename Rule, typename A = typename Computed<S>::Type>
__device__ A gathered_by(const ShareArguments<S>& a, const Element& input) {
  const Windows* w = a.pool.along;
  const Place3d p = place_3d(input.place, w[1].length, w[2].length);
  const int64_t outputs = a.pool.outputs();
  const A x_i = value_at(a.x, a.x_planes, input);
  A sum = 0;
  for (int64_t od = w[0].first_with(p.d); od <= w[0].last_with(p.d); ++od) {
    for (int64_t oh = w[1].first_with(p.h); oh <= w[1].last_with(p.h); ++oh) {
      for (int64_t ow = w[2].first_with(p.w); ow <= w[2].last_with(p.w); ++ow) {
        const bool reached = tap_along(w[0], od, p.d) >= 0 && tap_along(w[1], oh, p.h) >= 0 &&
                             tap_along(w[2], ow, p.w) >= 0;
        if (!reached) continue;
        const int64_t window = (od * w[1].count + oh) * w[2].count + ow;
        const int64_t i = number_of(a, {input.n, input.c, window}, outputs);
        if constexpr (!Rule::kForAll) {
          if (!Rule::gives(x_i, a.highest[i])) continue;
        }
        sum += a.share[i];
      }
    }
  }
  return sum;
}

template <typename S, typename Rule>
__global__ void gather_window_shares_kernel(ShareArguments<S> a) {
  const int64_t inputs = a.pool.inputs();
  const int64_t all = a.batch * a.channels * inputs;
  const Planes& planes = a.m_x_planes;
  for (int64_t i = first_thread(); i < all; i += all_threads()) {
    const Element input = element_of(a, i, inputs);
    S* m_x = a.m_x + planes.offset(input.n, input.c);
    m_x[input.place * planes.step] = static_cast<S>(gathered_by<S, Rule>(a, input));
  }
}

}  // namespace relprop::cuda
