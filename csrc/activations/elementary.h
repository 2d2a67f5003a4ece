// exp, log and powers.
#pragma once

#include "function.h"

namespace relprop {

template <typename T>
struct Exp : Smooth<T> {
  RELPROP_HD explicit Exp(const Parameters&) {}
  RELPROP_HD T f(T x) const { return exp_of_any(x); }
  RELPROP_HD T derivative(T x) const { return exp_of_any(x); }
};

// How curved log and powers are at x goes by x: so does how far the midpoint's slope reaches.
template <typename T>
RELPROP_HD T nearest_to_zero(T a, T b) {
  const T least = magnitude(a) < magnitude(b) ? magnitude(a) : magnitude(b);
  return on_one_side(a, b, T(0), least);
}

template <typename T>
struct Log {
  static constexpr bool kSmooth = true;
  static constexpr bool kEverywhere = false;
  RELPROP_HD explicit Log(const Parameters&) {}
  RELPROP_HD T f(T x) const { return std::log(x); }
  RELPROP_HD T derivative(T x) const { return T(1) / x; }
  RELPROP_HD bool defined(T low, T) const { return low > T(0); }
  RELPROP_HD T reach(T a, T b) const { return nearest_to_zero(a, b); }
};

template <typename T>
struct Sqrt {
  static constexpr bool kSmooth = true;
  static constexpr bool kEverywhere = false;
  RELPROP_HD explicit Sqrt(const Parameters&) {}
  RELPROP_HD T f(T x) const { return std::sqrt(x); }
  RELPROP_HD T derivative(T x) const { return T(0.5) / std::sqrt(x); }
  RELPROP_HD bool defined(T low, T) const { return low >= T(0); }
  RELPROP_HD T reach(T a, T b) const { return nearest_to_zero(a, b); }
};

template <typename T>
struct Square : Everywhere<T> {
  static constexpr bool kSmooth = true;
  RELPROP_HD explicit Square(const Parameters&) {}
  RELPROP_HD T f(T x) const { return x * x; }
  RELPROP_HD T derivative(T x) const { return T(2) * x; }
  RELPROP_HD T reach(T, T) const { return kAnywhere<T>; }
};

template <typename T>
struct Pow {
  static constexpr bool kSmooth = true;
  static constexpr bool kEverywhere = false;
  T exponent;
  RELPROP_HD explicit Pow(const Parameters& p) : exponent(T(p.value[0])) {}
  RELPROP_HD T f(T x) const { return std::pow(x, exponent); }
  RELPROP_HD T derivative(T x) const {
    return exponent == T(0) ? T(0) : exponent * std::pow(x, exponent - T(1));
  }
  RELPROP_HD bool defined(T low, T high) const {
    const bool whole = exponent == std::floor(exponent);
    if (exponent >= T(0)) return whole || low >= T(0);
    return low > T(0) || (whole && high < T(0));
  }
  RELPROP_HD T reach(T a, T b) const {
    const T steepness = magnitude(exponent);
    return nearest_to_zero(a, b) / (steepness > T(1) ? steepness : T(1));
  }
};

}  // namespace relprop
