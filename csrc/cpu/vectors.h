// Vectors of kBytes, and products of matrices whose sums stay in registers.
//
// Everything is inlined into functions that are compiled for one instruction set.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "../host_device.h"

// How vectors are passed does not matter to functions that are inlined.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace relprop {

template <typename T, int kBytes>
struct Vectors {
  static constexpr int kLanes = kBytes / sizeof(T);
  typedef T Lanes __attribute__((vector_size(kBytes), aligned(alignof(T)), may_alias));
  typedef std::conditional_t<sizeof(T) == 4, int32_t, int64_t> Place;
  typedef Place Places __attribute__((vector_size(kBytes)));

  static RELPROP_HD Lanes load(const T* from, int64_t count = kLanes) {
    if (count >= kLanes) return *reinterpret_cast<const Lanes*>(from);
    Lanes lanes{};
    for (int64_t lane = 0; lane < count; ++lane) lanes[lane] = from[lane];
    return lanes;
  }

  static RELPROP_HD void store(T* to, Lanes lanes, int64_t count = kLanes) {
    if (count >= kLanes) {
      *reinterpret_cast<Lanes*>(to) = lanes;
      return;
    }
    for (int64_t lane = 0; lane < count; ++lane) to[lane] = lanes[lane];
  }

  // Each weight times one factor or another, by its sign. The sign bits are spread over masks, as
  // the compiler takes a choice between vectors apart, lane by lane.
  static RELPROP_HD Lanes by_sign(Lanes w, T positive, T negative) {
    const Places below = reinterpret_cast<Places>(w) >> (8 * int(sizeof(T)) - 1);
    const Places p = reinterpret_cast<Places>(Lanes{} + positive);
    const Places n = reinterpret_cast<Places>(Lanes{} + negative);
    return w * reinterpret_cast<Lanes>((n & below) | (p & ~below));
  }

  // Turns kLanes vectors of kLanes values around their diagonal, by riffling the first half of them
  // into the second, as often as kLanes can be halved.
  static RELPROP_HD void transpose(Lanes (&x)[kLanes]) {
    Places low, high;
    for (int lane = 0; lane < kLanes; ++lane) {
      low[lane] = lane / 2 + lane % 2 * kLanes;
      high[lane] = low[lane] + kLanes / 2;
    }
    for (int step = 1; step < kLanes; step *= 2) {
      Lanes y[kLanes];
      for (int i = 0; i < kLanes / 2; ++i) {
        y[2 * i] = __builtin_shuffle(x[i], x[i + kLanes / 2], low);
        y[2 * i + 1] = __builtin_shuffle(x[i], x[i + kLanes / 2], high);
      }
      for (int i = 0; i < kLanes; ++i) x[i] = y[i];
    }
  }

  // A run of values that lie side by side in the weight of each output.
  static RELPROP_HD void gather_run(const T* weight, int64_t output_step, int64_t count, T* to,
                                    int64_t to_step) {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      Lanes x[kLanes];
      for (int lane = 0; lane < kLanes; ++lane) x[lane] = load(weight + lane * output_step + i);
      transpose(x);
      for (int lane = 0; lane < kLanes; ++lane) store(to + (i + lane) * to_step, x[lane]);
    }
    for (; i < count; ++i) {
      for (int lane = 0; lane < kLanes; ++lane)
        to[i * to_step + lane] = weight[lane * output_step + i];
    }
  }
};

// M = V U: kRows rows of V times kVectors vectors of columns are as many sums as the registers
// hold.
template <typename T, int kBytes, int kRows, int kVectors>
struct RegisterProduct : Vectors<T, kBytes> {
  using typename Vectors<T, kBytes>::Lanes;
  using Vectors<T, kBytes>::kLanes;
  using Vectors<T, kBytes>::load;
  using Vectors<T, kBytes>::store;
  static constexpr int kPanel = kVectors * kLanes;

  // V and M with steps from row to row; U lies densely, a row of kPanel for each channel. M may end
  // before the panel does. `start` is what every row is added to; it may be missing.
  struct Operands {
    const T* V;
    int64_t v_row;
    const T* U;
    int64_t channels;
    const T* start;
    T* M;
    int64_t m_row, columns;
  };

  template <int kCount>
  static RELPROP_HD void multiply(const Operands& o, int64_t row) {
    const T *V = o.V + row * o.v_row, *U = o.U;
    const int64_t v_row = o.v_row, channels = o.channels;
    Lanes sums[kCount][kVectors] = {};
    for (int64_t channel = 0; channel < channels; ++channel) {
      Lanes u[kVectors];
      for (int i = 0; i < kVectors; ++i) u[i] = load(U + channel * kPanel + i * kLanes);
      for (int r = 0; r < kCount; ++r) {
        for (int i = 0; i < kVectors; ++i) sums[r][i] += V[r * v_row + channel] * u[i];
      }
    }
    T* M = o.M + row * o.m_row;
    if (o.columns >= kPanel) return finish<kCount>(sums, o, M, o.m_row);
    T edge[kCount * kPanel];
    finish<kCount>(sums, o, edge, kPanel);
    for (int r = 0; r < kCount; ++r) {
      std::copy(edge + r * kPanel, edge + r * kPanel + o.columns, M + r * o.m_row);
    }
  }

  // The sums, added to what they start with, as whole vectors.
  template <int kCount>
  static RELPROP_HD void finish(const Lanes (&sums)[kCount][kVectors], const Operands& o, T* M,
                                int64_t m_row) {
    Lanes start[kVectors] = {};
    for (int i = 0; o.start && i < kVectors; ++i) {
      start[i] = load(o.start + i * kLanes, o.columns - i * kLanes);
    }
    for (int r = 0; r < kCount; ++r) {
      for (int i = 0; i < kVectors; ++i) store(M + r * m_row + i * kLanes, sums[r][i] + start[i]);
    }
  }

  template <int kCount>
  static RELPROP_HD void multiply_some(const Operands& o, int64_t row, int64_t count) {
    if (count == kCount) return multiply<kCount>(o, row);
    if constexpr (kCount > 1) multiply_some<kCount - 1>(o, row, count);
  }

  // All rows, in groups of kRows or nearly as many.
  static RELPROP_HD void multiply_all(const Operands& o, int64_t rows) {
    for (int64_t row = 0; row < rows;) {
      const int64_t left = rows - row, groups = (left + kRows - 1) / kRows;
      const int64_t count = (left + groups - 1) / groups;
      multiply_some<kRows>(o, row, count);
      row += count;
    }
  }
};

}  // namespace relprop
