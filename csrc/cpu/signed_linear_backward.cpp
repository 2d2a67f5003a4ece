// Every thread has some columns of the weight, and takes them a block of rows at a time: small
// enough to stay in its cache until all examples have met it. The rows of a block are summed up by
// themselves, which keeps long sums accurate; the order does not depend on the threads.
#include "../dense_operands.h"
#include "../signed_linear.h"
#include "clones.h"
#include "kernel_runner.h"

namespace relprop {
namespace {

constexpr int64_t kRows = 32;
// Columns of a block; one example alone meets every block once, and reads long rows faster.
constexpr int64_t kColumns = 4096, kColumnsOfOne = 16384;
// Rows that are read side by side.
constexpr int kTogether = 8;

// Adds what kCount outputs give to `columns` inputs; their rows of the weight lie w_step apart.
template <int kCount, typename T>
RELPROP_CLONES static void add_rows(const T* __restrict w, int64_t w_step,
                                    const T* __restrict positive, const T* __restrict negative,
                                    const T* __restrict d, int64_t columns, T* __restrict sum) {
  T p[kCount], n[kCount], mean[kCount];
  for (int k = 0; k < kCount; ++k) {
    p[k] = positive[k];
    n[k] = negative[k];
    mean[k] = (p[k] + n[k]) / T(2);
  }
  for (int64_t i = 0; i < columns; ++i) {
    T s = sum[i];
    for (int k = 0; k < kCount; ++k)
      s += signed_share(d[i], w[k * w_step + i], p[k], n[k], mean[k]);
    sum[i] = s;
  }
}

template <typename T>
RELPROP_CLONES static void add_and_clear(T* __restrict sum, int64_t columns, T* __restrict m) {
  for (int64_t i = 0; i < columns; ++i) {
    m[i] += sum[i];
    sum[i] = T(0);
  }
}

template <typename T>
struct Columns {
  const DenseOperands& o;
  const T* positive;
  const T* negative;
  T* m;

  void run(int64_t first, int64_t columns, std::vector<T>& sum) const {
    for (int64_t e = 0; e < o.examples; ++e) std::fill_n(m + e * o.inputs + first, columns, T(0));
    for (int64_t row = 0; row < o.outputs; row += kRows) {
      const int64_t rows = std::min(kRows, o.outputs - row);
      for (int64_t e = 0; e < o.examples; ++e) {
        add_block(row, rows, e, first, columns, sum.data());
        add_and_clear(sum.data(), columns, m + e * o.inputs + first);
      }
    }
  }

  void add_block(int64_t row, int64_t rows, int64_t e, int64_t first, int64_t columns,
                 T* sum) const {
    const T* w = data_of<T>(o.weight) + row * o.weight_step + first;
    const T* d = data_of<T>(o.d) + e * o.inputs + first;
    const T *p = positive + e * o.outputs + row, *n = negative + e * o.outputs + row;
    int64_t k = 0;
    for (; k + kTogether <= rows; k += kTogether) {
      add_rows<kTogether>(w + k * o.weight_step, o.weight_step, p + k, n + k, d, columns, sum);
    }
    for (; k < rows; ++k) {
      add_rows<1>(w + k * o.weight_step, o.weight_step, p + k, n + k, d, columns, sum);
    }
  }
};

template <typename T>
void multiply(const DenseOperands& o, const Tensor& positive, const Tensor& negative, Tensor& m) {
  const Columns<T> columns{o, data_of<T>(positive), data_of<T>(negative), mutable_data_of<T>(m)};
  torch::stable::parallel_for(0, o.inputs, 256, [&](int64_t begin, int64_t end) {
    const int64_t most = o.examples == 1 ? kColumnsOfOne : kColumns;
    const int64_t tiles = (end - begin + most - 1) / most;
    const int64_t tile = (end - begin + tiles - 1) / tiles;
    std::vector<T> sum(tile);
    for (int64_t first = begin; first < end; first += tile) {
      columns.run(first, std::min(tile, end - first), sum);
    }
  });
}

Tensor signed_linear_backward(const Tensor& positive, const Tensor& negative, const Tensor& d,
                              const Tensor& weight) {
  if (is_half(d)) {
    constexpr ScalarType wide = ScalarType::Float;
    const Tensor m = signed_linear_backward(in_dtype(positive, wide), in_dtype(negative, wide),
                                            in_dtype(d, wide), in_dtype(weight, wide));
    return in_dtype(m, d.scalar_type());
  }
  const DenseOperands o = dense_operands(d, weight);
  Tensor m = rows_like(d, o.inputs);
  if (m.numel() == 0) return m;
  const Tensor p = torch::stable::contiguous(positive), n = torch::stable::contiguous(negative);
  if (d.scalar_type() == ScalarType::Double) {
    run_kernel([&] { multiply<double>(o, p, n, m); });
  } else {
    run_kernel([&] { multiply<float>(o, p, n, m); });
  }
  return m;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CPU, m) {
  m.impl("signed_linear_backward", TORCH_BOX(&signed_linear_backward));
}

}  // namespace relprop
