// How the pools' kernels walk a plane: line by line, where a line is a set of windows that are
// handled side by side, one lane each. In channels-last tensors the lanes are the channels of one
// window place; in contiguous ones they are the windows of one output row.
#pragma once

#include <algorithm>
#include <vector>

#include "../windows.h"

namespace relprop {

// The values of one tensor in a plane, or in a group of planes, one in each lane.
template <typename T>
struct View {
  T* data = nullptr;
  int64_t step = 1;       // from place to place
  int64_t lane_step = 0;  // from lane to lane

  T& at(int64_t place, int64_t lane) const { return data[place * step + lane * lane_step]; }
};

// The first window of a line, and how the others follow it.
struct Line {
  int64_t od, oh, ow;
  int64_t lanes;
  int64_t window_step;  // from lane to lane, in windows of the row: 0 if the lanes are channels
};

// The place at which a window starts; in the padding, it may lie before the plane.
inline int64_t start_of(const Pool& pool, const Line& line) {
  const Windows* w = pool.along;
  const int64_t row = w[0].start(line.od) * w[1].length + w[1].start(line.oh);
  return row * w[2].length + w[2].start(line.ow);
}

// Calls body(place, place relative to the window's start) at the first column of each row of the
// input that the line reads; rows in the padding are left out.
template <typename Body>
void for_each_row(const Pool& pool, const Line& line, const Body& body) {
  const Windows &depth = pool.along[0], &height = pool.along[1];
  const int64_t width = pool.along[2].length;
  const int64_t start = start_of(pool, line);
  for (int64_t kd = depth.low(line.od); kd < depth.high(line.od); ++kd) {
    for (int64_t kh = height.low(line.oh); kh < height.high(line.oh); ++kh) {
      const int64_t d = kd * depth.dilation, h = kh * height.dilation;
      const int64_t place = (d * height.length + h) * width;
      body(start + place, place);
    }
  }
}

// A tap of a line's windows: its place in the first, and the lanes in which it is no padding.
struct Tap {
  int64_t place, first, count;
};

// The taps of `lanes` windows of an output row, evenly spaced.
inline void taps_of_row(const Pool& pool, const Line& line, std::vector<Tap>& taps) {
  const Windows& w = pool.along[2];
  const auto windows_before = [&](int64_t distance) {
    return distance <= 0 ? 0 : std::min(line.lanes, (distance + w.stride - 1) / w.stride);
  };
  for_each_row(pool, line, [&](int64_t place, int64_t) {
    for (int64_t kw = 0; kw < w.kernel; ++kw) {
      const int64_t shift = kw * w.dilation, column = w.start(line.ow) + shift;
      const int64_t first = windows_before(-column), end = windows_before(w.length - column);
      if (first < end) taps.push_back({place + shift, first, end - first});
    }
  });
}

// The taps of one window place in all channels.
inline void taps_of_channels(const Pool& pool, const Line& line, std::vector<Tap>& taps) {
  const Windows& w = pool.along[2];
  for_each_row(pool, line, [&](int64_t place, int64_t) {
    for (int64_t kw = w.low(line.ow); kw < w.high(line.ow); ++kw) {
      taps.push_back({place + kw * w.dilation, 0, line.lanes});
    }
  });
}

}  // namespace relprop
