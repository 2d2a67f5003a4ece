// Slopes of functions that can be had without the functions' values, for numbers of ordinary size.
//
// A shortcut takes fewer exponentials and divisions than the way of rules.h, which goes by the
// values at both ends, and a derivative in case the ends are close; and it takes no difference of
// values that are almost the same. Whether it serves is said for each element by itself, so what
// an element gets does not depend on its neighbours.
#pragma once

#include "activations.h"
#include "exponential.h"
#include "host_device.h"

namespace relprop {

// What belongs to the positive part of a difference, and to its negative part.
template <typename T>
struct Parts {
  T positive, negative;
};

template <typename F>
struct Shortcut {
  static constexpr bool kKnown = false;
};

// (e^t - 1) / t as a fraction, and e^t. Where the next term of its series, t^2 / 6, is lost in
// rounding, the fraction is 1 + t / 2: so it has its limit at 0, and its parts are never tiny.
template <typename T>
struct Growth {
  T over, under, whole;

  RELPROP_HD explicit Growth(T t) {
    constexpr T kNear = sizeof(T) == 4 ? T(1e-4) : T(1e-8);
    const ScaledExponential<T> e = scaled_exponential(t);
    const T part = e.scale * e.expm1_r;
    const bool near = magnitude(t) < kNear;
    whole = e.scale + part;
    over = near ? T(1) + t * T(0.5) : part + (e.scale - T(1));
    under = near ? T(1) : t;
  }
};

// Functions with slopes kSteepness times those of the sigmoid s between kScale times their
// arguments. Between a and b = a + t,
//
//   (s(b) - s(a)) / t = (e^t - 1) / t * e^a / ((1 + e^a) (1 + e^b)),
//
// where e^b is e^a e^t. It is the same slope between -a and -b: of the two, the one with e^a <= 1
// is taken. Within kMostDistance no product overflows, and b is as good as rounded, for t is off by
// its last digit only; within kMostBaseline e^a is far from the smallest numbers.
template <typename T, int kScale, int kSteepness>
struct LogisticSlopes {
  static constexpr bool kKnown = true;
  static constexpr T kMostDistance = T(24) / T(kScale), kMostBaseline = T(60) / T(kScale);

  // P and N that lead from r to x: the larger is what the smaller leaves of the way.
  RELPROP_HD static Parts<T> steps(T P, T N, T r, T x) {
    const T way = x - r;
    const bool falls = magnitude(P) <= magnitude(N);
    return {falls ? P : way - N, falls ? way - P : N};
  }

  RELPROP_HD static bool serves(T x, T x0) {
    return (magnitude(x - x0) <= kMostDistance) & (magnitude(x0) <= kMostBaseline);
  }

  RELPROP_HD static bool serves(T P, T N, T r, T x) {
    const Parts<T> d = steps(P, N, r, x);
    const T distance = magnitude(d.positive) + magnitude(d.negative);
    return (distance <= kMostDistance) & (magnitude(r) <= kMostBaseline);
  }

  RELPROP_HD static T rescale_slope(T x, T x0) {
    const T scale = x0 > T(0) ? T(-kScale) : T(kScale);
    const T E = exp_of_ordinary(scale * x0);
    const Growth<T> d(scale * (x - x0));
    const T whole = (T(1) + E) * (T(1) + E * d.whole);
    return T(kSteepness) * E * d.over / (d.under * whole);
  }

  // The mean of two slopes for each part, over one denominator, with E = e^r, p = e^P, n = e^N:
  //
  //   y+ / P = 1/2 (p - 1) / P * [E / ((1 + E) (1 + Ep)) + En / ((1 + En) (1 + Epn))]
  //   y- / N = 1/2 (n - 1) / N * [E / ((1 + E) (1 + En)) + Ep / ((1 + Ep) (1 + Epn))]
  RELPROP_HD static Parts<T> reveal_cancel_slopes(T P, T N, T r, T x) {
    const T scale = r > T(0) ? T(-kScale) : T(kScale);
    const Parts<T> d = steps(P, N, r, x);
    const T E = exp_of_ordinary(scale * r);
    const Growth<T> p(scale * d.positive), n(scale * d.negative);
    const T Ep = E * p.whole;
    const T D_r = T(1) + E, D_P = T(1) + Ep, D_N = T(1) + E * n.whole, D_x = T(1) + Ep * n.whole;
    const T rising = D_N * D_x + n.whole * (D_r * D_P);
    const T falling = D_P * D_x + p.whole * (D_r * D_N);
    const T half = T(kSteepness) * T(0.5) * E;
    const T share = half / ((D_r * D_P) * (D_N * D_x) * (p.under * n.under));
    return {p.over * n.under * rising * share, n.over * p.under * falling * share};
  }

 private:
  RELPROP_HD static T exp_of_ordinary(T t) {
    const ScaledExponential<T> e = scaled_exponential(t);
    return e.scale + e.scale * e.expm1_r;
  }
};

template <typename T>
struct Shortcut<Sigmoid<T>> : LogisticSlopes<T, 1, 1> {};

// tanh(x) = 2 sigmoid(2 x) - 1.
template <typename T>
struct Shortcut<Tanh<T>> : LogisticSlopes<T, 2, 4> {};

}  // namespace relprop
