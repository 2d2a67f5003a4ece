// exp and expm1 in a form that compilers vectorise.
//
// exp(t) = 2^n * exp(r), with n the integer nearest to t / ln 2 and |r| <= ln 2 / 2, and
// expm1(r) = r + r^2 * q(r), with the polynomial q that is closest to what is left of the series
// there: the Chebyshev interpolant, which needs fewer terms than the series itself. Both are within
// about one unit in the last place. Below the logarithm of the smallest normal number, exp is 0, so
// that x * exp(x) is 0 as well, however far from 0 x may be.
//
// Two tricks keep branches and integer conversions out: adding 1.5 * 2^(mantissa bits) to a number
// rounds it to an integer, which then stands in the low bits of the sum; and shifting those bits
// into the exponent makes 2^n of them. The exponent's bias is added with the first.
#pragma once

#include <cstdint>
#include <cstring>

#include "host_device.h"

namespace relprop {

// The polynomial of u with these coefficients, from the highest power down.
template <typename T, typename... Coefficients>
RELPROP_HD T horner(T u, T highest, Coefficients... lower) {
  T sum = highest;
  ((sum = sum * u + lower), ...);
  return sum;
}

template <typename T>
struct Exponential;

template <>
struct Exponential<float> {
  using Bits = uint32_t;
  static constexpr int kLogarithmTerms = 7;
  static constexpr int kMantissa = 23;
  static constexpr float kRounder = 12582912.0f + 127.0f;  // 1.5 * 2^23, and the bias
  static constexpr float kLowest = -87.3f;
  static constexpr float kLn2High = 0.693359375f;
  static constexpr float kLn2Low = -2.12194440e-4f;
  RELPROP_HD static float q(float r) {
    // By pairs, which waits less than Horner's rule.
    const float square = r * r;
    const float high = 4.16665535e-2f + r * 8.36333308e-3f + square * 1.3926376e-3f;
    return 0.5f + r * 1.66665761e-1f + square * high;
  }
};

template <>
struct Exponential<double> {
  using Bits = uint64_t;
  static constexpr int kLogarithmTerms = 16;
  static constexpr int kMantissa = 52;
  static constexpr double kRounder = 6755399441055744.0 + 1023.0;  // 1.5 * 2^52, and the bias
  static constexpr double kLowest = -708.0;
  static constexpr double kLn2High = 6.93147180369123816490e-01;
  static constexpr double kLn2Low = 1.90821492927058770002e-10;
  RELPROP_HD static double q(double r) {
    return horner(r, 2.51006344618784970e-08, 2.76204121944988524e-07, 2.75572679352319271e-06,
                  2.48015206135662212e-05, 1.98412698633922134e-04, 1.38888889176540153e-03,
                  8.33333333332999386e-03, 4.16666666666232440e-02, 1.66666666666666675e-01, 0.5);
  }
};

// exp(t) = scale + scale * expm1_r, and expm1(t) = scale * expm1_r + (scale - 1).
template <typename T>
struct ScaledExponential {
  T scale;
  T expm1_r;
};

// For t of which the exponential is a normal number.
template <typename T>
RELPROP_HD ScaledExponential<T> scaled_exponential(T t) {
  using E = Exponential<T>;
  constexpr T kLog2E = T(1.44269504088896340736);
  const T rounded = t * kLog2E + E::kRounder;
  const T n = rounded - E::kRounder;
  const T r = (t - n * E::kLn2High) - n * E::kLn2Low;

  typename E::Bits bits;
  std::memcpy(&bits, &rounded, sizeof(T));
  bits <<= E::kMantissa;
  T scale;
  std::memcpy(&scale, &bits, sizeof(T));
  return {scale, r + r * r * E::q(r)};
}

template <typename T>
RELPROP_HD T not_too_low(T t) {
  return t < Exponential<T>::kLowest ? Exponential<T>::kLowest : t;
}

// exp(t), t <= 0.
template <typename T>
RELPROP_HD T exp_of_negative(T t) {
  const ScaledExponential<T> e = scaled_exponential(not_too_low(t));
  const T y = e.scale + e.scale * e.expm1_r;
  return t < Exponential<T>::kLowest ? T(0) : y;
}

// exp(t) - 1, t <= 0, without cancellation near 0.
template <typename T>
RELPROP_HD T expm1_of_negative(T t) {
  const ScaledExponential<T> e = scaled_exponential(not_too_low(t));
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
