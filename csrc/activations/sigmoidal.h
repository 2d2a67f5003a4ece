// Functions that flatten out: on both sides, or on the negative one.
#pragma once

#include "function.h"

namespace relprop {

template <typename T>
struct Sigmoid : Smooth<T> {
  RELPROP_HD explicit Sigmoid(const Parameters&) {}
  RELPROP_HD static T of(T x) {
    const T e = exp_of_negative(-magnitude(x));
    return (x < T(0) ? e : T(1)) / (T(1) + e);
  }
  RELPROP_HD T f(T x) const { return of(x); }
  RELPROP_HD T derivative(T x) const {
    const T y = f(x);
    return y * (T(1) - y);
  }
};

template <typename T>
struct Tanh : Smooth<T> {
  RELPROP_HD explicit Tanh(const Parameters&) {}
  RELPROP_HD T f(T x) const {
    const T e = expm1_of_negative(T(-2) * magnitude(x));
    const T y = e / (T(2) + e);
    return x < T(0) ? y : -y;
  }
  RELPROP_HD T derivative(T x) const {
    const T y = f(x);
    return T(1) - y * y;
  }
};

// Its curvature jumps at 0.
template <typename T>
struct Softsign : Everywhere<T> {
  static constexpr bool kSmooth = true;
  RELPROP_HD explicit Softsign(const Parameters&) {}
  RELPROP_HD T f(T x) const { return x / (T(1) + magnitude(x)); }
  RELPROP_HD T derivative(T x) const {
    const T share = T(1) / (T(1) + magnitude(x));
    return share * share;
  }
  RELPROP_HD T reach(T a, T b) const { return on_one_side(a, b, T(0), T(1)); }
};

template <typename T>
struct Logsigmoid : Smooth<T> {
  RELPROP_HD explicit Logsigmoid(const Parameters&) {}
  RELPROP_HD T f(T x) const {
    const T drop = log1p_of_fraction(exp_of_negative(-magnitude(x)));
    return (x < T(0) ? x : T(0)) - drop;
  }
  RELPROP_HD T derivative(T x) const { return Sigmoid<T>::of(-x); }
};

// torch goes over to the line above the threshold, which leaves a small step there.
template <typename T>
struct Softplus : Everywhere<T> {
  static constexpr bool kSmooth = true;
  T beta, threshold;
  RELPROP_HD explicit Softplus(const Parameters& p)
      : beta(T(p.value[0])), threshold(T(p.value[1])) {}
  RELPROP_HD T f(T x) const {
    const T t = x * beta;
    const T rise = log1p_of_fraction(exp_of_negative(-magnitude(t)));
    const T y = ((t > T(0) ? t : T(0)) + rise) / beta;
    return t > threshold ? x : y;
  }
  RELPROP_HD T derivative(T x) const {
    const T y = Sigmoid<T>::of(x * beta);
    return x * beta > threshold ? T(1) : y;
  }
  RELPROP_HD T reach(T a, T b) const {
    return on_one_side(a * beta, b * beta, threshold, T(1) / magnitude(beta));
  }
};

// alpha * scale * expm1(input_scale * x) where x <= 0, for a positive input_scale: elu, selu, celu.
// Its slope jumps at 0, or its curvature.
template <typename T>
struct Elu : Everywhere<T> {
  static constexpr bool kSmooth = true;
  T negative, positive, input;
  RELPROP_HD explicit Elu(const Parameters& p)
      : negative(T(p.value[0] * p.value[1])), positive(T(p.value[1])), input(T(p.value[2])) {}
  RELPROP_HD T f(T x) const {
    const T y = negative * expm1_of_negative(input * (x > T(0) ? T(0) : x));
    return x > T(0) ? positive * x : y;
  }
  RELPROP_HD T derivative(T x) const {
    const T y = negative * input * exp_of_negative(input * (x > T(0) ? T(0) : x));
    return x > T(0) ? positive : y;
  }
  RELPROP_HD T reach(T a, T b) const { return on_one_side(a, b, T(0), T(1) / input); }
};

}  // namespace relprop
