// The arithmetic of the signed dense layer, once, for CPU and CUDA alike;
// relprop/ops/reference_dense.py specifies it.
#pragma once

#include "host_device.h"

namespace relprop {

// What one input adds to P = d+ W+ + d- W- and to N = d+ W- + d- W+: d w, by its sign.
template <typename T>
RELPROP_HD void add_signed(T d, T w, T& P, T& N) {
  const T product = d * w;
  P += product > T(0) ? product : T(0);
  N += product < T(0) ? product : T(0);
}

// What one output, with the multipliers m+ and m- and their mean, adds to the multiplier of an
// input: w times that of the part into which d w falls.
template <typename T>
RELPROP_HD T signed_share(T d, T w, T positive, T negative, T mean) {
  const T moved = (w > T(0)) == (d > T(0)) ? positive : negative;
  return w * (d == T(0) ? mean : moved);
}

}  // namespace relprop
