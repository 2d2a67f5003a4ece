// The arithmetic of every rule, once, for CPU and CUDA alike; relprop/ops/reference.py specifies
// it.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "activations.h"
#include "host_device.h"
#include "shortcuts.h"

namespace relprop {

// d + epsilon * sign(d), with sign(0) = +1.
template <typename T>
RELPROP_HD T stabilize(T d, T epsilon) {
  return d >= T(0) ? d + epsilon : d - epsilon;
}

// The step of LRP between two layers: s = R / (d + epsilon * sign(d)). It is 0 where R = 0, so that
// no neuron without relevance gives 0/0; and where the denominator is 0, for then all inputs are 0
// or cancel out, and nobody can be given a share. (Bach et al. 2015, eq. 58; Montavon et al. 2019,
// step 2.)
template <typename T>
RELPROP_HD T stabilized_ratio(T R, T d, T epsilon) {
  const T z = stabilize(d, epsilon);
  const T s = R / z;
  return R == T(0) || z == T(0) ? T(0) : s;
}

// The denominator of rules that weigh contributions by their sign, from their total z and their
// size, the sum of all |z_ij|: with z+ = (z + size) / 2 and z- = (z - size) / 2,
//
//   d = whole * z + gamma * (z+ where z >= 0, z- elsewhere)
//
// (Andéol et al. 2021, generalising Montavon et al. 2019.) The size is below |z| by rounding alone.
template <typename T>
RELPROP_HD T signed_denominator(T z, T size, T whole, T gamma) {
  const T least = magnitude(z);
  const T all = size < least ? least : size;
  const T side = (z >= T(0) ? z + all : z - all) / T(2);
  return whole * z + gamma * side;
}

// The distance h from the baseline at which a smooth function's secant gives way to its derivative.
//
// f(x) and f(x0) are each rounded by about eps, so the secant is off by eps / h at distance h. The
// derivative at the midpoint is off by h^2 / 24 * f'''. The two meet at h = cbrt(24 * eps), for an
// f whose values and bends are about 1; for others, f's reach says how many times h it is.
template <typename T>
T rescale_threshold() {
  return T(std::cbrt(24 * double(std::numeric_limits<T>::epsilon())));
}

// The slope of f from x0 to x = x0 + step: the secant, or close to x0, the midpoint's derivative.
//
// What "close" means is for f to say: a piecewise linear f keeps the secant up to x = x0, as its
// secant is as exact as the subtraction beneath it, while the derivative would miss a kink between
// x0 and x. step may differ from x - x0 by how much x was rounded; it may be lost in it altogether.
template <typename F, typename T>
RELPROP_HD T slope_between(const F& f, T x0, T f_x0, T x, T f_x, T step, T h) {
  const T difference = x - x0;
  const T secant = (f_x - f_x0) / difference;
  const T derivative = f.derivative(x0 + step / T(2));
  const bool within_reach = F::kSmooth && magnitude(difference) <= h * f.reach(x0, x);
  return within_reach || difference == T(0) ? derivative : secant;
}

// DeepLIFT's Rescale rule (Shrikumar et al. 2017): (f(x) - f(x0)) / (x - x0).
template <typename F, typename T>
RELPROP_HD T rescale_slope(const F& f, T x, T x0, T h) {
  if constexpr (Shortcut<F>::kKnown) {
    if (Shortcut<F>::serves(x, x0)) return Shortcut<F>::rescale_slope(x, x0);
  }
  return slope_between(f, x0, f.f(x0), x, f.f(x), x - x0, h);
}

template <typename T>
RELPROP_HD T least(T a, T b) {
  return a < b ? a : b;
}

// Whether a part that should be 0 or more is below it by no more than the other, which is one of
// the terms that it is the difference of, was rounded.
template <typename T>
RELPROP_HD bool is_rounding(T part, T other) {
  return part < T(0) && -part <= 8 * std::numeric_limits<T>::epsilon() * magnitude(other);
}

template <typename T>
RELPROP_HD bool is_finite(T x) {
  return magnitude(x) <= std::numeric_limits<T>::max();
}

// DeepLIFT's RevealCancel rule (Shrikumar et al. 2017, section 3.5.3): y+ / P and y- / N, with
//
//   y+ = 1/2 [f(r + P) - f(r) + f(r + N + P) - f(r + N)]
//   y- = 1/2 [f(r + N) - f(r) + f(r + P + N) - f(r + P)]
//
// as the mean of two slopes each. A slope is over the distance between the points as rounded: over
// P itself, the slope of a relu would be off by as much as P was rounded when it was added to r. So
// P and N times their slopes sum to f(x) - f(r) but for f's rounding, and for that of its arguments
// times the slope.
//
// x is r + P + N, as precisely as it is known: where it is much smaller than r, the sum has lost
// it. For the same reason the points between are reckoned from the end of the way that is nearer:
// the smaller of P and N is a step from r, and the last step to x, and neither is lost in rounding.
//
// A part may have the sign of the other: a function below that falls may leave any so, and rounding
// one that is 0. Where this is what rounding left, or f is not defined from the least of the four
// points to the greatest, or a slope is infinite, nothing can be said of P and N apart: both get
// the slope of Rescale, which leads from r to x.
template <typename F, typename T>
RELPROP_HD Parts<T> reveal_cancel_slopes(const F& f, T P, T N, T r, T x, T h) {
  if constexpr (Shortcut<F>::kKnown) {
    if (Shortcut<F>::serves(P, N, r, x)) return Shortcut<F>::reveal_cancel_slopes(P, N, r, x);
  }
  const bool falls = magnitude(P) <= magnitude(N);
  const T rP = falls ? r + P : x - N, rN = falls ? x - P : r + N;
  const T f_r = f.f(r), f_rP = f.f(rP), f_rN = f.f(rN), f_x = f.f(x);
  const T positive =
      slope_between(f, r, f_r, rP, f_rP, P, h) + slope_between(f, rN, f_rN, x, f_x, P, h);
  const T negative =
      slope_between(f, r, f_r, rN, f_rN, N, h) + slope_between(f, rP, f_rP, x, f_x, N, h);
  if constexpr (!F::kEverywhere) {
    const T low = least(least(r, x), least(rP, rN)), high = -least(least(-r, -x), least(-rP, -rN));
    const bool known = !is_rounding(P, -N) && !is_rounding(-N, P) && f.defined(low, high);
    const bool apart = known && is_finite(positive) && is_finite(negative);
    const T together = slope_between(f, r, f_r, x, f_x, x - r, h);
    if (!apart) return {together, together};
  }
  return {positive / T(2), negative / T(2)};
}

// A difference in its parts, from its total P + N and its size P - N.
template <typename T>
RELPROP_HD Parts<T> parts_of(T total, T size) {
  return {(total + size) / T(2), (total - size) / T(2)};
}

// amount * slope; nothing stays nothing where the slope is infinite.
template <typename T>
RELPROP_HD T along_slope(T amount, T slope) {
  return amount == T(0) && slope == slope ? T(0) : amount * slope;
}

// torch's rule for the maximum of a window, in scan order: the first maximum wins, NaN beats all.
template <typename T>
RELPROP_HD bool wins_over(T candidate, T best) {
  return candidate > best || candidate != candidate;
}

// Who gets how much of one max-pool window; the place is -1 where nobody gets anything.
template <typename T, typename Place>
struct Prize {
  Place place;
  T amount;
};

// DeepLIFT through one max-pool window, i = argmax x, j = argmax x0, D = max x - max x0:
//
//   D > 0:  i gets m * D / (x_i - x0_i), as x0_i <= max x0 gives x_i - x0_i >= D > 0
//   D < 0:  j gets m * D / (x_j - x0_j), as x_j <= max x gives x0_j - x_j >= -D > 0
//   D = 0:  i gets m, if i = j
//
// Each ratio is in (0, 1], and sum over the window of m_x * (x - x0) is m * D exactly.
template <typename T, typename Place>
RELPROP_HD Prize<T, Place> window_prize(T m, T x_i, T x0_i, Place i, T x_j, T x0_j, Place j) {
  const T D = x_i - x0_j;
  if (D > T(0)) return {i, m * (D / (x_i - x0_i))};
  if (D < T(0)) return {j, m * (D / (x_j - x0_j))};
  if (D == T(0) && i == j) return {i, m};
  return {Place(-1), T(0)};
}

}  // namespace relprop
