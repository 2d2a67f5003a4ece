// Shapley values of windows with few taps, in one loop over the lanes: each lane's window stays in
// registers, sorted by exchanges that are known when this is compiled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "../shapley.h"
#include "clones.h"

namespace relprop {

// The network of exchanges that sorts `count` values, by Batcher's merge exchange (Knuth, volume 3,
// 5.2.2 M): calls take(i, j) for each pair of places to compare, i < j, in order.
template <typename Take>
constexpr void for_each_exchange(int64_t count, Take& take) {
  int64_t top = 1;
  while (2 * top < count) top *= 2;
  for (int64_t p = top; p > 0; p /= 2) {
    int64_t q = top, r = 0, d = p;
    while (true) {
      for (int64_t i = 0; i + d < count; ++i) {
        if ((i & p) == r) take(i, i + d);
      }
      if (q == p) break;
      d = q - p;
      q /= 2;
      r = p;
    }
  }
}

namespace unrolled {

struct Count {
  size_t exchanges = 0;
  constexpr void operator()(int64_t, int64_t) { ++exchanges; }
};

constexpr size_t count_exchanges(int64_t taps) {
  Count count;
  for_each_exchange(taps, count);
  return count.exchanges;
}

template <int kTaps>
struct Network {
  static constexpr size_t kSize = count_exchanges(kTaps);
  int above[kSize] = {}, below[kSize] = {};
  size_t size = 0;

  constexpr Network() { for_each_exchange(kTaps, *this); }

  constexpr void operator()(int64_t i, int64_t j) {
    above[size] = int(i);
    below[size++] = int(j);
  }
};

template <int kTaps>
constexpr Network<kTaps> kNetwork;

// The window in one lane.
template <int kTaps, typename T>
struct Window {
  // The upper ends of the moves, and 1 where they are rises; then phi in b's place.
  T b[kTaps], rose[kTaps];
  T of_rise[kTaps], of_fall[kTaps];
  bool exchanged[kNetwork<kTaps>.kSize];
};

template <typename T>
RELPROP_HD void exchange(T& a, T& b, T& rose_a, T& rose_b, bool& exchanged) {
  const T upper = a, lower = b, rose_upper = rose_a, rose_lower = rose_b;
  const bool wrong = upper < lower;
  a = wrong ? lower : upper;
  b = wrong ? upper : lower;
  rose_a = wrong ? rose_lower : rose_upper;
  rose_b = wrong ? rose_upper : rose_lower;
  exchanged = wrong;
}

template <typename T>
RELPROP_HD void exchange_back(T& a, T& b, bool exchanged) {
  const T upper = a, lower = b;
  a = exchanged ? lower : upper;
  b = exchanged ? upper : lower;
}

template <typename T>
RELPROP_HD void join(Above<T>& above, T b, T next, T rose, T one_of_all, T& of_rise, T& of_fall) {
  above.join(rose, one_of_all);
  const T dt = b - next;
  of_rise = dt * above.of_rise();
  of_fall = dt * above.of_fall();
}

template <typename T>
RELPROP_HD void join_parts(Above<T>& above, T b, T next, T rose, T one_of_all, T& rises, T& falls) {
  above.join(rose, one_of_all);
  const T dt = b - next;
  rises += dt * above.of_rises();
  falls -= dt * above.of_falls();
}

template <typename T>
RELPROP_HD void integrate(T of_rise, T of_fall, T rose, T& rise, T& fall, T& phi) {
  rise += of_rise;
  fall -= of_fall;
  phi = rose > T(0) ? rise : fall;
}

template <typename T>
RELPROP_HD void give(T phi, T change, T high, T top, T positive, T negative, bool& passed,
                     T& given) {
  const bool first = (high == top) & !passed;
  passed = passed | first;
  given = shapley_multiplier(phi, change, positive, negative, first);
}

// `taps` counts 0, 1, ..., kTaps - 1; `steps` the exchanges.
template <int kTaps, typename T, size_t... taps, size_t... steps>
RELPROP_HD void sort(Window<kTaps, T>& w, const T* high, const T* change, T floor, int64_t row,
                     std::index_sequence<taps...>, std::index_sequence<steps...>) {
  ((w.b[taps] = high[taps * row] > floor ? high[taps * row] : floor), ...);
  ((w.rose[taps] = change[taps * row] > T(0) ? T(1) : T(0)), ...);
  constexpr const Network<kTaps>& n = kNetwork<kTaps>;
  (exchange(w.b[n.above[steps]], w.b[n.below[steps]], w.rose[n.above[steps]],
            w.rose[n.below[steps]], w.exchanged[steps]),
   ...);
}

template <int kTaps, typename T, size_t... taps, size_t... steps>
RELPROP_HD void share(Window<kTaps, T>& w, T floor, std::index_sequence<taps...>,
                      std::index_sequence<steps...>) {
  Above<T> above;
  (join(above, w.b[taps], taps + 1 < kTaps ? w.b[(taps + 1) % kTaps] : floor, w.rose[taps],
        T(1) / T(taps + 1), w.of_rise[taps], w.of_fall[taps]),
   ...);
  constexpr size_t last = kTaps - 1;
  T rise = 0, fall = 0;
  (integrate(w.of_rise[last - taps], w.of_fall[last - taps], w.rose[last - taps], rise, fall,
             w.b[last - taps]),
   ...);
  constexpr const Network<kTaps>& n = kNetwork<kTaps>;
  constexpr size_t last_step = n.kSize - 1;
  (exchange_back(w.b[n.above[last_step - steps]], w.b[n.below[last_step - steps]],
                 w.exchanged[last_step - steps]),
   ...);
}

template <int kTaps, typename T, size_t... taps>
RELPROP_HD void give_all(const Window<kTaps, T>& w, const T* high, const T* change, T top,
                         T positive, T negative, T* given, int64_t row,
                         std::index_sequence<taps...>) {
  bool passed = false;
  (give(w.b[taps], change[taps * row], high[taps * row], top, positive, negative, passed,
        given[taps * row]),
   ...);
}

template <int kTaps, typename T, size_t... taps>
RELPROP_HD void part(const Window<kTaps, T>& w, T floor, T& rises, T& falls,
                     std::index_sequence<taps...>) {
  Above<T> above;
  T up = 0, down = 0;
  (join_parts(above, w.b[taps], taps + 1 < kTaps ? w.b[(taps + 1) % kTaps] : floor, w.rose[taps],
              T(1) / T(taps + 1), up, down),
   ...);
  rises = up;
  falls = down;
}

// The multipliers that each lane's window gives to its taps. `high`, `change` and `given` hold a
// row a tap, `row` lanes apart; as the compiler does not know that rows are apart, the loops say
// so.
template <int kTaps, typename T>
RELPROP_CLONES static void share_lanes(const T* __restrict high, const T* __restrict change,
                                       const T* __restrict floor, const T* __restrict top,
                                       const T* __restrict positive, const T* __restrict negative,
                                       int64_t lanes, int64_t row, T* __restrict given) {
  constexpr auto taps = std::make_index_sequence<kTaps>();
  constexpr auto steps = std::make_index_sequence<kNetwork<kTaps>.kSize>();
#pragma GCC ivdep
  for (int64_t lane = 0; lane < lanes; ++lane) {
    Window<kTaps, T> w;
    sort(w, high + lane, change + lane, floor[lane], row, taps, steps);
    share(w, floor[lane], taps, steps);
    give_all(w, high + lane, change + lane, top[lane], positive[lane], negative[lane], given + lane,
             row, taps);
  }
}

// What all rises and all falls bring in each lane's window.
template <int kTaps, typename T>
RELPROP_CLONES static void part_lanes(const T* __restrict high, const T* __restrict change,
                                      const T* __restrict floor, int64_t lanes, int64_t row,
                                      T* __restrict rises, T* __restrict falls) {
  constexpr auto taps = std::make_index_sequence<kTaps>();
  constexpr auto steps = std::make_index_sequence<kNetwork<kTaps>.kSize>();
#pragma GCC ivdep
  for (int64_t lane = 0; lane < lanes; ++lane) {
    Window<kTaps, T> w;
    sort(w, high + lane, change + lane, floor[lane], row, taps, steps);
    part(w, floor[lane], rises[lane], falls[lane], taps);
  }
}

}  // namespace unrolled
}  // namespace relprop
