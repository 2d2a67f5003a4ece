// The windows of a pool along one dimension, fixed or adaptive, described alike.
//
// Window o reads the inputs start(o) + k * dilation, low(o) <= k < high(o); the other k < kernel
// are padding, or past the end. An input of a plane is named by its place: its number in scan
// order.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace relprop {

struct Windows {
  int64_t length = 1;  // of the input
  int64_t count = 1;   // of the output
  int64_t kernel = 1;  // the longest window, if adaptive
  int64_t stride = 1;
  int64_t padding = 0;
  int64_t dilation = 1;
  bool adaptive = false;

  static Windows fixed(int64_t length, int64_t count, int64_t kernel, int64_t stride,
                       int64_t padding, int64_t dilation) {
    return {length, count, kernel, stride, padding, dilation, false};
  }

  // torch's adaptive windows: floor(o * length / count) to ceil((o + 1) * length / count). Where
  // the count divides the length, they are fixed windows side by side.
  static Windows to_count(int64_t length, int64_t count) {
    if (count > 0 && length % count == 0)
      return fixed(length, count, length / count, length / count, 0, 1);
    const int64_t longest = length / count + 2 < length ? length / count + 2 : length;
    return {length, count, longest, 1, 0, 1, true};
  }

  RELPROP_HD int64_t start(int64_t o) const {
    return adaptive ? o * length / count : o * stride - padding;
  }

  RELPROP_HD int64_t low(int64_t o) const {
    const int64_t before = -start(o);
    return before <= 0 ? 0 : (before + dilation - 1) / dilation;
  }

  RELPROP_HD int64_t high(int64_t o) const {
    if (adaptive) return ((o + 1) * length + count - 1) / count - start(o);
    const int64_t inside = length - start(o);
    const int64_t fits = inside <= 0 ? 0 : (inside + dilation - 1) / dilation;
    return fits < kernel ? fits : kernel;
  }

  // The windows that reach input i lie between these two, both included.
  RELPROP_HD int64_t first_with(int64_t i) const {
    if (adaptive) return i * count / length;
    const int64_t late = i + padding - (kernel - 1) * dilation;
    return late <= 0 ? 0 : (late + stride - 1) / stride;
  }

  RELPROP_HD int64_t last_with(int64_t i) const {
    const int64_t last =
        adaptive ? ((i + 1) * count + length - 1) / length - 1 : (i + padding) / stride;
    return last < count ? last : count - 1;
  }
};

// Depth, height, width; a pool of fewer dimensions has length 1 in the leading ones.
struct Pool {
  static constexpr int kDims = 3;
  Windows along[kDims];

  RELPROP_HD int64_t inputs() const { return along[0].length * along[1].length * along[2].length; }
  RELPROP_HD int64_t outputs() const { return along[0].count * along[1].count * along[2].count; }
  RELPROP_HD int64_t taps() const { return along[0].kernel * along[1].kernel * along[2].kernel; }
};

}  // namespace relprop
