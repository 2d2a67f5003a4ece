// The arithmetic of Shapley max pooling, once, for CPU and CUDA alike;
// relprop/ops/reference_shapley.py specifies it.
//
// An input of a window moves from x0_i to x_i. In the game whose worth is the window's maximum,
// with b_i = max(x_i, x0_i), T = max_i min(x_i, x0_i), and p(t), n(t) the numbers of inputs that
// rose or fell and have b_i > t, its Shapley value is
//
//   phi_i = + integral from T to b_i of dt / (p C(n + p, p))   where it rose
//   phi_i = - integral from T to b_i of dt / (n C(n + p, p))   where it fell
//
// as at threshold t a rise counts in those orders in which all falls come before it, and all other
// rises after it.
#pragma once

#include "host_device.h"

namespace relprop {

// How one input of a window moved.
template <typename T>
struct Move {
  T high, low, change;
};

template <typename T>
RELPROP_HD Move<T> move_of(T x, T x0) {
  const bool rose = x > x0;
  return {rose ? x : x0, rose ? x0 : x, x == x0 ? T(0) : x - x0};
}

// The inputs above a threshold that sinks past one of them after the other: with p rises and n
// falls among them, dphi / dt of a rise is 1 / (p C(n + p, p)), and of a fall, but for its sign,
// 1 / (n C(n + p, p)). From one input to the next they change by small factors, which needs no
// division. Where there are very many inputs, they underflow to 0.
template <typename T>
struct Above {
  T p = 0, n = 0;
  T rise = 0, fall = 0;  // 0 while there is none

  // one_of_all = 1 / (n + p), the new input included
  RELPROP_HD void join(T rose, T one_of_all) {
    const bool up = rose > T(0);
    const T first_rise = p > T(0) ? rise * p : T(1);
    const T first_fall = n > T(0) ? fall * n : T(1);
    rise = (up ? first_rise : rise * (n + T(1))) * one_of_all;
    fall = (up ? fall * (p + T(1)) : first_fall) * one_of_all;
    p += rose;
    n += T(1) - rose;
  }

  RELPROP_HD T of_rise() const { return rise; }
  RELPROP_HD T of_fall() const { return fall; }
  // The same of all of them together.
  RELPROP_HD T of_rises() const { return p * rise; }
  RELPROP_HD T of_falls() const { return n * fall; }
};

// The multiplier that a window hands to an input. One that did not change gets something only if
// it wins the window both times; then phi / change tends to 1.
template <typename T>
RELPROP_HD T shapley_multiplier(T phi, T change, T positive, T negative, bool wins_both) {
  const T unchanged = wins_both ? (positive + negative) / T(2) : T(0);
  const T m = change > T(0) ? positive : negative;
  const T slope = phi / change;
  return change == T(0) ? unchanged : m * slope;
}

}  // namespace relprop
