// exp and expm1 in a form that compilers vectorise.
//
// exp(t) = 2^n * exp(r), with n the integer nearest to t / ln 2 and |r| <= ln 2 / 2, and
// expm1(r) by its Taylor series. Both are within about one unit in the last place. Below the
// logarithm of the smallest normal number, exp is 0, so that x * exp(x) is 0 as well, however far
// from 0 x may be.
//
// Two tricks keep branches and integer conversions out: adding 1.5 * 2^(mantissa bits) to a number
// rounds it to an integer, which then stands in the low bits of the sum; and shifting those bits
// into the exponent makes 2^n of them.
#pragma once

#include <cstdint>
#include <cstring>

#include "host_device.h"

namespace relprop {

template <typename T>
struct Exponential;

template <>
struct Exponential<float> {
  using Bits = uint32_t;
  static constexpr int kTerms = 7;
  static constexpr int kLogarithmTerms = 7;
  static constexpr int kMantissa = 23;
  static constexpr Bits kExponentBias = 127;
  static constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23
  static constexpr float kLowest = -87.3f;
  static constexpr float kLn2High = 0.693359375f;
  static constexpr float kLn2Low = -2.12194440e-4f;
};

template <>
struct Exponential<double> {
  using Bits = uint64_t;
  static constexpr int kTerms = 13;
  static constexpr int kLogarithmTerms = 16;
  static constexpr int kMantissa = 52;
  static constexpr Bits kExponentBias = 1023;
  static constexpr double kRounder = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double kLowest = -708.0;
  static constexpr double kLn2High = 6.93147180369123816490e-01;
  static constexpr double kLn2Low = 1.90821492927058770002e-10;
};

// exp(t) = scale + scale * expm1_r, and expm1(t) = scale * expm1_r + (scale - 1).
template <typename T>
struct ScaledExponential {
  T scale;
  T expm1_r;
};

template <typename T>
RELPROP_HD ScaledExponential<T> scaled_exponential(T t) {
  using E = Exponential<T>;
  constexpr T kLog2E = T(1.44269504088896340736);
  t = t < E::kLowest ? E::kLowest : t;

  const T rounded = t * kLog2E + E::kRounder;
  const T n = rounded - E::kRounder;
  const T r = (t - n * E::kLn2High) - n * E::kLn2Low;

  typename E::Bits bits;
  std::memcpy(&bits, &rounded, sizeof(T));
  bits = (bits + E::kExponentBias) << E::kMantissa;
  T scale;
  std::memcpy(&scale, &bits, sizeof(T));

  // expm1(r) = r + r^2 / 2 + r^3 / 6 + ..., by Horner's rule from the last term.
  T series = T(1);
  for (int k = E::kTerms; k >= 3; --k) {
    series = T(1) + series * (r * (T(1) / T(k)));
  }
  return {scale, r + r * r * T(0.5) * series};
}

// exp(t), t <= 0.
template <typename T>
RELPROP_HD T exp_of_negative(T t) {
  const ScaledExponential<T> e = scaled_exponential(t);
  const T y = e.scale + e.scale * e.expm1_r;
  return t < Exponential<T>::kLowest ? T(0) : y;
}

// exp(t) - 1, t <= 0, without cancellation near 0.
template <typename T>
RELPROP_HD T expm1_of_negative(T t) {
  const ScaledExponential<T> e = scaled_exponential(t);
  return e.scale * e.expm1_r + (e.scale - T(1));
}

// exp(t), any t, within about two units: the square of exp(t / 2), which overflows to infinity and
// fades to 0 where exp(t) does.
template <typename T>
RELPROP_HD T exp_of_any(T t) {
  const T half = t * T(0.5);
  const T e = exp_of_negative(half > -Exponential<T>::kLowest ? -Exponential<T>::kLowest : half);
  return e * e;
}

// log(1 + u), 0 <= u <= 1, by its series 2 * (s + s^3 / 3 + s^5 / 5 + ...), s = u / (2 + u) <= 1/3.
template <typename T>
RELPROP_HD T log1p_of_fraction(T u) {
  const T s = u / (T(2) + u);
  const T square = s * s;
  T series = T(0);
  for (int k = Exponential<T>::kLogarithmTerms; k >= 1; --k) {
    series = (series + T(1) / T(2 * k + 1)) * square;
  }
  return T(2) * (s + s * series);
}

}  // namespace relprop
