// Shapley values of many windows side by side, one in each lane of the vector registers.
//
// The inputs of each window are sorted by a network of exchanges, the same for all lanes; the
// integrals are summed up along the sorted order, and the network run backwards takes them to the
// inputs that they belong to. Windows of up to nine inputs stay in registers all the way
// (shapley_unrolled.h); for longer ones there is a loop over the lanes for each step.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "../shapley.h"
#include "clones.h"
#include "shapley_unrolled.h"

namespace relprop {

struct Exchange {
  int64_t above, below;
};

inline std::vector<Exchange> sorting_network(int64_t count) {
  std::vector<Exchange> network;
  const auto take = [&](int64_t i, int64_t j) { network.push_back({i, j}); };
  for_each_exchange(count, take);
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

// Above<T> in each lane.
template <typename T, int64_t kLanes>
struct Sums {
  T p[kLanes], n[kLanes], rise[kLanes], fall[kLanes];
};

template <typename T, int64_t kLanes>
RELPROP_CLONES static void join(const T* __restrict b, const T* __restrict next,
                                const T* __restrict rose, T one_of_all, int64_t lanes,
                                Sums<T, kLanes>& sums, T* __restrict of_rise,
                                T* __restrict of_fall) {
#pragma GCC ivdep
  for (int64_t lane = 0; lane < lanes; ++lane) {
    Above<T> above{sums.p[lane], sums.n[lane], sums.rise[lane], sums.fall[lane]};
    above.join(rose[lane], one_of_all);
    const T dt = b[lane] - next[lane];
    of_rise[lane] = dt * above.of_rise();
    of_fall[lane] = dt * above.of_fall();
    sums.p[lane] = above.p;
    sums.n[lane] = above.n;
    sums.rise[lane] = above.rise;
    sums.fall[lane] = above.fall;
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

template <typename T, int64_t kLanes>
RELPROP_CLONES static void join_parts(const T* __restrict b, const T* __restrict next,
                                      const T* __restrict rose, T one_of_all, int64_t lanes,
                                      Sums<T, kLanes>& sums, T* __restrict rises,
                                      T* __restrict falls) {
#pragma GCC ivdep
  for (int64_t lane = 0; lane < lanes; ++lane) {
    Above<T> above{sums.p[lane], sums.n[lane], sums.rise[lane], sums.fall[lane]};
    above.join(rose[lane], one_of_all);
    const T dt = b[lane] - next[lane];
    rises[lane] += dt * above.of_rises();
    falls[lane] -= dt * above.of_falls();
    sums.p[lane] = above.p;
    sums.n[lane] = above.n;
    sums.rise[lane] = above.rise;
    sums.fall[lane] = above.fall;
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

// Windows side by side. First their inputs enter, tap by tap; then `share` finds each tap's
// multipliers, and `give` hands them out; or `part` finds what all rises and all falls bring.
template <typename T>
class ShapleyLanes {
 public:
  static constexpr int64_t kMostLanes = 128;

  // What the window in each lane has for rises and for falls: their multipliers, which come before
  // `share`, or their parts, which `part` leaves here.
  T positive[kMostLanes], negative[kMostLanes];

  explicit ShapleyLanes(int64_t most_taps)
      : networks_(most_taps + 1),
        high_(std::max(most_taps, kUnrolled) * kMostLanes),
        change_(high_.size()),
        given_(high_.size()) {
    if (most_taps <= kUnrolled) return;
    for (std::vector<T>* rows : {&b_, &rose_, &of_rise_, &of_fall_}) rows->resize(high_.size());
  }

  void start(int64_t lanes) {
    taps_ = 0;
    // Loops over whole vector registers have no remainder; the lanes too many are padding.
    lanes_ = (lanes + kVector - 1) / kVector * kVector;
    lanes::fill(floor_, lanes_, kLowest);
    lanes::fill(top_, lanes_, kLowest);
  }

  // The next tap of the windows in the lanes [first, first + count), padding in the other ones.
  void enter(const T* x, int64_t x_step, const T* x0, int64_t x0_step, int64_t first,
             int64_t count) {
    T *high = row(high_, taps_), *change = row(change_, taps_);
    if (count < lanes_) clear_row(taps_);
    ++taps_;
    const int64_t step = x_step == x0_step ? x_step : 0;
    const auto enter = step == 1   ? lanes::enter<1, T>
                       : step == 2 ? lanes::enter<2, T>
                                   : lanes::enter<0, T>;
    enter(x, x_step, x0, x0_step, count, high + first, change + first, floor_ + first,
          top_ + first);
  }

  void share() {
    if (taps_ <= 4) {
      share_unrolled<4>();
    } else if (taps_ <= 9) {
      share_unrolled<9>();
    } else {
      share_step_by_step();
    }
  }

  void part() {
    if (taps_ <= 4) {
      part_unrolled<4>();
    } else if (taps_ <= 9) {
      part_unrolled<9>();
    } else {
      part_step_by_step();
    }
  }

  // Adds the multipliers of a tap in the lanes [first, first + count).
  void give(int64_t tap, int64_t first, int64_t count, T* m_x, int64_t step) {
    const auto add = step == 1 ? lanes::add<1, T> : step == 2 ? lanes::add<2, T> : lanes::add<0, T>;
    add(row(given_, tap) + first, count, m_x, step);
  }

 private:
  static constexpr T kLowest = -std::numeric_limits<T>::infinity();
  static constexpr int64_t kVector = 16, kUnrolled = 9;

  static T* row(std::vector<T>& rows, int64_t i) { return rows.data() + i * kMostLanes; }

  T* next(int64_t j) { return j + 1 < taps_ ? row(b_, j + 1) : floor_; }

  // Padding, which changes nothing: not -inf, which may be the maximum of a window.
  void clear_row(int64_t tap) {
    lanes::fill(row(high_, tap), lanes_, std::numeric_limits<T>::quiet_NaN());
    lanes::fill(row(change_, tap), lanes_, T(0));
  }

  template <int kTaps>
  void share_unrolled() {
    for (int64_t tap = taps_; tap < kTaps; ++tap) clear_row(tap);
    unrolled::share_lanes<kTaps>(high_.data(), change_.data(), floor_, top_, positive, negative,
                                 lanes_, kMostLanes, given_.data());
  }

  template <int kTaps>
  void part_unrolled() {
    for (int64_t tap = taps_; tap < kTaps; ++tap) clear_row(tap);
    unrolled::part_lanes<kTaps>(high_.data(), change_.data(), floor_, lanes_, kMostLanes, positive,
                                negative);
  }

  void share_step_by_step() {
    sort();
    clear_sums();
    for (int64_t j = 0; j < taps_; ++j) {
      lanes::join(row(b_, j), next(j), row(rose_, j), T(1) / T(j + 1), lanes_, above_,
                  row(of_rise_, j), row(of_fall_, j));
    }
    T* rise = row(given_, 0);
    T* fall = row(given_, 1);
    lanes::fill(rise, lanes_, T(0));
    lanes::fill(fall, lanes_, T(0));
    for (int64_t j = taps_ - 1; j >= 0; --j) {
      lanes::integrate(row(of_rise_, j), row(of_fall_, j), row(rose_, j), lanes_, rise, fall,
                       row(b_, j));
    }
    for (int64_t e = int64_t(network().size()) - 1; e >= 0; --e) {
      const Exchange& exchange = network()[e];
      lanes::exchange_back(row(b_, exchange.above), row(b_, exchange.below), row(exchanged_, e),
                           lanes_);
    }
    lanes::fill(passed_, lanes_, T(0));
    for (int64_t tap = 0; tap < taps_; ++tap) {
      lanes::give(row(b_, tap), row(change_, tap), row(high_, tap), top_, positive, negative,
                  lanes_, passed_, row(given_, tap));
    }
  }

  void part_step_by_step() {
    sort();
    clear_sums();
    lanes::fill(positive, lanes_, T(0));
    lanes::fill(negative, lanes_, T(0));
    for (int64_t j = 0; j < taps_; ++j) {
      lanes::join_parts(row(b_, j), next(j), row(rose_, j), T(1) / T(j + 1), lanes_, above_,
                        positive, negative);
    }
  }

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
    for (T* sums : {above_.p, above_.n, above_.rise, above_.fall}) lanes::fill(sums, lanes_, T(0));
  }

  int64_t taps_ = 0, lanes_ = 0;
  std::vector<std::vector<Exchange>> networks_;
  std::vector<T> high_, change_, given_;
  T floor_[kMostLanes], top_[kMostLanes];

  // Of windows that are not unrolled.
  std::vector<T> b_, rose_, of_rise_, of_fall_, exchanged_;
  lanes::Sums<T, kMostLanes> above_;
  T passed_[kMostLanes];
};

}  // namespace relprop
