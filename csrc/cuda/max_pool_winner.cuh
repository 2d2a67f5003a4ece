// Max pooling backwards in two kernels. The first finds each window's prize (who gets how much) and
// writes it down; the second lets every input gather the prizes it won. Every value has one writer,
// so there are no atomics, and sums are deterministic.
#pragma once

#include <limits>

#include "../planes.h"
#include "../rules.h"
#include "../windows.h"
#include "packs.cuh"
#include "places.cuh"

namespace relprop::cuda {

template <typename S>
struct PoolArguments {
  const S* multiplier;
  const S* x;
  const S* x0;  // null for LRP
  S* m_x;
  int32_t* prize_place;                      // relative to the window's start
  typename Computed<S>::Type* prize_amount;  // both of them one for each window
  Planes multiplier_planes, x_planes, x0_planes, m_x_planes;
  Pool pool;
  int64_t batch, channels;
  bool channels_last;  // neighbouring threads take neighbouring channels, else places
};

template <typename A>
struct Maximum {
  A value;
  int32_t place;  // relative to the window's start; -1 before any
};

// Whether b comes after a in the search for the maximum: the first of equals, but the last NaN.
template <typename A>
__device__ bool beaten(const Maximum<A>& a, const Maximum<A>& b) {
  if (b.place < 0 || a.place < 0) return b.place >= 0;
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  if (a_nan || b_nan) return b_nan && (!a_nan || b.place > a.place);
  return b.value > a.value || (b.value == a.value && b.place < a.place);
}

// The maximum over the window's taps; lane l of kLanes searches every kLanes-th column from l on.
template <int kLanes, typename S, typename A = typename Computed<S>::Type>
__device__ Maximum<A> maximum_of(const S* x, int64_t step, const Pool& pool, const Place3d& o,
                                 int lane) {
  const Windows &depth = pool.along[0], &height = pool.along[1], &width = pool.along[2];
  const int64_t start = start_of(pool, o);
  Maximum<A> best{A(0), -1};
  for (int64_t kd = depth.low(o.d); kd < depth.high(o.d); ++kd) {
    for (int64_t kh = height.low(o.h); kh < height.high(o.h); ++kh) {
      const int64_t d = kd * depth.dilation, h = kh * height.dilation;
      const int64_t row = (d * height.length + h) * width.length;
      for (int64_t kw = width.low(o.w) + lane; kw < width.high(o.w); kw += kLanes) {
        const int64_t place = row + kw * width.dilation;
        const A value = static_cast<A>(x[(start + place) * step]);
        if (best.place < 0 || wins_over(value, best.value)) best = {value, int32_t(place)};
      }
    }
  }
  // The lanes of a warp agree on the best of theirs.
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    const Maximum<A> other{__shfl_xor_sync(0xffffffffu, best.value, distance),
                           __shfl_xor_sync(0xffffffffu, best.place, distance)};
    if (beaten(best, other)) best = other;
  }
  return best;
}

template <int kLanes, typename S, typename A = typename Computed<S>::Type>
__device__ Prize<A, int32_t> prize_of(const PoolArguments<S>& a, const Element& window, int lane) {
  const Pool& pool = a.pool;
  const Place3d o = place_3d(window.place, pool.along[1].count, pool.along[2].count);
  const Planes &mp = a.multiplier_planes, &xp = a.x_planes, &bp = a.x0_planes;
  const S* x = a.x + xp.offset(window.n, window.c);
  const A m = static_cast<A>(a.multiplier[mp.offset(window.n, window.c) + window.place * mp.step]);
  const Maximum<A> i = maximum_of<kLanes>(x, xp.step, pool, o, lane);
  if (a.x0 == nullptr || i.place < 0) return {i.place, m};

  const S* x0 = a.x0 + bp.offset(window.n, window.c);
  const Maximum<A> j = maximum_of<kLanes>(x0, bp.step, pool, o, lane);
  const int64_t start = start_of(pool, o);
  const A x0_i = static_cast<A>(x0[(start + i.place) * bp.step]);
  const A x_j = static_cast<A>(x[(start + j.place) * xp.step]);
  return window_prize(m, i.value, x0_i, i.place, x_j, j.value, j.place);
}

// One thread a window, or one warp where windows are long.
template <int kLanes, typename S>
__global__ void find_prizes_kernel(PoolArguments<S> a) {
  const int64_t outputs = a.pool.outputs();
  const int64_t windows = a.batch * a.channels * outputs;
  const int lane = int(threadIdx.x % kLanes);
  for (int64_t i = first_thread() / kLanes; i < windows; i += all_threads() / kLanes) {
    const auto prize = prize_of<kLanes>(a, element_of(a, i, outputs), lane);
    if (lane != 0) continue;
    a.prize_place[i] = prize.place;
    a.prize_amount[i] = prize.amount;
  }
}

template <typename S, typename A = typename Computed<S>::Type>
__device__ A won_by(const PoolArguments<S>& a, const Element& input) {
  const Windows* w = a.pool.along;
  const Place3d p = place_3d(input.place, w[1].length, w[2].length);
  const int64_t outputs = a.pool.outputs();
  A sum = 0;
  for (int64_t od = w[0].first_with(p.d); od <= w[0].last_with(p.d); ++od) {
    for (int64_t oh = w[1].first_with(p.h); oh <= w[1].last_with(p.h); ++oh) {
      for (int64_t ow = w[2].first_with(p.w); ow <= w[2].last_with(p.w); ++ow) {
        const int64_t window = (od * w[1].count + oh) * w[2].count + ow;
        const int64_t i = number_of(a, {input.n, input.c, window}, outputs);
        const int64_t place = input.place - start_of(a.pool, {od, oh, ow});
        if (a.prize_place[i] >= 0 && a.prize_place[i] == place) sum += a.prize_amount[i];
      }
    }
  }
  return sum;
}

template <typename S>
__global__ void gather_prizes_kernel(PoolArguments<S> a) {
  const int64_t inputs = a.pool.inputs();
  const int64_t all = a.batch * a.channels * inputs;
  const Planes& planes = a.m_x_planes;
  for (int64_t i = first_thread(); i < all; i += all_threads()) {
    const Element input = element_of(a, i, inputs);
    S* m_x = a.m_x + planes.offset(input.n, input.c);
    m_x[input.place * planes.step] = static_cast<S>(won_by(a, input));
  }
}

}  // namespace relprop::cuda
