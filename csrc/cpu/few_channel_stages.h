// The stages of the way back through a convolution of images with few channels:
//
//   V = [s t]            the channels of a row of places, one tensor after the other
//   U = [W'; W'']        the weights, for all taps and channels side by side, taken by their sign
//   M = V U              what each place sends to the places that its filters see
//   r = sum of M         row by row of the filters, whose taps and channels lie side by side in r
//
// Everything is inlined into functions that are compiled for one instruction set.
#pragma once

#include <algorithm>
#include <cstdint>

#include "pointwise_stages.h"

namespace relprop {

template <typename T>
struct FewChannelOperands {
  PointwiseOperands<T> s;  // its images and their sizes

  // From a tap and a channel of r to a channel of s.
  const T* weight = nullptr;
  int64_t weight_channel = 0, weight_r = 0, weight_row = 0, weight_column = 0;
  int64_t rows = 0, columns = 0, row_stride = 1, column_stride = 1;

  // The place (h, w) of s meets r from (h * row_stride - top, w * column_stride - left) on.
  int64_t top = 0, left = 0;

  T* r = nullptr;  // contiguous, channels last
  int64_t channels = 0, height = 0, width = 0;

  // What a place sends, in all and to one row.
  int64_t sent() const { return rows * sent_to_row(); }
  int64_t sent_to_row() const { return columns * channels; }
};

template <typename T, int kBytes, int kRows>
struct FewChannelStages : Vectors<T, kBytes> {
  using Operands = FewChannelOperands<T>;
  using Pointwise = PointwiseStages<T, kBytes, kRows>;
  using Product = RegisterProduct<T, kBytes, kRows, 2>;
  using Vectors<T, kBytes>::kLanes;
  using Vectors<T, kBytes>::load;
  using Vectors<T, kBytes>::store;
  static constexpr int kPanel = Product::kPanel;

  static int64_t panels(const Operands& o) { return (o.sent() + kPanel - 1) / kPanel; }
  static int64_t u_size(const Operands& o) { return panels(o) * o.s.depth() * kPanel; }
  static RELPROP_HD int64_t m_row(const Operands& o) {
    return (o.sent() + kPanel - 1) / kPanel * kPanel + 64 / sizeof(T);
  }

  // U[panel][channel of s][tap and channel of r]
  static RELPROP_HD void weights(const Operands& o, T* U) {
    std::fill(U, U + panels(o) * o.s.depth() * kPanel, T(0));
    for (int64_t k = 0; k < o.s.depth(); ++k) {
      const PointwiseImages<T>& s = o.s.images[k / o.s.channels];
      const T* weight = o.weight + k % o.s.channels * o.weight_channel;
      for (int64_t i = 0; i < o.sent(); ++i) {
        const int64_t tap = i / o.channels, row = tap / o.columns, column = tap % o.columns;
        const T w =
            weight[i % o.channels * o.weight_r + row * o.weight_row + column * o.weight_column];
        U[(i / kPanel * o.s.depth() + k) * kPanel + i % kPanel] =
            w * (w < 0 ? s.negative : s.positive);
      }
    }
  }

  // Rows [begin, end) of an example of r; `scratch` holds V and M of a row of s.
  static RELPROP_HD void band(const Operands& o, int64_t example, int64_t begin, int64_t end,
                              const T* U, T* scratch) {
    T* r = o.r + example * o.height * o.width * o.channels;
    std::fill(r + begin * o.width * o.channels, r + end * o.width * o.channels, T(0));
    const int64_t low = std::max<int64_t>(0, begin + o.top - o.rows + 1);
    const int64_t first = (low + o.row_stride - 1) / o.row_stride;
    const int64_t last = std::min(o.s.height, (end + o.top - 1) / o.row_stride + 1);
    for (int64_t h = first; h < last; ++h) {
      send(o, example * o.s.height + h, U, scratch);
      const T* M = scratch + o.s.width * Pointwise::v_row(o.s);
      for (int64_t row = 0; row < o.rows; ++row) {
        const int64_t to = h * o.row_stride - o.top + row;
        if (to < begin || to >= end) continue;
        gather(o, M + row * o.sent_to_row(), r + to * o.width * o.channels);
      }
    }
  }

  static RELPROP_HD void send(const Operands& o, int64_t row, const T* U, T* scratch) {
    T *V = scratch, *M = scratch + o.s.width * Pointwise::v_row(o.s);
    Pointwise::places(o.s, row * o.s.width, o.s.width, V);
    for (int64_t sent = 0; sent < o.sent(); sent += kPanel) {
      Product::multiply_all({V, Pointwise::v_row(o.s), U + sent * o.s.depth(), o.s.depth(), nullptr,
                             M + sent, m_row(o), kPanel},
                            o.s.width);
    }
  }

  // What a row of s sends to a row of r; taps outside of r are left out.
  static RELPROP_HD void gather(const Operands& o, const T* M, T* r) {
    for (int64_t w = 0; w < o.s.width; ++w) {
      const int64_t start = w * o.column_stride - o.left;
      const int64_t first = std::max<int64_t>(0, -start);
      const int64_t last = std::min(o.columns, o.width - start);
      const T* from = M + w * m_row(o);
      T* to = r + start * o.channels;
      int64_t i = first * o.channels;
      for (; i + kLanes <= last * o.channels; i += kLanes)
        store(to + i, load(to + i) + load(from + i));
      for (; i < last * o.channels; ++i) to[i] += from[i];
    }
  }

  static int64_t scratch_size(const Operands& o) {
    return o.s.width * (Pointwise::v_row(o.s) + m_row(o));
  }
};

}  // namespace relprop
