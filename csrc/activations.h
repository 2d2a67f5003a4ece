// The elementwise functions that every operator knows; the C++ twin of relprop/ops/activations.py.
//
// To add one, add a struct to the folder activations (its function.h says what it is made of), and
// a row to the table below.
#pragma once

#include "activations/elementary.h"
#include "activations/function.h"
#include "activations/gated.h"
#include "activations/piecewise.h"
#include "activations/sigmoidal.h"

namespace relprop {

// code (see relprop/ops/activations.py), struct
#define RELPROP_FOR_EACH_ACTIVATION(DO) \
  DO(0, Identity)                       \
  DO(1, Relu)                           \
  DO(2, Hardtanh)                       \
  DO(3, Sigmoid)                        \
  DO(4, Tanh)                           \
  DO(5, Threshold)                      \
  DO(6, LeakyRelu)                      \
  DO(7, Elu)                            \
  DO(8, Gelu)                           \
  DO(9, GeluTanh)                       \
  DO(10, Silu)                          \
  DO(11, Mish)                          \
  DO(12, Hardswish)                     \
  DO(13, Hardsigmoid)                   \
  DO(14, Logsigmoid)                    \
  DO(15, Softplus)                      \
  DO(16, Softsign)                      \
  DO(17, Exp)                           \
  DO(18, Log)                           \
  DO(19, Sqrt)                          \
  DO(20, Square)                        \
  DO(21, Pow)                           \
  DO(22, Abs)

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
