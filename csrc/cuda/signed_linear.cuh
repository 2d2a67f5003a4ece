// The signed dense layer: one warp an output, which reads its row of the weight once for a few
// examples; backwards one thread a column and a group of rows, whose sums a second kernel adds up.
#pragma once

#include "../signed_linear.h"
#include "packs.cuh"

namespace relprop::cuda {

constexpr int kLanes = 32;
// Examples for which a thread has sums.
constexpr int kExamples = 4;

template <typename S>
struct DenseArguments {
  const S* d;
  const S* weight;
  int64_t examples, inputs, outputs, weight_step;
};

template <typename S>
__global__ void signed_linear_kernel(DenseArguments<S> a, S* P, S* N) {
  using A = typename Computed<S>::Type;
  const int lane = int(threadIdx.x % kLanes);
  const int64_t groups = (a.examples + kExamples - 1) / kExamples;
  for (int64_t i = first_thread() / kLanes; i < groups * a.outputs; i += all_threads() / kLanes) {
    const int64_t j = i % a.outputs, first = i / a.outputs * kExamples;
    const S* w = a.weight + j * a.weight_step;
    A p[kExamples] = {}, n[kExamples] = {};
    for (int64_t column = lane; column < a.inputs; column += kLanes) {
      const A weight = static_cast<A>(w[column]);
      for (int e = 0; e < kExamples && first + e < a.examples; ++e) {
        add_signed(static_cast<A>(a.d[(first + e) * a.inputs + column]), weight, p[e], n[e]);
      }
    }
    for (int e = 0; e < kExamples && first + e < a.examples; ++e) {
      for (int distance = kLanes / 2; distance > 0; distance /= 2) {
        p[e] += __shfl_xor_sync(0xffffffffu, p[e], distance);
        n[e] += __shfl_xor_sync(0xffffffffu, n[e], distance);
      }
      if (lane != 0) continue;
      P[(first + e) * a.outputs + j] = static_cast<S>(p[e]);
      N[(first + e) * a.outputs + j] = static_cast<S>(n[e]);
    }
  }
}

// sums: (row groups, examples, inputs)
template <typename S, typename A = typename Computed<S>::Type>
__global__ void add_row_groups_kernel(DenseArguments<S> a, const S* positive, const S* negative,
                                      int64_t rows_of_group, int64_t row_groups, A* sums) {
  const int64_t example_groups = (a.examples + kExamples - 1) / kExamples;
  const int64_t all = row_groups * example_groups * a.inputs;
  for (int64_t i = first_thread(); i < all; i += all_threads()) {
    const int64_t column = i % a.inputs, group = i / a.inputs % row_groups;
    const int64_t first = i / a.inputs / row_groups * kExamples;
    const int64_t row = group * rows_of_group;
    const int64_t end = row + rows_of_group < a.outputs ? row + rows_of_group : a.outputs;
    A d[kExamples] = {}, sum[kExamples] = {};
    for (int e = 0; e < kExamples && first + e < a.examples; ++e) {
      d[e] = static_cast<A>(a.d[(first + e) * a.inputs + column]);
    }
    for (int64_t j = row; j < end; ++j) {
      const A w = static_cast<A>(a.weight[j * a.weight_step + column]);
      for (int e = 0; e < kExamples && first + e < a.examples; ++e) {
        const A p = static_cast<A>(positive[(first + e) * a.outputs + j]);
        const A n = static_cast<A>(negative[(first + e) * a.outputs + j]);
        sum[e] += signed_share(d[e], w, p, n, (p + n) / A(2));
      }
    }
    for (int e = 0; e < kExamples && first + e < a.examples; ++e) {
      sums[(group * a.examples + first + e) * a.inputs + column] = sum[e];
    }
  }
}

template <typename S, typename A = typename Computed<S>::Type>
__global__ void add_sums_kernel(const A* sums, int64_t row_groups, int64_t count, S* m) {
  for (int64_t i = first_thread(); i < count; i += all_threads()) {
    A sum = 0;
    for (int64_t group = 0; group < row_groups; ++group) sum += sums[group * count + i];
    m[i] = static_cast<S>(sum);
  }
}

}  // namespace relprop::cuda
