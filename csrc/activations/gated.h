// x times a gate between 0 and 1.
#pragma once

#include "../error_function.h"
#include "function.h"
#include "sigmoidal.h"

namespace relprop {

template <typename T>
struct Silu : Smooth<T> {
  RELPROP_HD explicit Silu(const Parameters&) {}
  RELPROP_HD T f(T x) const { return x * Sigmoid<T>::of(x); }
  RELPROP_HD T derivative(T x) const {
    const T gate = Sigmoid<T>::of(x);
    return gate + x * gate * (T(1) - gate);
  }
};

// The gate is x's share of the standard normal distribution.
template <typename T>
struct Gelu : Smooth<T> {
  RELPROP_HD explicit Gelu(const Parameters&) {}
  RELPROP_HD T f(T x) const { return x * normal(x).below; }
  RELPROP_HD T derivative(T x) const {
    constexpr T kDensityAt0 = T(0.39894228040143267794);
    const Normal<T> n = normal(x);
    return n.below + x * kDensityAt0 * n.bell;
  }
};

// (1 + tanh(u)) / 2 = sigmoid(2 u), with u = sqrt(2 / pi) * (x + 0.044715 x^3).
template <typename T>
struct GeluTanh : Smooth<T> {
  static constexpr T kTwiceScale = T(1.59576912160573071176);
  static constexpr T kCubic = T(0.044715);
  // At this distance from 0 the gate is 0 or 1, and the cube does not overflow.
  static constexpr T kShut = T(32);

  RELPROP_HD explicit GeluTanh(const Parameters&) {}
  RELPROP_HD static T within(T x) {
    const T above = x < -kShut ? -kShut : x;
    return above > kShut ? kShut : above;
  }
  RELPROP_HD static T gate(T x) { return Sigmoid<T>::of(kTwiceScale * (x + kCubic * (x * x * x))); }
  RELPROP_HD T f(T x) const { return x * gate(within(x)); }
  RELPROP_HD T derivative(T x) const {
    const T c = within(x);
    const T g = gate(c);
    return g + c * g * (T(1) - g) * kTwiceScale * (T(1) + T(3) * kCubic * (c * c));
  }
};

// The gate tanh(log(1 + e^x)) is (1 + 2 n) / (1 + 2 n + 2 n^2) with n = e^-x; for negative x both
// are taken times e^2x, so that nothing overflows.
template <typename T>
struct Mish : Smooth<T> {
  RELPROP_HD explicit Mish(const Parameters&) {}
  struct Gate {
    T open, shut, sigmoid;
  };
  RELPROP_HD static Gate gate(T x) {
    const T e = exp_of_negative(-magnitude(x));
    const T open = x < T(0) ? e * (e + T(2)) : T(1) + T(2) * e;
    const T shut = x < T(0) ? T(2) : T(2) * e * e;
    const T whole = open + shut;
    return {open / whole, shut / whole, (x < T(0) ? e : T(1)) / (T(1) + e)};
  }
  RELPROP_HD T f(T x) const { return x * gate(x).open; }
  RELPROP_HD T derivative(T x) const {
    const Gate g = gate(x);
    return g.open + x * g.sigmoid * g.shut * (T(1) + g.open);
  }
};

}  // namespace relprop
