// Where the elements of a pool's tensors lie.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace relprop {

// Element (n, c, place) of a tensor is at n * batch + c * channel + place * step.
struct Planes {
  int64_t batch = 0, channel = 0, step = 1;

  RELPROP_HD int64_t offset(int64_t n, int64_t c) const { return n * batch + c * channel; }
};

}  // namespace relprop
