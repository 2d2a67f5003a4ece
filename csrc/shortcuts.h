// Slopes of functions that can be had without the functions' values, for numbers of ordinary size.
//
// A shortcut takes fewer exponentials and divisions than the way of rules.h, which goes by the
// values at both ends, and a derivative in case the ends are close; and it takes no difference of
// values that are almost the same. Whether it serves is said for each element by itself, so what
// an element gets does not depend on its neighbours.
#pragma once

#include <limits>

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

// Half the distance from 1 to the next number. As a constant of its own: CUDA calls no function of
// the host's library.
template <typename T>
constexpr T kHalfUnit = std::numeric_limits<T>::epsilon() / T(2);

// (e^t - 1) / t as a fraction, and e^t. It is 1 + t / 2 close to 0: a t at which that is 1 but for
// rounding stands for all that are smaller, so the fraction has its limit at 0, and no tiny parts.
template <typename T>
struct Growth {
  T over, under, whole;

  RELPROP_HD explicit Growth(T t) {
    under = magnitude(t) < kHalfUnit<T> ? kHalfUnit<T> : t;
    const ScaledExponential<T> e = scaled_exponential(under);
    const T part = e.scale * e.expm1_r;
    whole = e.scale + part;
    over = part + (e.scale - T(1));
  }
};

template <typename T>
RELPROP_HD T exp_of_ordinary(T t) {
  const ScaledExponential<T> e = scaled_exponential(t);
  return e.scale + e.scale * e.expm1_r;
}

// What is of ordinary size to a sigmoid of kScale times its argument. Within kMostDistance no
// product below overflows, and to reckon the end from the start by the step between, which is off
// by its last digit, is as good as to round the end; within kMostBaseline its exponential is far
// from the smallest numbers.
template <typename T, int kScale>
struct Ordinary {
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

  RELPROP_HD static T scaled(T t, bool turned) { return T(kScale) * (turned ? -t : t); }
};

// The step from x0 to x, with E = e^x0, d = e^(x - x0) and D = 1 + E at x0, 1 + Ed at x.
template <typename T>
struct TwoPoints {
  T E;
  Growth<T> d;
  T D_x0, D_x;

  RELPROP_HD TwoPoints(T x0, T step)
      : E(exp_of_ordinary(x0)), d(step), D_x0(T(1) + E), D_x(T(1) + E * d.whole) {}
  RELPROP_HD T denominator() const { return d.under * (D_x0 * D_x); }
};

// The steps of RevealCancel, with E = e^r, p = e^P, n = e^N and D = 1 + E at r, 1 + Ep at r + P,
// 1 + En at r + N, 1 + Epn at r + P + N.
template <typename T>
struct FourPoints {
  T E;
  Growth<T> p, n;
  T D_r, D_P, D_N, D_x;

  RELPROP_HD FourPoints(T r, T P, T N) : E(exp_of_ordinary(r)), p(P), n(N) {
    const T Ep = E * p.whole;
    D_r = T(1) + E;
    D_P = T(1) + Ep;
    D_N = T(1) + E * n.whole;
    D_x = T(1) + Ep * n.whole;
  }
  RELPROP_HD T denominator() const { return (D_r * D_P) * (D_N * D_x) * (p.under * n.under); }
};

// Functions with slopes kSteepness times those of the sigmoid s between kScale times their
// arguments. Between a and b = a + t,
//
//   (s(b) - s(a)) / t = (e^t - 1) / t * e^a / ((1 + e^a) (1 + e^b)).
//
// It is the same slope between -a and -b: of the two, the one with e^a <= 1 is taken.
template <typename T, int kScale, int kSteepness>
struct LogisticSlopes : Ordinary<T, kScale> {
  using Ordinary<T, kScale>::scaled;

  RELPROP_HD static T rescale_slope(T x, T x0) {
    const bool turned = x0 > T(0);
    const TwoPoints<T> at(scaled(x0, turned), scaled(x - x0, turned));
    return T(kSteepness) * at.E * at.d.over / at.denominator();
  }

  // The mean of two slopes for each part, over one denominator:
  //
  //   y+ / P = 1/2 (p - 1) / P * [E / ((1 + E) (1 + Ep)) + En / ((1 + En) (1 + Epn))]
  //   y- / N = 1/2 (n - 1) / N * [E / ((1 + E) (1 + En)) + Ep / ((1 + Ep) (1 + Epn))]
  RELPROP_HD static Parts<T> reveal_cancel_slopes(T P, T N, T r, T x) {
    const bool turned = r > T(0);
    const Parts<T> d = Ordinary<T, kScale>::steps(P, N, r, x);
    const FourPoints<T> at(scaled(r, turned), scaled(d.positive, turned),
                           scaled(d.negative, turned));
    const Growth<T>&p = at.p, &n = at.n;
    const T rising = at.D_N * at.D_x + n.whole * (at.D_r * at.D_P);
    const T falling = at.D_P * at.D_x + p.whole * (at.D_r * at.D_N);
    const T share = T(kSteepness * 0.5) * at.E / at.denominator();
    return {p.over * n.under * rising * share, n.over * p.under * falling * share};
  }
};

template <typename T>
struct Shortcut<Sigmoid<T>> : LogisticSlopes<T, 1, 1> {};

// tanh(x) = 2 sigmoid(2 x) - 1.
template <typename T>
struct Shortcut<Tanh<T>> : LogisticSlopes<T, 2, 4> {};

// x s(x) between a and b = a + t, by the slope of the sigmoid s:
//
//   (b s(b) - a s(a)) / t = 1/2 (s(a) + s(b)) + 1/2 (a + b) (s(b) - s(a)) / t.
//
// Between -a and -b, the slope is 1 less this one.
template <typename T>
struct Shortcut<Silu<T>> : Ordinary<T, 1> {
  using Ordinary<T, 1>::scaled;

  RELPROP_HD static T turned_back(T slope, bool turned) { return turned ? T(1) - slope : slope; }

  RELPROP_HD static T rescale_slope(T x, T x0) {
    const bool turned = x0 > T(0);
    const T a = scaled(x0, turned);
    const TwoPoints<T> at(a, scaled(x - x0, turned));
    const Growth<T>& d = at.d;
    const T gates = (at.D_x + d.whole * at.D_x0) * d.under;
    const T rise = (T(2) * a + d.under) * d.over;
    return turned_back(T(0.5) * at.E * (gates + rise) / at.denominator(), turned);
  }

  RELPROP_HD static Parts<T> reveal_cancel_slopes(T P, T N, T r, T x) {
    const bool turned = r > T(0);
    const Parts<T> d = Ordinary<T, 1>::steps(P, N, r, x);
    const T a = scaled(r, turned);
    const FourPoints<T> at(a, scaled(d.positive, turned), scaled(d.negative, turned));
    const Growth<T>&p = at.p, &n = at.n;
    const T rP = T(2) * a + p.under, rN = T(2) * a + n.under;
    const T without_n = at.D_r * at.D_P, with_n = at.D_N * at.D_x;
    const T gates =
        ((at.D_P + p.whole * at.D_r) * with_n + n.whole * (at.D_x + p.whole * at.D_N) * without_n) *
        (p.under * n.under);
    const T rising = rP * with_n + (rP + T(2) * n.under) * (n.whole * without_n);
    const T falling =
        rN * (at.D_P * at.D_x) + (rN + T(2) * p.under) * (p.whole * (at.D_r * at.D_N));
    const T share = T(0.25) * at.E / at.denominator();
    return {turned_back((gates + p.over * n.under * rising) * share, turned),
            turned_back((gates + n.over * p.under * falling) * share, turned)};
  }
};

}  // namespace relprop
