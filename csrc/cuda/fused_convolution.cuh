// The fused convolution, forward and transposed, as one product of matrices that is never laid out:
// a row for each place of the result, a column for each of its channels, a sum over sides, taps and
// channels. Two results lie in the columns side by side, as [W'; W''] would, from one read of W.
//
// Two tiles of each matrix are in shared memory: while one is multiplied, the next is on its way.
#pragma once

#include "convolution_tiles.cuh"

namespace relprop::cuda {

// Tiles one below the other for the longest of the phases, and side by side.
template <typename T, typename S>
RELPROP_HD int64_t tiles_down(const ConvolutionArguments<S>& a) {
  const int64_t places =
      a.batch * longest_phase(a.rows, a.transposed) * longest_phase(a.columns, a.transposed);
  return (places + T::kRows - 1) / T::kRows;
}

template <int kResults, typename T, typename S>
RELPROP_HD int64_t tiles_across(const ConvolutionArguments<S>& a) {
  constexpr int kColumns = T::kColumns / kResults;
  return (a.outputs + kColumns - 1) / kColumns;
}

template <int kResults, typename T, typename S>
RELPROP_HD int64_t blocks_of(const ConvolutionArguments<S>& a) {
  const int64_t phases = phases_of(a.rows, a.transposed) * phases_of(a.columns, a.transposed);
  return phases * tiles_down<T>(a) * tiles_across<kResults, T>(a);
}

// Blocks that follow one another read the same places.
template <int kResults, typename T, typename S>
__device__ Block block_of(const ConvolutionArguments<S>& a, int64_t number) {
  constexpr int kColumns = T::kColumns / kResults;
  const Division column = divide(number, tiles_across<kResults, T>(a));
  const Division phase = divide(column.quotient, tiles_down<T>(a));
  const int across = phases_of(a.columns, a.transposed);
  Block block;
  block.rows = walk_of(a.rows, a.transposed, int(phase.quotient) / across);
  block.columns = walk_of(a.columns, a.transposed, int(phase.quotient) % across);
  block.place = phase.remainder * T::kRows;
  block.places = a.batch * block.rows.count * block.columns.count;
  block.output = int(column.remainder) * kColumns;
  return block;
}

// sums += the product of what is in shared memory.
template <typename S, typename T>
__device__ void multiply_tiles(const uint32_t* images, const uint32_t* filters,
                               float (&sums)[T::kDown][T::kAcross][4]) {
  const int lane = int(threadIdx.x) % kWarpThreads, warp = int(threadIdx.x) / kWarpThreads;
  const int row = warp / T::kWarpColumns * T::kRowsOfWarp + lane / 4;
  const int column = warp % T::kWarpColumns * T::kColumnsOfWarp + lane / 4;
#pragma unroll
  for (int k = 0; k < kDepthWords; k += kFragmentWords) {
    uint32_t a[T::kDown][4], b[T::kAcross][2];
#pragma unroll
    for (int i = 0; i < T::kDown; ++i) {
      const uint32_t* from = images + (row + i * kFragmentRows) * kPitch + k + lane % 4;
      a[i][0] = from[0], a[i][1] = from[8 * kPitch];
      a[i][2] = from[4], a[i][3] = from[8 * kPitch + 4];
    }
#pragma unroll
    for (int j = 0; j < T::kAcross; ++j) {
      const uint32_t* from = filters + (column + j * kFragmentColumns) * kPitch + k + lane % 4;
      b[j][0] = from[0], b[j][1] = from[4];
    }
    multiply_fragments<S>(a, b, sums);
  }
}

// One channel of the result: R = c f(z), or s = R / stab(d), for the step that comes next.
template <typename S>
__device__ S finished(const ConvolutionArguments<S>& a, int64_t i, float c) {
  if (a.next_z != nullptr) {
    const float value = static_cast<float>(a.next_z[i]);
    c *= a.relu && value < 0.0f ? 0.0f : value;
  }
  if (a.next_d != nullptr) c = stabilized_ratio(c, static_cast<float>(a.next_d[i]), a.epsilon);
  return static_cast<S>(c);
}

// Two channels, from number `output` on, at a place that has its first channel at `first`.
template <bool kPacked, typename S>
__device__ void write_pair(const ConvolutionArguments<S>& a, int which, int64_t first, int output,
                           float c0, float c1) {
  const S* bias = which == 0 ? a.bias[0] : a.bias[1];
  S* result = which == 0 ? a.result[0] : a.result[1];
  const bool both = kPacked || output + 1 < a.outputs;
  const int64_t i = first + output;
  if (bias != nullptr) {
    c0 += static_cast<float>(bias[output]);
    if (both) c1 += static_cast<float>(bias[output + 1]);
  }
  if constexpr (kPacked) {
    const Pack<S, 2> pair{finished(a, i, c0), finished(a, i + 1, c1)};
    *reinterpret_cast<Pack<S, 2>*>(result + i) = pair;
  } else {
    result[i] = finished(a, i, c0);
    if (both) result[i + 1] = finished(a, i + 1, c1);
  }
}

// The number of a place of the result among those of all phases.
template <typename S>
__device__ int64_t place_of(const ConvolutionArguments<S>& a, const Block& block, int64_t place) {
  const Division row = divide(place, block.columns.count);
  const Division example = divide(row.quotient, block.rows.count);
  const int64_t down = block.rows.first + example.remainder * block.rows.step;
  const int64_t across = block.columns.first + row.remainder * block.columns.step;
  return (example.quotient * a.rows.result + down) * a.columns.result + across;
}

template <int kResults, bool kPacked, typename S, typename T>
__device__ void write_sums(const ConvolutionArguments<S>& a, const Block& block,
                           const float (&sums)[T::kDown][T::kAcross][4]) {
  constexpr int kColumns = T::kColumns / kResults;
  static_assert(kColumns % T::kColumnsOfWarp == 0, "a warp's columns are of one result");
  const int lane = int(threadIdx.x) % kWarpThreads, warp = int(threadIdx.x) / kWarpThreads;
  const int row = warp / T::kWarpColumns * T::kRowsOfWarp + lane / 4;
  const int column = warp % T::kWarpColumns * T::kColumnsOfWarp;
  const int output = block.output + column % kColumns + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < 2 * T::kDown; ++i) {
    const int64_t place = block.place + row + i * 8;
    if (place >= block.places) continue;
    const int64_t first = place_of(a, block, place) * a.outputs;
#pragma unroll
    for (int j = 0; j < T::kAcross; ++j) {
      if (output + j * kFragmentColumns >= a.outputs) continue;
      const float (&sum)[4] = sums[i / 2][j];
      write_pair<kPacked>(a, column / kColumns, first, output + j * kFragmentColumns,
                          sum[i % 2 * 2], sum[i % 2 * 2 + 1]);
    }
  }
}

// z_r = sum over sides of W'_r s (+ b_r), with W'_r = positive W+ + negative W-, r < kResults.
template <int kResults, bool kRatio, bool kPacked, typename S, typename T>
__global__ void __launch_bounds__(T::kThreads) fused_convolution_kernel(ConvolutionArguments<S> a) {
  alignas(16) __shared__ uint32_t images[2][T::kRows * kPitch];
  alignas(16) __shared__ uint32_t filters[2][T::kColumns * kPitch];
  const Block block = block_of<kResults, T>(a, blockIdx.x);
  if (block.place >= block.places) return;
  ReadImages<kRatio, S, T> read_images;
  ReadFilters<kResults, S, T> read_filters;
  Window windows[ReadImages<kRatio, S, T>::kPacks];
  for (int p = 0; p < ReadImages<kRatio, S, T>::kPacks; ++p) {
    const int row = (int(threadIdx.x) + p * T::kThreads) / kPacksOfRow;
    windows[p] = window_of(a, block, block.place + row);
  }
  float sums[T::kDown][T::kAcross][4] = {};
  Step step;
  const int64_t steps = steps_of(block, a.sides, a.channels, kDepth<S>);
  for (int64_t k = 0; k <= steps; ++k) {
    const int now = int(k % 2);
    if (k < steps) {
      read_images.template read<kPacked>(a, block, step, windows);
      read_filters.template read<kPacked>(a, block, step);
    }
    if (k > 0) multiply_tiles<S, T>(images[1 - now], filters[1 - now], sums);
    if (k < steps) {
      read_images.put(a, images[now]);
      read_filters.put(a, step.side, filters[now]);
      advance(step, block, a.channels, kDepth<S>);
    }
    __syncthreads();
  }
  write_sums<kResults, kPacked, S, T>(a, block, sums);
}

}  // namespace relprop::cuda
