// The tail of the normal distribution, in a form that compilers vectorise.
//
// erfc(z) = exp(-z^2) * t * p(2 t - 1) for z >= 0, with t = 3 / (3 + z). The polynomial p is the
// Chebyshev interpolant of what that leaves, which is smooth on all of 0 < t <= 1, so one serves
// every z. It is within three units in the last place.
#pragma once

#include "exponential.h"
#include "host_device.h"

namespace relprop {

template <typename T>
struct TailPolynomial;

template <>
struct TailPolynomial<float> {
  RELPROP_HD static float at(float u) {
    return horner(u, 2.346841841e-05f, 7.026003744e-05f, -1.714378726e-04f, -9.910108810e-04f,
                  -4.088962232e-04f, 8.933822157e-03f, 3.984341939e-02f, 1.034905946e-01f,
                  1.967427444e-01f, 2.944647429e-01f, 3.580023024e-01f);
  }
};

template <>
struct TailPolynomial<double> {
  RELPROP_HD static double at(double u) {
    return horner(u, 1.41096541871044404e-09, -1.18005890594482424e-09, -1.35299813245911168e-08,
                  1.66395505203807934e-08, 7.32148845182921285e-08, -1.37224528588701366e-07,
                  -3.28995959794077348e-07, 9.22592603364722564e-07, 1.58090248461526386e-06,
                  -5.82387043689706735e-06, -1.01319618542035628e-05, 3.58539312302901561e-05,
                  9.22591174808680908e-05, -1.82769916653513265e-04, -1.01135397965330400e-03,
                  -4.04138873528198410e-04, 8.94241154015703796e-03, 3.98425870956309325e-02,
                  1.03489087300222507e-01, 1.96742785701370465e-01, 2.94464817723294414e-01,
                  3.58002302362779912e-01);
  }
};

// The probability of a standard normal number below x, and exp(-x^2 / 2).
template <typename T>
struct Normal {
  T below, bell;
};

template <typename T>
RELPROP_HD Normal<T> normal(T x) {
  const T z = (x < T(0) ? -x : x) * T(0.70710678118654752440);
  const T bell = exp_of_negative(T(-0.5) * x * x);
  const T t = T(3) / (T(3) + z);
  const T tail = T(0.5) * bell * t * TailPolynomial<T>::at(T(2) * t - T(1));
  return {x < T(0) ? tail : T(1) - tail, bell};
}

}  // namespace relprop
