// What a convolution by Winograd's minimal filtering is given, as its kernels read it.
#pragma once

#include <cstdint>

namespace relprop {

// Sizes and steps are counted in elements; channels lie side by side in x and in z.
template <typename T>
struct WinogradOperands {
  const T* x = nullptr;
  int64_t batch = 0, channels = 0, height = 0, width = 0;
  int64_t x_example = 0, x_row = 0, x_column = 0;

  // The output z at (h, w) meets x from (h - top, w - left) on, with tap (0, 0) of the filter.
  int64_t top = 0, left = 0;

  // The filter from one input to one output, of which the taps may have to be turned by 180
  // degrees.
  const T* weight = nullptr;
  int64_t weight_output = 0, weight_input = 0, weight_row = 0, weight_column = 0;
  bool turned = false;
  T positive = 1, negative = 1;  // what weights above and below 0 are multiplied by

  const T* bias = nullptr;  // may be missing
  T* z = nullptr;           // contiguous, channels last
  int64_t outputs = 0, z_height = 0, z_width = 0;

  // Tiles of 4x4 outputs.
  int64_t tile_rows = 0, tile_columns = 0;
  int64_t tiles() const { return batch * tile_rows * tile_columns; }
};

// Where a tile's first output is.
struct WinogradTile {
  int64_t example, row, column;
};

}  // namespace relprop
