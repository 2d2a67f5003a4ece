// How a block brings images and filters into shared memory: of every row of its tiles 16 words at a
// time, through registers, where they become what tensor cores are to multiply.
#pragma once

#include "../rules.h"
#include "convolution_walk.cuh"
#include "matrix_fragments.cuh"

namespace relprop::cuda {

// Of a row of a tile: words at a time, and words from row to row, with which the 32 threads that
// read a fragment meet 32 different banks.
constexpr int kDepthWords = 16, kPitch = 20;
constexpr int kPacksOfRow = 4, kPackWords = kDepthWords / kPacksOfRow;

template <typename S>
constexpr int kDepth = kDepthWords * kOfWord<S>;
// Numbers in 16 bytes, which a thread moves at once.
template <typename S>
constexpr int kOfPack = kDepth<S> / kPacksOfRow;

template <typename S>
using Numbers = Pack<S, kOfPack<S>>;

struct alignas(16) Words {
  uint32_t word[kPackWords];
};

// The warps of a block, and the fragments of each warp's sums; rows are places, columns channels.
template <int kWarpRows_, int kWarpColumns_, int kDown_, int kAcross_>
struct Tiles {
  static constexpr int kWarpColumns = kWarpColumns_, kDown = kDown_, kAcross = kAcross_;
  static constexpr int kThreads = kWarpThreads * kWarpRows_ * kWarpColumns_;
  static constexpr int kRowsOfWarp = kFragmentRows * kDown;
  static constexpr int kColumnsOfWarp = kFragmentColumns * kAcross;
  static constexpr int kRows = kRowsOfWarp * kWarpRows_;
  static constexpr int kColumns = kColumnsOfWarp * kWarpColumns_;
};

using LargeTiles = Tiles<4, 2, 2, 8>;

// One of the inputs that are summed up: x, or s = x f(z) / stab(d), and by what weights are
// multiplied for each result, by their sign.
template <typename S>
struct Side {
  const S* x;
  const S* d;
  float positive[2], negative[2];
};

// Null where not given. Images and filters have their channels side by side: images are (batch,
// rows, columns, channels), filters (outputs, rows, columns, channels).
template <typename S>
struct ConvolutionArguments {
  Side<S> first, other;
  const S* z;
  const S* weight;
  const S* bias[2];
  const S* next_z;
  const S* next_d;
  S* result[2];
  float epsilon;
  bool relu, transposed;
  int sides;
  int64_t batch;
  int channels, outputs;
  Axis rows, columns;
};

// Of a pair: z+ = W+ x + W- y and z- = W- x + W+ y.
template <typename S>
void take_signed_parts(ConvolutionArguments<S>& a) {
  a.first.positive[0] = a.first.negative[1] = 1, a.first.negative[0] = a.first.positive[1] = 0;
  a.other.negative[0] = a.other.positive[1] = 1, a.other.positive[0] = a.other.negative[1] = 0;
}

// What a block computes: results of one phase from a first place and a first channel on.
struct Block {
  Walk rows, columns;
  int64_t place, places;
  int output;
};

// The first place that the taps of a result read; outside of the image where there is no result.
struct Window {
  int64_t example;
  int row, column;
};

// Where a block is in its sum: over sides, taps and channels.
struct Step {
  int side = 0, i = 0, j = 0, channel = 0;
};

__device__ inline int64_t steps_of(const Block& block, int sides, int channels, int depth) {
  const int64_t taps = int64_t(block.rows.taps) * block.columns.taps;
  return sides * taps * ((channels + depth - 1) / depth);
}

__device__ inline void advance(Step& step, const Block& block, int channels, int depth) {
  step.channel += depth;
  if (step.channel < channels) return;
  step.channel = 0;
  if (++step.j < block.columns.taps) return;
  step.j = 0;
  if (++step.i < block.rows.taps) return;
  step.i = 0;
  ++step.side;
}

template <typename S>
__device__ Window window_of(const ConvolutionArguments<S>& a, const Block& block, int64_t place) {
  constexpr int kOutside = -(1 << 30);
  if (place >= block.places) return {0, kOutside, kOutside};
  const Division row = divide(place, block.columns.count);
  const Division example = divide(row.quotient, block.rows.count);
  const int64_t image = int64_t(a.rows.input) * a.columns.input * a.channels;
  return {example.quotient * image, block.rows.origin + int(example.remainder) * block.rows.pace,
          block.columns.origin + int(row.remainder) * block.columns.pace};
}

// Numbers from an offset on, of which `left` are there; 0 beyond them.
template <bool kPacked, typename S>
__device__ Numbers<S> load_numbers(const S* from, int64_t offset, int left) {
  if constexpr (kPacked) {
    if (left > 0) return *reinterpret_cast<const Numbers<S>*>(from + offset);
    left = 0;
  }
  Numbers<S> numbers;
#pragma unroll
  for (int k = 0; k < kOfPack<S>; ++k) {
    numbers.value[k] = k < left ? from[offset + k] : static_cast<S>(0.0f);
  }
  return numbers;
}

template <typename S>
__device__ Words words_of(const float (&numbers)[kOfPack<S>]) {
  Words words;
#pragma unroll
  for (int k = 0; k < kOfPack<S>; k += kOfWord<S>) {
    words.word[k / kOfWord<S>] = word_of<S>(numbers + k);
  }
  return words;
}

__device__ inline void put_words(uint32_t* tile, int row, int pack, const Words& words) {
  *reinterpret_cast<Words*>(tile + row * kPitch + pack * kPackWords) = words;
}

// What a thread has read of the images for one step, and has yet to put into shared memory.
template <bool kRatio, typename S, typename T>
struct ReadImages {
  static constexpr int kPacks = T::kRows * kPacksOfRow / T::kThreads;
  static_assert(kPacks * T::kThreads == T::kRows * kPacksOfRow);
  Numbers<S> x[kPacks], z[kRatio ? kPacks : 1], d[kRatio ? kPacks : 1];

  template <bool kPacked>
  __device__ void read(const ConvolutionArguments<S>& a, const Block& block, const Step& step,
                       const Window (&windows)[kPacks]) {
    const S* from = step.side == 0 ? a.first.x : a.other.x;
    const int channel = step.channel + int(threadIdx.x) % kPacksOfRow * kOfPack<S>;
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int row = windows[p].row + step.i * block.rows.turn;
      const int column = windows[p].column + step.j * block.columns.turn;
      const bool inside = row >= 0 && row < a.rows.input && column >= 0 && column < a.columns.input;
      const int left = inside ? a.channels - channel : 0;
      const int64_t place = int64_t(row) * a.columns.input + column;
      const int64_t offset = windows[p].example + place * a.channels + channel;
      x[p] = load_numbers<kPacked>(from, offset, left);
      if constexpr (kRatio) {
        const S* below = step.side == 0 ? a.first.d : a.other.d;
        z[p] = load_numbers<kPacked>(a.z, offset, left);
        d[p] = load_numbers<kPacked>(below, offset, left);
      }
    }
  }

  __device__ void put(const ConvolutionArguments<S>& a, uint32_t* tile) const {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int pack = int(threadIdx.x) + p * T::kThreads;
      put_words(tile, pack / kPacksOfRow, pack % kPacksOfRow, words(a, p));
    }
  }

  // s = R / stab(d) with R = x f(z), or x itself.
  __device__ Words words(const ConvolutionArguments<S>& a, int p) const {
    float s[kOfPack<S>];
#pragma unroll
    for (int k = 0; k < kOfPack<S>; ++k) {
      s[k] = static_cast<float>(x[p].value[k]);
      if constexpr (kRatio) {
        const float value = static_cast<float>(z[p].value[k]);
        const float R = s[k] * (a.relu && value < 0.0f ? 0.0f : value);
        s[k] = stabilized_ratio(R, static_cast<float>(d[p].value[k]), a.epsilon);
      }
    }
    return words_of<S>(s);
  }
};

// The same of the filters: W' = positive W+ + negative W-, of both results from one read.
template <int kResults, typename S, typename T>
struct ReadFilters {
  static constexpr int kColumns = T::kColumns / kResults;
  static constexpr int kPacks = kColumns * kPacksOfRow / T::kThreads;
  static_assert(kPacks * T::kThreads == kColumns * kPacksOfRow);
  Numbers<S> w[kPacks];

  template <bool kPacked>
  __device__ void read(const ConvolutionArguments<S>& a, const Block& block, const Step& step) {
    const int channel = step.channel + int(threadIdx.x) % kPacksOfRow * kOfPack<S>;
    const int row = block.rows.tap + step.i * block.rows.tap_step;
    const int column = block.columns.tap + step.j * block.columns.tap_step;
    const int64_t taps = int64_t(a.rows.taps) * a.columns.taps;
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int output = block.output + (int(threadIdx.x) + p * T::kThreads) / kPacksOfRow;
      const int left = output < a.outputs ? a.channels - channel : 0;
      const int64_t tap = output * taps + row * a.columns.taps + column;
      w[p] = load_numbers<kPacked>(a.weight, tap * a.channels + channel, left);
    }
  }

  __device__ void put(const ConvolutionArguments<S>& a, int side, uint32_t* tile) const {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int pack = int(threadIdx.x) + p * T::kThreads;
#pragma unroll
      for (int r = 0; r < kResults; ++r) {
        const float positive = side == 0 ? a.first.positive[r] : a.other.positive[r];
        const float negative = side == 0 ? a.first.negative[r] : a.other.negative[r];
        const int column = r * kColumns + pack / kPacksOfRow;
        put_words(tile, column, pack % kPacksOfRow, words(p, positive, negative));
      }
    }
  }

  __device__ Words words(int p, float positive, float negative) const {
    float taken[kOfPack<S>];
#pragma unroll
    for (int k = 0; k < kOfPack<S>; ++k) {
      const float one = static_cast<float>(w[p].value[k]);
      taken[k] = one * (one < 0.0f ? negative : positive);
    }
    return words_of<S>(taken);
  }
};

}  // namespace relprop::cuda
