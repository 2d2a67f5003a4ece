// Row by row of the weight, each of them read from memory once for all examples. The sums are
// spread over a fixed number of lanes, so that every instruction set and number of threads gives
// the same result.
#include "../signed_linear.h"

#include <tuple>

#include "../dense_operands.h"
#include "clones.h"
#include "kernel_runner.h"

namespace relprop {
namespace {

constexpr int64_t kLanes = 32;
// Examples that meet a part of the weight while it is in registers; where there are fewer, the rows
// of the weight that are read side by side.
constexpr int kTogether = 4;

template <typename T>
RELPROP_HD T sum_of_lanes(T (&lanes)[kLanes]) {
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

// kCount pairs of a row of the weight and an example's d, each some steps after the one before.
template <typename T>
struct Pairs {
  const T* w;
  int64_t w_step;
  const T* d;
  int64_t d_step;
  int64_t out_step;
};

template <int kCount, typename T>
RELPROP_CLONES static void signed_dots(Pairs<T> pairs, int64_t count, T* __restrict P,
                                       T* __restrict N) {
  T p[kCount][kLanes] = {}, n[kCount][kLanes] = {};
  const auto [w, w_step, d, d_step, out_step] = pairs;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int k = 0; k < kCount; ++k) {
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        add_signed(d[k * d_step + i + lane], w[k * w_step + i + lane], p[k][lane], n[k][lane]);
      }
    }
  }
  for (int64_t lane = 0; i + lane < count; ++lane) {
    for (int k = 0; k < kCount; ++k) {
      add_signed(d[k * d_step + i + lane], w[k * w_step + i + lane], p[k][lane], n[k][lane]);
    }
  }
  for (int k = 0; k < kCount; ++k) {
    P[k * out_step] = sum_of_lanes(p[k]);
    N[k * out_step] = sum_of_lanes(n[k]);
  }
}

template <typename T>
struct Product {
  const DenseOperands& o;
  T* P;
  T* N;

  // kCount examples beginning with e for output j, or kCount outputs beginning with j for example e
  template <int kCount>
  void run(int64_t j, int64_t e, bool outputs) const {
    const Pairs<T> pairs{data_of<T>(o.weight) + j * o.weight_step, outputs ? o.weight_step : 0,
                         data_of<T>(o.d) + e * o.inputs, outputs ? 0 : o.inputs,
                         outputs ? 1 : o.outputs};
    const int64_t out = e * o.outputs + j;
    signed_dots<kCount>(pairs, o.inputs, P + out, N + out);
  }

  void rows(int64_t begin, int64_t end) const {
    int64_t j = begin;
    const int64_t together = o.examples / kTogether * kTogether;
    for (; j + kTogether <= end; j += kTogether) {
      for (int64_t row = j; row < j + kTogether; ++row) {
        for (int64_t e = 0; e < together; e += kTogether) run<kTogether>(row, e, false);
      }
      for (int64_t e = together; e < o.examples; ++e) run<kTogether>(j, e, true);
    }
    for (; j < end; ++j) {
      for (int64_t e = 0; e < o.examples; ++e) run<1>(j, e, true);
    }
  }
};

template <typename T>
void multiply(const DenseOperands& o, const Tensor& P, const Tensor& N) {
  const Product<T> product{o, mutable_data_of<T>(P), mutable_data_of<T>(N)};
  const int64_t grain = std::max<int64_t>(kTogether, 32768 / (o.inputs * o.examples + 1));
  torch::stable::parallel_for(0, o.outputs, grain,
                              [&](int64_t begin, int64_t end) { product.rows(begin, end); });
}

std::tuple<Tensor, Tensor> signed_linear(const Tensor& d, const Tensor& weight) {
  if (is_half(d)) {
    constexpr ScalarType wide = ScalarType::Float;
    const auto [P, N] = signed_linear(in_dtype(d, wide), in_dtype(weight, wide));
    return {in_dtype(P, d.scalar_type()), in_dtype(N, d.scalar_type())};
  }
  const DenseOperands o = dense_operands(d, weight);
  const Tensor P = rows_like(d, o.outputs), N = rows_like(d, o.outputs);
  if (P.numel() == 0) return {P, N};
  if (d.scalar_type() == ScalarType::Double) {
    run_kernel([&] { multiply<double>(o, P, N); });
  } else {
    run_kernel([&] { multiply<float>(o, P, N); });
  }
  return {P, N};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CPU, m) { m.impl("signed_linear", TORCH_BOX(&signed_linear)); }

}  // namespace relprop
