// Shapley values of many windows side by side, one in each lane of the vector registers.
//
// The inputs of each window are sorted by a network of exchanges, the same for all lanes; the
// integrals are summed up along the sorted order, and the network run backwards takes them to the
// inputs that they belong to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "../shapley.h"
#include "clones.h"

namespace relprop {

// Exchanges that sort `count` values, by Batcher's merge exchange (Knuth, volume 3, 5.2.2 M).
struct Exchange {
  int64_t above, below;
};

inline std::vector<Exchange> sorting_network(int64_t count) {
  std::vector<Exchange> network;
  int64_t top = 1;
  while (2 * top < count) top *= 2;
  for (int64_t p = top; p > 0; p /= 2) {
    int64_t q = top, r = 0, d = p;
    while (true) {
      for (int64_t i = 0; i + d < count; ++i) {
        if ((i & p) == r) network.push_back({i, i + d});
      }
      if (q == p) break;
      d = q - p;
      q /= 2;
      r = p;
    }
  }
  return network;
}

namespace lanes {

template <typename T>
RELPROP_CLONES static void fill(T* __restrict row, int64_t lanes, T value) {
  for (int64_t lane = 0; lane < lanes; ++lane) row[lane] = value;
}

template <int kStep, typename T>
RELPROP_CLONES static void enter(const T* __restrict x, int64_t x_step, const T* __restrict x0,
                                 int64_t x0_step, int64_t lanes, T* __restrict high,
                                 T* __restrict change, T* __restrict floor, T* __restrict top) {
  if (kStep > 0) x_step = x0_step = kStep;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const Move<T> move = move_of(x[lane * x_step], x0[lane * x0_step]);
    high[lane] = move.high;
    change[lane] = move.change;
    floor[lane] = move.low > floor[lane] ? move.low : floor[lane];
    top[lane] = move.high > top[lane] ? move.high : top[lane];
  }
}

template <typename T>
RELPROP_CLONES static void raise(const T* __restrict high, const T* __restrict change,
                                 const T* __restrict floor, int64_t lanes, T* __restrict b,
                                 T* __restrict rose) {
  for (int64_t lane = 0; lane < lanes; ++lane) {
    b[lane] = high[lane] > floor[lane] ? high[lane] : floor[lane];
    rose[lane] = change[lane] > T(0) ? T(1) : T(0);
  }
}

template <typename T>
RELPROP_CLONES static void exchange(T* __restrict b0, T* __restrict b1, T* __restrict rose0,
                                    T* __restrict rose1, T* __restrict exchanged, int64_t lanes) {
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const T a = b0[lane], b = b1[lane], rose_a = rose0[lane], rose_b = rose1[lane];
    const bool wrong = a < b;
    b0[lane] = wrong ? b : a;
    b1[lane] = wrong ? a : b;
    rose0[lane] = wrong ? rose_b : rose_a;
    rose1[lane] = wrong ? rose_a : rose_b;
    exchanged[lane] = wrong ? T(1) : T(0);
  }
}

template <typename T>
RELPROP_CLONES static void exchange_back(T* __restrict phi0, T* __restrict phi1,
                                         const T* __restrict exchanged, int64_t lanes) {
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const T a = phi0[lane], b = phi1[lane];
    const bool back = exchanged[lane] > T(0);
    phi0[lane] = back ? b : a;
    phi1[lane] = back ? a : b;
  }
}

template <typename T>
RELPROP_CLONES static void join(const T* __restrict b, const T* __restrict next,
                                const T* __restrict rose, T one_of_all, int64_t lanes,
                                T* __restrict p, T* __restrict n, T* __restrict g,
                                T* __restrict of_rise, T* __restrict of_fall) {
  for (int64_t lane = 0; lane < lanes; ++lane) {
    Above<T> above{p[lane], n[lane], g[lane]};
    above.join(rose[lane], one_of_all);
    const T dt = b[lane] - next[lane];
    of_rise[lane] = dt * above.of_rise();
    of_fall[lane] = dt * above.of_fall();
    p[lane] = above.p;
    n[lane] = above.n;
    g[lane] = above.g;
  }
}

template <typename T>
RELPROP_CLONES static void integrate(const T* __restrict of_rise, const T* __restrict of_fall,
                                     const T* __restrict rose, int64_t lanes, T* __restrict rise,
                                     T* __restrict fall, T* __restrict phi) {
  for (int64_t lane = 0; lane < lanes; ++lane) {
    rise[lane] += of_rise[lane];
    fall[lane] -= of_fall[lane];
    phi[lane] = rose[lane] > T(0) ? rise[lane] : fall[lane];
  }
}

template <typename T>
RELPROP_CLONES static void join_parts(const T* __restrict b, const T* __restrict next,
                                      const T* __restrict rose, T one_of_all, int64_t lanes,
                                      T* __restrict p, T* __restrict n, T* __restrict g,
                                      T* __restrict rises, T* __restrict falls) {
  for (int64_t lane = 0; lane < lanes; ++lane) {
    Above<T> above{p[lane], n[lane], g[lane]};
    above.join(rose[lane], one_of_all);
    const T dt = b[lane] - next[lane];
    rises[lane] += dt * above.of_rises();
    falls[lane] -= dt * above.of_falls();
    p[lane] = above.p;
    n[lane] = above.n;
    g[lane] = above.g;
  }
}

template <typename T>
RELPROP_CLONES static void give(const T* __restrict phi, const T* __restrict change,
                                const T* __restrict high, const T* __restrict top,
                                const T* __restrict positive, const T* __restrict negative,
                                int64_t lanes, T* __restrict passed, T* __restrict given) {
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const bool first = (high[lane] == top[lane]) & (passed[lane] == T(0));
    passed[lane] = first ? T(1) : passed[lane];
    given[lane] =
        shapley_multiplier(phi[lane], change[lane], positive[lane], negative[lane], first);
  }
}

// By itself, as the steps of m_x would keep the divisions of `give` out of the vector registers.
template <int kStep, typename T>
RELPROP_CLONES static void add(const T* __restrict given, int64_t lanes, T* __restrict m_x,
                               int64_t step) {
  if (kStep > 0) step = kStep;
  for (int64_t lane = 0; lane < lanes; ++lane) m_x[lane * step] += given[lane];
}

}  // namespace lanes

// Windows side by side. First their inputs enter, tap by tap; then `share` finds the Shapley
// values, and `give` hands out each tap's multipliers; or `part` finds what all rises and all falls
// bring.
template <typename T>
class ShapleyLanes {
 public:
  static constexpr int64_t kMostLanes = 64;

  // What the window in each lane has for rises and for falls: their multipliers, which come before
  // `give`, or their parts, which `part` leaves here.
  T positive[kMostLanes], negative[kMostLanes];

  explicit ShapleyLanes(int64_t most_taps)
      : networks_(most_taps + 1),
        high_(most_taps * kMostLanes),
        change_(high_.size()),
        b_(high_.size()),
        rose_(high_.size()),
        of_rise_(high_.size()),
        of_fall_(high_.size()) {}

  void start(int64_t lanes) {
    taps_ = 0;
    // Loops over whole vector registers have no remainder; the lanes too many are padding.
    lanes_ = (lanes + kVector - 1) / kVector * kVector;
    lanes::fill(floor_, lanes_, kLowest);
    lanes::fill(top_, lanes_, kLowest);
    lanes::fill(passed_, lanes_, T(0));
  }

  // The next tap of the windows in the lanes [first, first + count), padding in the other ones.
  void enter(const T* x, int64_t x_step, const T* x0, int64_t x0_step, int64_t first,
             int64_t count) {
    T *high = row(high_, taps_), *change = row(change_, taps_);
    ++taps_;
    if (count < lanes_) {
      // not -inf, which may be the maximum of a window
      lanes::fill(high, lanes_, std::numeric_limits<T>::quiet_NaN());
      lanes::fill(change, lanes_, T(0));
    }
    const int64_t step = x_step == x0_step ? x_step : 0;
    const auto enter = step == 1   ? lanes::enter<1, T>
                       : step == 2 ? lanes::enter<2, T>
                                   : lanes::enter<0, T>;
    enter(x, x_step, x0, x0_step, count, high + first, change + first, floor_ + first,
          top_ + first);
  }

  void share() {
    sort();
    clear_sums();
    for (int64_t j = 0; j < taps_; ++j) {
      lanes::join(row(b_, j), next(j), row(rose_, j), T(1) / T(j + 1), lanes_, p_, n_, g_,
                  row(of_rise_, j), row(of_fall_, j));
    }
    lanes::fill(rise_, lanes_, T(0));
    lanes::fill(fall_, lanes_, T(0));
    for (int64_t j = taps_ - 1; j >= 0; --j) {
      lanes::integrate(row(of_rise_, j), row(of_fall_, j), row(rose_, j), lanes_, rise_, fall_,
                       row(b_, j));
    }
    for (int64_t e = int64_t(network().size()) - 1; e >= 0; --e) {
      const Exchange& exchange = network()[e];
      lanes::exchange_back(row(b_, exchange.above), row(b_, exchange.below), row(exchanged_, e),
                           lanes_);
    }
  }

  void part() {
    sort();
    clear_sums();
    lanes::fill(positive, lanes_, T(0));
    lanes::fill(negative, lanes_, T(0));
    for (int64_t j = 0; j < taps_; ++j) {
      lanes::join_parts(row(b_, j), next(j), row(rose_, j), T(1) / T(j + 1), lanes_, p_, n_, g_,
                        positive, negative);
    }
  }

  // Adds the multipliers of a tap in the lanes [first, first + count); taps in scan order.
  void give(int64_t tap, int64_t first, int64_t count, T* m_x, int64_t step) {
    // all lanes, for whole vector registers; padding gets nothing
    lanes::give(row(b_, tap), row(change_, tap), row(high_, tap), top_, positive, negative, lanes_,
                passed_, rise_);
    const auto add = step == 1 ? lanes::add<1, T> : lanes::add<0, T>;
    add(rise_ + first, count, m_x, step);
  }

 private:
  static constexpr T kLowest = -std::numeric_limits<T>::infinity();
  static constexpr int64_t kVector = 16;

  static T* row(std::vector<T>& rows, int64_t i) { return rows.data() + i * kMostLanes; }

  const T* next(int64_t j) { return j + 1 < taps_ ? row(b_, j + 1) : floor_; }

  const std::vector<Exchange>& network() {
    if (networks_[taps_].empty()) networks_[taps_] = sorting_network(taps_);
    return networks_[taps_];
  }

  // Leaves in b_ the upper ends of the moves, the highest first, none below the floor.
  void sort() {
    for (int64_t tap = 0; tap < taps_; ++tap) {
      lanes::raise(row(high_, tap), row(change_, tap), floor_, lanes_, row(b_, tap),
                   row(rose_, tap));
    }
    exchanged_.resize(std::max(exchanged_.size(), network().size() * kMostLanes));
    T* exchanged = exchanged_.data();
    for (const Exchange& e : network()) {
      lanes::exchange(row(b_, e.above), row(b_, e.below), row(rose_, e.above), row(rose_, e.below),
                      exchanged, lanes_);
      exchanged += kMostLanes;
    }
  }

  void clear_sums() {
    lanes::fill(p_, lanes_, T(0));
    lanes::fill(n_, lanes_, T(0));
    lanes::fill(g_, lanes_, T(1));
  }

  int64_t taps_ = 0, lanes_ = 0;
  std::vector<std::vector<Exchange>> networks_;
  std::vector<T> high_, change_, b_, rose_, of_rise_, of_fall_, exchanged_;
  T floor_[kMostLanes], top_[kMostLanes], passed_[kMostLanes];
  T p_[kMostLanes], n_[kMostLanes], g_[kMostLanes], rise_[kMostLanes], fall_[kMostLanes];
};

}  // namespace relprop
