// The arithmetic of max pooling where several inputs of a window may get a part, once, for CPU and
// CUDA alike; relprop/ops/reference_shares.py specifies it.
#pragma once

#include <limits>

#include "rules.h"

namespace relprop {

// What the inputs of a window seen so far come to.
template <typename T>
struct Held {
  T highest = -std::numeric_limits<T>::infinity();
  T total = 0;  // the number of those equal to the highest, or the sum of all
};

// Where windows hold NaN, it is their maximum, as in torch.
template <typename T>
RELPROP_HD bool is_highest(T x_i, T highest) {
  return x_i == highest || (x_i != x_i && highest != highest);
}

// What arrives at a window whose maximum is y: R = multiplier * y + amount.
template <typename T>
RELPROP_HD T arriving(T multiplier, T y, T amount) {
  return multiplier == T(0) ? amount : multiplier * y + amount;
}

// The n inputs that are the maximum share: each gets m / n.
struct SharedByMaxima {
  static constexpr bool kForAll = false;

  template <typename T>
  static RELPROP_HD Held<T> with(Held<T> held, T x_i) {
    const bool same = is_highest(x_i, held.highest);
    const bool higher = !same && wins_over(x_i, held.highest);
    const T more = same ? held.total + T(1) : held.total;
    return {higher ? x_i : held.highest, higher ? T(1) : more};
  }

  template <typename T>
  static RELPROP_HD Held<T> together(Held<T> a, Held<T> b) {
    if (is_highest(a.highest, b.highest)) return {a.highest, a.total + b.total};
    return wins_over(b.highest, a.highest) ? b : a;
  }

  template <typename T>
  static RELPROP_HD T share(Held<T> held, T multiplier, T, T) {
    return held.total == T(0) ? T(0) : multiplier / held.total;
  }

  template <typename T>
  static RELPROP_HD bool gives(T x_i, T highest) {
    return is_highest(x_i, highest);
  }
};

// All inputs get their part of the sum z = sum_i x_i: the multiplier R / (z + epsilon * sign(z)).
struct SharedByValue {
  static constexpr bool kForAll = true;

  template <typename T>
  static RELPROP_HD Held<T> with(Held<T> held, T x_i) {
    return {wins_over(x_i, held.highest) ? x_i : held.highest, held.total + x_i};
  }

  template <typename T>
  static RELPROP_HD Held<T> together(Held<T> a, Held<T> b) {
    return {wins_over(b.highest, a.highest) ? b.highest : a.highest, a.total + b.total};
  }

  template <typename T>
  static RELPROP_HD T share(Held<T> held, T multiplier, T amount, T epsilon) {
    return stabilized_ratio(arriving(multiplier, held.highest, amount), held.total, epsilon);
  }

  template <typename T>
  static RELPROP_HD bool gives(T, T) {
    return true;
  }
};

}  // namespace relprop
