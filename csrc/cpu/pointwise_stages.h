// The stages of a convolution by 1x1 filters, a product of matrices, for vectors of kBytes:
//
//   V = [x y]            the channels of some places, one image after the other
//   U = [W'; W'']        the weights of a panel of outputs, taken by their sign
//   z = V U + b
//
// Everything is inlined into functions that are compiled for one instruction set.
#pragma once

#include <algorithm>
#include <cstdint>

#include "pointwise_operands.h"
#include "vectors.h"

namespace relprop {

template <typename T, int kBytes, int kRows>
struct PointwiseStages : Vectors<T, kBytes> {
  using Operands = PointwiseOperands<T>;
  using Images = PointwiseImages<T>;
  using typename Vectors<T, kBytes>::Lanes;
  using Vectors<T, kBytes>::kLanes;
  using Vectors<T, kBytes>::load;
  using Vectors<T, kBytes>::store;
  using Vectors<T, kBytes>::by_sign;
  using Vectors<T, kBytes>::transpose;
  static constexpr int kVectors = 2, kPanel = kVectors * kLanes;

  // V[place][channel]: an odd number of cache lines from row to row spreads them over the sets of
  // the caches.
  static RELPROP_HD int64_t v_row(const Operands& o) {
    constexpr int64_t line = 64 / sizeof(T);
    return ((o.depth() + line - 1) / line | 1) * line;
  }

  // V of `count` places.
  static RELPROP_HD void places(const Operands& o, int64_t first, int64_t count, T* V) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t place = first + i, row = place / o.width, column = place % o.width;
      T* to = V + i * v_row(o);
      for (const Images& x : o.images) {
        if (!x.data) break;
        copy(x.data + row / o.height * x.example + row % o.height * x.row + column * x.column,
             o.channels, to);
        to += o.channels;
      }
    }
  }

  static RELPROP_HD void copy(const T* from, int64_t count, T* to) {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) store(to + i, load(from + i));
    for (; i < count; ++i) to[i] = from[i];
  }

  // U[channel][output], of `kCount` vectors of outputs. What lies beyond the last one is never
  // stored.
  template <int kCount>
  static RELPROP_HD void weights(const Operands& o, int64_t output, T* U) {
    for (const Images& x : o.images) {
      if (!x.data) break;
      for (int vector = 0; vector < kCount; ++vector) {
        const int64_t first = std::min(output + vector * kLanes, o.outputs - 1);
        gather<kCount * kLanes>(o, x, first, U + vector * kLanes);
      }
      U += o.channels * kCount * kLanes;
    }
  }

  template <int kStep>
  static RELPROP_HD void gather(const Operands& o, const Images& x, int64_t output, T* U) {
    const T* weight = o.weight + output * o.weight_output;
    const int64_t outputs = std::min<int64_t>(kLanes, o.outputs - output);
    if (o.weight_output == 1) {
      for (int64_t channel = 0; channel < o.channels; ++channel) {
        const Lanes w = load(weight + channel * o.weight_input, outputs);
        store(U + channel * kStep, by_sign(w, x.positive, x.negative));
      }
      return;
    }
    for (int64_t channel = 0; channel < o.channels; channel += kLanes) {
      const int64_t count = std::min<int64_t>(kLanes, o.channels - channel);
      Lanes w[kLanes];
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        w[lane] = load(weight + std::min(lane, outputs - 1) * o.weight_output + channel, count);
      }
      transpose(w);
      for (int64_t k = 0; k < count; ++k) {
        store(U + (channel + k) * kStep, by_sign(w[k], x.positive, x.negative));
      }
    }
  }

  // A panel of outputs, of `count` places.
  static RELPROP_HD void panel(const Operands& o, int64_t output, int64_t first, int64_t count,
                               const T* V, T* U) {
    if (o.outputs - output <= kLanes) return multiply<1>(o, output, first, count, V, U);
    multiply<kVectors>(o, output, first, count, V, U);
  }

  template <int kCount>
  static RELPROP_HD void multiply(const Operands& o, int64_t output, int64_t first, int64_t count,
                                  const T* V, T* U) {
    weights<kCount>(o, output, U);
    RegisterProduct<T, kBytes, kRows, kCount>::multiply_all(
        {V, v_row(o), U, o.depth(), o.bias ? o.bias + output : nullptr,
         o.z + first * o.outputs + output, o.outputs, o.outputs - output},
        count);
  }
};

}  // namespace relprop
