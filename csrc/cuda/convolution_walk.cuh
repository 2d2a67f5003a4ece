// Which places of its input a convolution, or its transpose, reads for which places of its result.
#pragma once

#include <cstdint>

#include "../host_device.h"

namespace relprop::cuda {

// Along rows or columns: lengths, and the geometry of the convolution, or of the one whose
// transpose is asked for.
struct Axis {
  int input, result;
  int taps, stride, padding;
};

// Results of one phase: number j of `count`, at first + j * step, meets the input at
// origin + j * pace + i * turn by tap tap + i * tap_step, for all i < taps.
struct Walk {
  int first, step, count;
  int origin, pace, turn;
  int tap, tap_step, taps;
};

// A convolution has one phase. Of its transpose, the results that lie a whole number of strides
// apart meet the same taps; so there are as many phases as the stride, and no tap meets nothing.
RELPROP_HD Walk walk_of(const Axis& a, bool transposed, int phase) {
  if (!transposed) return {0, 1, a.result, -a.padding, a.stride, 1, 0, 1, a.taps};
  const int tap = (phase + a.padding) % a.stride;
  const int taps = tap < a.taps ? (a.taps - tap + a.stride - 1) / a.stride : 0;
  const int count = (a.result - phase + a.stride - 1) / a.stride;
  const int origin = (phase + a.padding - tap) / a.stride;
  return {phase, a.stride, count, origin, 1, -1, tap, a.stride, taps};
}

RELPROP_HD int phases_of(const Axis& a, bool transposed) { return transposed ? a.stride : 1; }

// The most results that a phase has.
RELPROP_HD int longest_phase(const Axis& a, bool transposed) {
  return transposed ? (a.result + a.stride - 1) / a.stride : a.result;
}

}  // namespace relprop::cuda
