// Which element of a pool's tensors a thread has. Arguments say how many channels there are, and
// whether they lie side by side (channels_last).
#pragma once

#include "../windows.h"
#include "packs.cuh"

namespace relprop::cuda {

// Number i of batch * channels * places.
struct Element {
  int64_t n, c, place;
};

template <typename Arguments>
__device__ Element element_of(const Arguments& a, int64_t i, int64_t places) {
  const Division example = divide(i, a.channels * places);
  const Division inside = divide(example.remainder, a.channels_last ? a.channels : places);
  if (a.channels_last) return {example.quotient, inside.remainder, inside.quotient};
  return {example.quotient, inside.quotient, inside.remainder};
}

template <typename Arguments>
__device__ int64_t number_of(const Arguments& a, const Element& e, int64_t places) {
  const int64_t inside = a.channels_last ? e.place * a.channels + e.c : e.c * places + e.place;
  return e.n * a.channels * places + inside;
}

struct Place3d {
  int64_t d, h, w;
};

__device__ inline Place3d place_3d(int64_t place, int64_t height, int64_t width) {
  const Division row = divide(place, width);
  const Division plane = divide(row.quotient, height);
  return {plane.quotient, plane.remainder, row.remainder};
}

__device__ inline int64_t start_of(const Pool& pool, const Place3d& o) {
  const Windows* w = pool.along;
  return (w[0].start(o.d) * w[1].length + w[1].start(o.h)) * w[2].length + w[2].start(o.w);
}

// The number of the tap by which window o reaches input i along one dimension; -1 if it does not.
__device__ inline int64_t tap_along(const Windows& w, int64_t o, int64_t i) {
  const int64_t distance = i - w.start(o), k = distance / w.dilation;
  return distance % w.dilation == 0 && k >= w.low(o) && k < w.high(o) ? k : -1;
}

}  // namespace relprop::cuda
