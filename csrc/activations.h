// The elementwise functions that every operator knows; the C++ twin of relprop/ops/activations.py.
//
// A function is a template over the type it computes in, constructed from its parameters, with f,
// its derivative (torch's own choice where f has a kink), and whether the derivative is continuous.
// To add one, add a struct, and a row to the table at the end.
#pragma once

#include <cstdint>

#include "exponential.h"
#include "host_device.h"

namespace relprop {

struct Parameters {
  static constexpr int kMost = 4;
  double value[kMost] = {};
};

template <typename T>
struct Identity {
  static constexpr bool kSmooth = false;
  RELPROP_HD explicit Identity(const Parameters&) {}
  RELPROP_HD T f(T x) const { return x; }
  RELPROP_HD T derivative(T) const { return T(1); }
};

template <typename T>
struct Relu {
  static constexpr bool kSmooth = false;
  RELPROP_HD explicit Relu(const Parameters&) {}
  RELPROP_HD T f(T x) const { return x < T(0) ? T(0) : x; }
  RELPROP_HD T derivative(T x) const { return x > T(0) ? T(1) : T(0); }
};

template <typename T>
struct Hardtanh {
  static constexpr bool kSmooth = false;
  T min, max;
  RELPROP_HD explicit Hardtanh(const Parameters& p) : min(T(p.value[0])), max(T(p.value[1])) {}
  RELPROP_HD T f(T x) const {
    const T above = x < min ? min : x;
    return above > max ? max : above;
  }
  RELPROP_HD T derivative(T x) const { return x > min && x < max ? T(1) : T(0); }
};

template <typename T>
struct Sigmoid {
  static constexpr bool kSmooth = true;
  RELPROP_HD explicit Sigmoid(const Parameters&) {}
  RELPROP_HD T f(T x) const {
    const T e = exp_of_negative(x < T(0) ? x : -x);
    return (x < T(0) ? e : T(1)) / (T(1) + e);
  }
  RELPROP_HD T derivative(T x) const {
    const T y = f(x);
    return y * (T(1) - y);
  }
};

template <typename T>
struct Tanh {
  static constexpr bool kSmooth = true;
  RELPROP_HD explicit Tanh(const Parameters&) {}
  RELPROP_HD T f(T x) const {
    const T e = expm1_of_negative(T(2) * (x < T(0) ? x : -x));
    const T y = e / (T(2) + e);
    return x < T(0) ? y : -y;
  }
  RELPROP_HD T derivative(T x) const {
    const T y = f(x);
    return T(1) - y * y;
  }
};

// code (see relprop/ops/activations.py), struct
#define RELPROP_FOR_EACH_ACTIVATION(DO) \
  DO(0, Identity)                       \
  DO(1, Relu)                           \
  DO(2, Hardtanh)                       \
  DO(3, Sigmoid)                        \
  DO(4, Tanh)

// Calls body with the function of that code; false if there is none.
template <typename T, typename Body>
bool with_activation(int64_t code, const Parameters& parameters, const Body& body) {
  switch (code) {
#define RELPROP_CASE(number, Name) \
  case number:                     \
    body(Name<T>(parameters));     \
    return true;
    RELPROP_FOR_EACH_ACTIVATION(RELPROP_CASE)
#undef RELPROP_CASE
    default:
      return false;
  }
}

}  // namespace relprop
