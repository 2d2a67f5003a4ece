// The three stages of a convolution by Winograd's minimal filtering, for vectors of kBytes:
//
//   V = B^T d B           each tile of 6x6 inputs, all channels side by side
//   U = G g G^T           the filters of a panel of outputs, for all inputs
//   M = V U, Y = A^T M A  36 products of matrices, then tiles of 4x4 outputs
//
// Everything is inlined into functions that are compiled for one instruction set.
#pragma once

#include <algorithm>
#include <cstdint>

#include "vectors.h"
#include "winograd_filtering.h"
#include "winograd_operands.h"

namespace relprop {

template <typename T, int kBytes, int kRows>
struct WinogradStages : Vectors<T, kBytes> {
  using Filtering = MinimalFiltering<T>;
  using Operands = WinogradOperands<T>;
  using typename Vectors<T, kBytes>::Lanes;
  using Vectors<T, kBytes>::kLanes;
  using Vectors<T, kBytes>::load;
  using Vectors<T, kBytes>::store;
  using Vectors<T, kBytes>::by_sign;
  using Vectors<T, kBytes>::gather_run;
  static constexpr int kIn = Filtering::kInputs, kOut = Filtering::kOutputs;
  static constexpr int kTaps = Filtering::kTaps, kProducts = kIn * kIn;
  static constexpr int kVectors = 2, kPanel = kVectors * kLanes;
  using Product = RegisterProduct<T, kBytes, kRows, kVectors>;

  // V[tile][product][channel], U[product][channel][output of the panel] and
  // M[tile][product][output of the panel]. An odd cache line between the rows spreads them over the
  // sets of the caches.
  static constexpr int64_t kGap = 64 / sizeof(T);
  static RELPROP_HD int64_t v_step(int64_t channels) {
    return (channels + kLanes - 1) / kLanes * kLanes;
  }
  static RELPROP_HD int64_t v_row(int64_t channels) { return kProducts * v_step(channels) + kGap; }
  static RELPROP_HD int64_t u_step(int64_t channels) { return channels * kPanel + kGap; }
  static constexpr int64_t kMRow = kProducts * kPanel + kGap;

  static RELPROP_HD WinogradTile tile_of(const Operands& o, int64_t tile) {
    const int64_t row = tile / o.tile_columns;
    return {row / o.tile_rows, row % o.tile_rows * kOut, tile % o.tile_columns * kOut};
  }

  // V = B^T d B of `count` tiles; `zeros` stands for the channels of a place in the padding.
  static RELPROP_HD void inputs(const Operands& o, int64_t first, int64_t count, const T* zeros,
                                T* V) {
    for (int64_t i = 0; i < count; ++i) {
      const WinogradTile tile = tile_of(o, first + i);
      const T* d[kIn][kIn];
      for (int r = 0; r < kIn; ++r) {
        for (int c = 0; c < kIn; ++c) {
          const int64_t h = tile.row - o.top + r, w = tile.column - o.left + c;
          const bool inside = h >= 0 && h < o.height && w >= 0 && w < o.width;
          d[r][c] =
              inside ? o.x + tile.example * o.x_example + h * o.x_row + w * o.x_column : zeros;
        }
      }
      transform_tile(d, o.channels, V + i * v_row(o.channels));
    }
  }

  static RELPROP_HD void transform_tile(const T* (&places)[kIn][kIn], int64_t channels, T* V) {
    for (int64_t channel = 0; channel < channels; channel += kLanes) {
      Lanes half[kIn][kIn];
      for (int c = 0; c < kIn; ++c) {
        Lanes d[kIn], v[kIn];
        for (int r = 0; r < kIn; ++r) d[r] = load(places[r][c] + channel, channels - channel);
        Filtering::inputs(d, v);
        for (int r = 0; r < kIn; ++r) half[r][c] = v[r];
      }
      for (int r = 0; r < kIn; ++r) {
        Lanes v[kIn];
        Filtering::inputs(half[r], v);
        for (int c = 0; c < kIn; ++c) store(V + (r * kIn + c) * v_step(channels) + channel, v[c]);
      }
    }
  }

  // The filters of kLanes outputs and up to kChannels inputs: g[channel][tap][output].
  static constexpr int kChannels = 16, kAllTaps = kTaps * kTaps;
  using Filters = T[kChannels][kAllTaps][kLanes];

  static RELPROP_HD void gather(const Operands& o, int64_t output, int64_t channel, int64_t count,
                                Filters& g) {
    const T* weight = o.weight + output * o.weight_output + channel * o.weight_input;
    const int64_t outputs = std::min<int64_t>(kLanes, o.outputs - output);
    const bool dense_taps = o.weight_column == 1 && o.weight_row == kTaps;
    if (outputs == kLanes && dense_taps && o.weight_input == kAllTaps) {
      return gather_run(weight, o.weight_output, count * kAllTaps, g[0][0], kLanes);
    }
    for (int tap = 0; tap < kAllTaps; ++tap) {
      const T* from = weight + tap / kTaps * o.weight_row + tap % kTaps * o.weight_column;
      if (outputs == kLanes && o.weight_input == 1) {
        gather_run(from, o.weight_output, count, g[0][tap], kAllTaps * kLanes);
        continue;
      }
      for (int64_t k = 0; k < count; ++k, from += o.weight_input) {
        if (outputs == kLanes && o.weight_output == 1) {
          store(g[k][tap], load(from, kLanes));
          continue;
        }
        for (int64_t lane = 0; lane < kLanes; ++lane) {
          g[k][tap][lane] = lane < outputs ? from[lane * o.weight_output] : T(0);
        }
      }
    }
  }

  // U = G g G^T of the outputs from `output` on.
  static RELPROP_HD void filters(const Operands& o, int64_t output, T* U) {
    alignas(64) Filters g;
    for (int vector = 0; vector < kVectors; ++vector) {
      const int64_t first = output + vector * kLanes;
      for (int64_t channel = 0; channel < o.channels; channel += kChannels) {
        const int64_t count = std::min<int64_t>(kChannels, o.channels - channel);
        gather(o, std::min(first, o.outputs), channel, count, g);
        for (int64_t k = 0; k < count; ++k) {
          transform_filters(o, g[k], U + (channel + k) * kPanel + vector * kLanes);
        }
      }
    }
  }

  static RELPROP_HD void transform_filters(const Operands& o, const T (&taps)[kAllTaps][kLanes],
                                           T* U) {
    Lanes half[kIn][kTaps];
    for (int c = 0; c < kTaps; ++c) {
      Lanes g[kTaps], u[kIn];
      for (int r = 0; r < kTaps; ++r) {
        const int tap = r * kTaps + c;
        const Lanes w = load(taps[o.turned ? kAllTaps - 1 - tap : tap], kLanes);
        g[r] = by_sign(w, o.positive, o.negative);
      }
      Filtering::filter(g, u);
      for (int r = 0; r < kIn; ++r) half[r][c] = u[r];
    }
    for (int r = 0; r < kIn; ++r) {
      Lanes u[kIn];
      Filtering::filter(half[r], u);
      for (int c = 0; c < kIn; ++c) store(U + (r * kIn + c) * u_step(o.channels), u[c]);
    }
  }

  // Y = A^T M A + bias of `count` tiles; what lies outside of z goes to `outside`.
  static RELPROP_HD void outputs(const Operands& o, int64_t output, int64_t first, int64_t count,
                                 const T* M, T* outside) {
    const int64_t channels = std::min<int64_t>(kPanel, o.outputs - output);
    for (int64_t i = 0; i < count; ++i) {
      const WinogradTile tile = tile_of(o, first + i);
      T* y[kOut][kOut];
      for (int r = 0; r < kOut; ++r) {
        for (int c = 0; c < kOut; ++c) {
          const int64_t h = tile.row + r, w = tile.column + c;
          const int64_t place = (tile.example * o.z_height + h) * o.z_width + w;
          y[r][c] = h < o.z_height && w < o.z_width ? o.z + place * o.outputs + output : outside;
        }
      }
      transform_products(M + i * kMRow, o.bias ? o.bias + output : nullptr, channels, y);
    }
  }

  static RELPROP_HD void transform_products(const T* M, const T* bias, int64_t channels,
                                            T* (&places)[kOut][kOut]) {
    for (int64_t channel = 0; channel < channels; channel += kLanes) {
      const int64_t count = channels - channel;
      const Lanes b = bias ? load(bias + channel, count) : Lanes{};
      Lanes half[kOut][kIn];
      for (int c = 0; c < kIn; ++c) {
        Lanes m[kIn], y[kOut];
        for (int r = 0; r < kIn; ++r) m[r] = load(M + (r * kIn + c) * kPanel + channel, kLanes);
        Filtering::outputs(m, y);
        for (int r = 0; r < kOut; ++r) half[r][c] = y[r];
      }
      for (int r = 0; r < kOut; ++r) {
        Lanes y[kOut];
        Filtering::outputs(half[r], y);
        for (int c = 0; c < kOut; ++c) store(places[r][c] + channel, y[c] + b, count);
      }
    }
  }

  // A panel of outputs, of `count` tiles; `scratch` holds U, M and what lies outside of z.
  static RELPROP_HD void panel(const Operands& o, int64_t output, int64_t first, int64_t count,
                               const T* V, T* scratch) {
    T* U = scratch;
    T* M = U + kProducts * u_step(o.channels);
    filters(o, output, U);
    for (int64_t product = 0; product < kProducts; ++product) {
      Product::multiply_all(
          {V + product * v_step(o.channels), v_row(o.channels), U + product * u_step(o.channels),
           o.channels, nullptr, M + product * kPanel, kMRow, kPanel},
          count);
    }
    outputs(o, output, first, count, M, M + count * kMRow);
  }

  static int64_t scratch_size(int64_t channels, int64_t tiles) {
    return kProducts * u_step(channels) + tiles * kMRow + kPanel;
  }
};

}  // namespace relprop
