// The arithmetic of every rule, once, for CPU and CUDA alike; relprop/ops/reference.py specifies
// it.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "activations.h"
#include "host_device.h"

namespace relprop {

// d + epsilon * sign(d), with sign(0) = +1.
template <typename T>
RELPROP_HD T stabilize(T d, T epsilon) {
  return d >= T(0) ? d + epsilon : d - epsilon;
}

// The step of LRP between two layers: s = R / (d + epsilon * sign(d)). It is 0 where R = 0, so that
// no neuron without relevance gives 0/0; and where the denominator is 0, for then all inputs are 0
// or cancel out, and nobody can be given a share. (Bach et al. 2015, eq. 60; Montavon et al. 2019,
// step 2.)
template <typename T>
RELPROP_HD T stabilized_ratio(T R, T d, T epsilon) {
  const T z = stabilize(d, epsilon);
  const T s = R / z;
  return R == T(0) || z == T(0) ? T(0) : s;
}

// The distance h from the baseline at which a smooth function's secant gives way to its derivative.
//
// f(x) and f(x0) are each rounded by about eps, so the secant is off by eps / h at distance h. The
// derivative at the midpoint is off by h^2 / 24 * f'''. The two meet at h = cbrt(24 * eps).
template <typename T>
T rescale_threshold() {
  return T(std::cbrt(24 * double(std::numeric_limits<T>::epsilon())));
}

// DeepLIFT's Rescale rule (Shrikumar et al. 2017): (f(x) - f(x0)) / (x - x0).
//
// A piecewise linear f keeps the secant up to x = x0, where it takes f'(x): its secant is as exact
// as the subtraction beneath it, while the derivative would miss a kink between x0 and x.
template <typename F, typename T>
RELPROP_HD T rescale_slope(const F& f, T x, T x0, T h) {
  const T difference = x - x0;
  const T distance = difference < T(0) ? -difference : difference;
  const T secant = (f.f(x) - f.f(x0)) / difference;
  const T derivative = f.derivative((x + x0) / T(2));
  const bool close = F::kSmooth ? distance < h : distance == T(0);
  return close ? derivative : secant;
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
