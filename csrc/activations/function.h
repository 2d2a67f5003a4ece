// What every elementwise function in this folder is made of.
//
// A function is a template over the type that it computes in, constructed from its parameters, with
//   f           the function,
//   derivative  f'; where f has a kink, what torch's autograd gives,
//   kSmooth     whether f' ever stands for the secant between two different numbers: false where
//               the secant is as exact, for all its slopes are -1, 0 or 1,
//   kEverywhere whether f is defined for every number; if not, it has
//   defined     whether f is defined from `low` to `high`,
//   reach       how far apart a and b may be, times the h of rescale_threshold, for f' at their
//               midpoint to stand for the secant between them: 0 where f bends sharply in between.
#pragma once

#include <cmath>
#include <cstdint>

#include "../exponential.h"
#include "../host_device.h"

namespace relprop {

struct Parameters {
  static constexpr int kMost = 4;
  double value[kMost] = {};
};

// A reach for functions that are linear or quadratic: the midpoint's slope is the secant's.
template <typename T>
constexpr T kAnywhere = T(1e30);

template <typename T>
RELPROP_HD T magnitude(T x) {
  return std::fabs(x);
}

// `within` if a and b are on the same side of `at`, else 0.
template <typename T>
RELPROP_HD T on_one_side(T a, T b, T at, T within) {
  const T low = a < b ? a : b, high = a < b ? b : a;
  const T above = low > at ? within : T(0);
  return high <= at ? within : above;
}

template <typename T>
struct Everywhere {
  static constexpr bool kEverywhere = true;
};

// The reach of functions of which all secants are exact, and of those that are smooth everywhere.
template <typename T>
struct Piecewise : Everywhere<T> {
  static constexpr bool kSmooth = false;
  RELPROP_HD T reach(T, T) const { return T(0); }
};

template <typename T>
struct Smooth : Everywhere<T> {
  static constexpr bool kSmooth = true;
  RELPROP_HD T reach(T, T) const { return T(1); }
};

}  // namespace relprop
