// Functions made of lines, and of a parabola between two lines.
#pragma once

#include "function.h"

namespace relprop {

template <typename T>
struct Identity : Piecewise<T> {
  RELPROP_HD explicit Identity(const Parameters&) {}
  RELPROP_HD T f(T x) const { return x; }
  RELPROP_HD T derivative(T) const { return T(1); }
};

template <typename T>
struct Relu : Piecewise<T> {
  RELPROP_HD explicit Relu(const Parameters&) {}
  RELPROP_HD T f(T x) const { return x < T(0) ? T(0) : x; }
  RELPROP_HD T derivative(T x) const { return x > T(0) ? T(1) : T(0); }
};

template <typename T>
struct Hardtanh : Piecewise<T> {
  T min, max;
  RELPROP_HD explicit Hardtanh(const Parameters& p) : min(T(p.value[0])), max(T(p.value[1])) {}
  RELPROP_HD T f(T x) const {
    const T above = x < min ? min : x;
    return above > max ? max : above;
  }
  RELPROP_HD T derivative(T x) const { return x > min && x < max ? T(1) : T(0); }
};

template <typename T>
struct Threshold : Piecewise<T> {
  T threshold, value;
  RELPROP_HD explicit Threshold(const Parameters& p)
      : threshold(T(p.value[0])), value(T(p.value[1])) {}
  RELPROP_HD T f(T x) const { return x <= threshold ? value : x; }
  RELPROP_HD T derivative(T x) const { return x > threshold ? T(1) : T(0); }
};

template <typename T>
struct Abs : Piecewise<T> {
  RELPROP_HD explicit Abs(const Parameters&) {}
  RELPROP_HD T f(T x) const { return magnitude(x); }
  RELPROP_HD T derivative(T x) const {
    const T negative = x < T(0) ? T(-1) : T(0);
    return x > T(0) ? T(1) : negative;
  }
};

template <typename T>
struct LeakyRelu : Everywhere<T> {
  static constexpr bool kSmooth = true;
  T slope;
  RELPROP_HD explicit LeakyRelu(const Parameters& p) : slope(T(p.value[0])) {}
  RELPROP_HD T f(T x) const { return x > T(0) ? x : x * slope; }
  RELPROP_HD T derivative(T x) const { return x > T(0) ? T(1) : slope; }
  RELPROP_HD T reach(T a, T b) const { return on_one_side(a, b, T(0), kAnywhere<T>); }
};

// The pieces end at -3 and 3.
template <typename T>
RELPROP_HD T in_one_piece(T a, T b) {
  const T low = on_one_side(a, b, T(-3), kAnywhere<T>);
  const T high = on_one_side(a, b, T(3), kAnywhere<T>);
  return low < high ? low : high;
}

template <typename T>
struct Hardsigmoid : Everywhere<T> {
  static constexpr bool kSmooth = true;
  RELPROP_HD explicit Hardsigmoid(const Parameters&) {}
  RELPROP_HD T f(T x) const {
    const T above = x < T(-3) ? T(0) : x + T(3);
    return (above > T(6) ? T(6) : above) / T(6);
  }
  RELPROP_HD T derivative(T x) const { return x > T(-3) && x < T(3) ? T(1) / T(6) : T(0); }
  RELPROP_HD T reach(T a, T b) const { return in_one_piece(a, b); }
};

template <typename T>
struct Hardswish : Everywhere<T> {
  static constexpr bool kSmooth = true;
  RELPROP_HD explicit Hardswish(const Parameters&) {}
  RELPROP_HD T f(T x) const {
    const T above = x < T(-3) ? T(0) : x + T(3);
    return x * ((above > T(6) ? T(6) : above) / T(6));
  }
  RELPROP_HD T derivative(T x) const {
    const T middle = x < T(3) ? x / T(3) + T(0.5) : T(1);
    return x <= T(-3) ? T(0) : middle;
  }
  RELPROP_HD T reach(T a, T b) const { return in_one_piece(a, b); }
};

}  // namespace relprop
