// Shapley max pooling in two kernels. In the first, one thread a window finds what each of its taps
// gets and writes it down; in the second, every input gathers what it got. Every value has one
// writer, so there are no atomics, and sums are deterministic.
#pragma once

#include <limits>
#include <type_traits>

#include "../planes.h"
#include "../shapley.h"
#include "packs.cuh"
#include "places.cuh"

namespace relprop::cuda {

// What a thread writes down for one tap after the other. For short windows it is kept in the
// thread's own memory; for long ones, the threads' values for one tap lie side by side.
template <typename V>
struct Column {
  V* data;
  int64_t step;

  __device__ V& operator[](int64_t i) const { return data[i * step]; }
};

template <typename S>
struct ShapleyArguments {
  using A = typename Computed<S>::Type;
  S* positive;  // multipliers of rises and falls, or their parts, which are results
  S* negative;
  const S* x;
  const S* x0;
  S* m_x;
  A* share;  // all of these have one value for every tap of every window; null for parts
  int32_t* order;
  double* of_rise;  // these three null where windows are short
  double* of_fall;
  Planes positive_planes, negative_planes, x_planes, x0_planes, m_x_planes;
  Pool pool;
  int64_t batch, channels;
  bool channels_last;
};

// One window; its taps are numbered in scan order, padding included.
template <typename S, typename A = typename Computed<S>::Type>
struct WindowTaps {
  const Pool& pool;
  Place3d o;
  const S* x;
  const S* x0;
  int64_t x_step, x0_step, start;

  __device__ WindowTaps(const ShapleyArguments<S>& a, const Element& window)
      : pool(a.pool),
        o(place_3d(window.place, a.pool.along[1].count, a.pool.along[2].count)),
        x(a.x + a.x_planes.offset(window.n, window.c)),
        x0(a.x0 + a.x0_planes.offset(window.n, window.c)),
        x_step(a.x_planes.step),
        x0_step(a.x0_planes.step),
        start(start_of(a.pool, o)) {}

  __device__ Move<A> move_at(int64_t place) const {
    return move_of(static_cast<A>(x[place * x_step]), static_cast<A>(x0[place * x0_step]));
  }

  __device__ Move<A> move(int64_t tap) const {
    const Windows* w = pool.along;
    const Place3d k = place_3d(tap, w[1].kernel, w[2].kernel);
    const int64_t row = k.d * w[0].dilation * w[1].length + k.h * w[1].dilation;
    return move_at(start + row * w[2].length + k.w * w[2].dilation);
  }

  // Calls body(tap, move) for the taps that are no padding, in scan order.
  template <typename Body>
  __device__ void for_each(const Body& body) const {
    const Windows &depth = pool.along[0], &height = pool.along[1], &width = pool.along[2];
    for (int64_t kd = depth.low(o.d); kd < depth.high(o.d); ++kd) {
      for (int64_t kh = height.low(o.h); kh < height.high(o.h); ++kh) {
        const int64_t row = kd * depth.dilation * height.length + kh * height.dilation;
        const int64_t first = start + row * width.length;
        const int64_t tap = (kd * height.kernel + kh) * width.kernel;
        for (int64_t kw = width.low(o.w); kw < width.high(o.w); ++kw) {
          body(tap + kw, move_at(first + kw * width.dilation));
        }
      }
    }
  }
};

// Sorts the taps by the upper ends of their moves, the highest first (Shell's sort; for the few
// taps that most windows have to sort, an insertion sort).
template <typename Taps>
__device__ void sort_taps(const Taps& taps, const Column<int32_t>& order, int64_t count) {
  int64_t gap = 1;
  while (gap < count / 9) gap = 3 * gap + 1;
  for (; gap > 0; gap /= 3) {
    for (int64_t i = gap; i < count; ++i) {
      const int32_t tap = order[i];
      const auto high = taps.move(tap).high;
      int64_t j = i;
      while (j >= gap && taps.move(order[j - gap]).high < high) {
        order[j] = order[j - gap];
        j -= gap;
      }
      order[j] = tap;
    }
  }
}

template <typename A>
struct Extent {
  A floor = -std::numeric_limits<A>::infinity(), top = floor;
};

template <typename S, typename A>
__device__ Extent<A> extent_of(const WindowTaps<S>& taps) {
  Extent<A> extent;
  taps.for_each([&](int64_t, const Move<A>& move) {
    extent.floor = move.low > extent.floor ? move.low : extent.floor;
    extent.top = move.high > extent.top ? move.high : extent.top;
  });
  return extent;
}

// Calls body(j, dt, above) from the highest of the sorted taps to the lowest.
template <typename W, typename S, typename A, typename Body>
__device__ void descend(const WindowTaps<S>& taps, const Column<int32_t>& order, int64_t count,
                        A floor, const Body& body) {
  Above<W> above;
  for (int64_t j = 0; j < count; ++j) {
    const Move<A> move = taps.move(order[j]);
    const A next = j + 1 < count ? taps.move(order[j + 1]).high : floor;
    above.join(move.change > A(0) ? W(1) : W(0), W(1) / W(j + 1));
    body(j, W(move.high) - W(next), above);
  }
}

template <typename S, typename W>
struct WindowScratch {
  Column<int32_t> order;
  Column<W> of_rise, of_fall;
};

template <typename S, typename W, typename A = typename Computed<S>::Type>
__device__ void share_window(const WindowTaps<S>& taps, const WindowScratch<S, W>& scratch,
                             const Column<A>& share, A positive, A negative) {
  const Extent<A> extent = extent_of<S, A>(taps);
  bool passed = false;
  int64_t count = 0;
  taps.for_each([&](int64_t tap, const Move<A>& move) {
    const bool first = move.high == extent.top && !passed;
    passed = passed || first;
    share[tap] = shapley_multiplier(A(0), move.change, positive, negative, first);
    if (move.high > extent.floor) scratch.order[count++] = int32_t(tap);
  });
  sort_taps(taps, scratch.order, count);
  descend<W>(taps, scratch.order, count, extent.floor, [&](int64_t j, W dt, const Above<W>& above) {
    scratch.of_rise[j] = dt * above.of_rise();
    scratch.of_fall[j] = dt * above.of_fall();
  });
  W rise = 0, fall = 0;
  for (int64_t j = count - 1; j >= 0; --j) {
    const int64_t tap = scratch.order[j];
    const A change = taps.move(tap).change;
    rise += scratch.of_rise[j];
    fall -= scratch.of_fall[j];
    share[tap] =
        shapley_multiplier(A(change > A(0) ? rise : fall), change, positive, negative, false);
  }
}

template <typename S, typename W, typename A = typename Computed<S>::Type>
__device__ void part_window(const WindowTaps<S>& taps, const Column<int32_t>& order, S& positive,
                            S& negative) {
  const Extent<A> extent = extent_of<S, A>(taps);
  int64_t count = 0;
  taps.for_each([&](int64_t tap, const Move<A>& move) {
    if (move.high > extent.floor) order[count++] = int32_t(tap);
  });
  sort_taps(taps, order, count);
  W rises = 0, falls = 0;
  descend<W>(taps, order, count, extent.floor, [&](int64_t, W dt, const Above<W>& above) {
    rises += dt * above.of_rises();
    falls -= dt * above.of_falls();
  });
  positive = static_cast<S>(A(rises));
  negative = static_cast<S>(A(falls));
}

// One thread a window of at most kMost taps; kMost = 0: of any number.
template <int kMost, typename S>
__global__ void share_windows_kernel(ShapleyArguments<S> a) {
  using A = typename Computed<S>::Type;
  using W = std::conditional_t<(kMost > 0), A, double>;
  constexpr int kOwn = kMost > 0 ? kMost : 1;
  int32_t order[kOwn];
  W of_rise[kOwn], of_fall[kOwn];
  const int64_t outputs = a.pool.outputs(), windows = a.batch * a.channels * outputs;
  for (int64_t i = first_thread(); i < windows; i += all_threads()) {
    const Element window = element_of(a, i, outputs);
    const WindowTaps<S> taps(a, window);
    WindowScratch<S, W> scratch{{order, 1}, {of_rise, 1}, {of_fall, 1}};
    if constexpr (kMost == 0) {
      scratch = {{a.order + i, windows}, {a.of_rise + i, windows}, {a.of_fall + i, windows}};
    }
    const Planes &pp = a.positive_planes, &np = a.negative_planes;
    S& positive = a.positive[pp.offset(window.n, window.c) + window.place * pp.step];
    S& negative = a.negative[np.offset(window.n, window.c) + window.place * np.step];
    if (a.share == nullptr) {
      part_window<S, W>(taps, scratch.order, positive, negative);
    } else {
      share_window<S, W>(taps, scratch, {a.share + i, windows}, static_cast<A>(positive),
                         static_cast<A>(negative));
    }
  }
}

template <typename S, typename A = typename Computed<S>::Type>
__device__ A shared_to(const ShapleyArguments<S>& a, const Element& input) {
  const Windows* w = a.pool.along;
  const Place3d p = place_3d(input.place, w[1].length, w[2].length);
  const int64_t outputs = a.pool.outputs(), windows = a.batch * a.channels * outputs;
  A sum = 0;
  for (int64_t od = w[0].first_with(p.d); od <= w[0].last_with(p.d); ++od) {
    for (int64_t oh = w[1].first_with(p.h); oh <= w[1].last_with(p.h); ++oh) {
      for (int64_t ow = w[2].first_with(p.w); ow <= w[2].last_with(p.w); ++ow) {
        const int64_t kd = tap_along(w[0], od, p.d), kh = tap_along(w[1], oh, p.h);
        const int64_t kw = tap_along(w[2], ow, p.w);
        if (kd < 0 || kh < 0 || kw < 0) continue;
        const int64_t window = (od * w[1].count + oh) * w[2].count + ow;
        const int64_t tap = (kd * w[1].kernel + kh) * w[2].kernel + kw;
        sum += a.share[tap * windows + number_of(a, {input.n, input.c, window}, outputs)];
      }
    }
  }
  return sum;
}

template <typename S>
__global__ void gather_shares_kernel(ShapleyArguments<S> a) {
  const int64_t inputs = a.pool.inputs();
  const int64_t all = a.batch * a.channels * inputs;
  const Planes& planes = a.m_x_planes;
  for (int64_t i = first_thread(); i < all; i += all_threads()) {
    const Element input = element_of(a, i, inputs);
    S* m_x = a.m_x + planes.offset(input.n, input.c);
    m_x[input.place * planes.step] = static_cast<S>(shared_to(a, input));
  }
}

}  // namespace relprop::cuda
