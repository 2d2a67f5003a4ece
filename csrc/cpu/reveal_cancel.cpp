#include <tuple>

#include "../operands.h"
#include "clones.h"
#include "kernel_runner.h"
#include "periodic.h"
#include "shortcut_first.h"

namespace relprop {
namespace {

// x, or r + P + N where it is not given. Sums in a pass of their own would wait for the memory that
// the arithmetic of the other pass then does not hide.
template <bool kGiven, typename T, typename Way>
RELPROP_CLONES static Count<T> reveal_cancel_loop(
    const T* __restrict positive, const T* __restrict negative, const T* __restrict P,
    const T* __restrict N, const T* __restrict r, const T* __restrict x, T* __restrict m_positive,
    T* __restrict m_negative, int64_t count, Way way) {
  Count<T> left = 0;
  for (int64_t i = 0; i < count; ++i) {
    const T end = kGiven ? x[i] : r[i] + (P[i] + N[i]);
    const Parts<T> slopes = way.reveal_cancel_slopes(P[i], N[i], r[i], end);
    m_positive[i] = along_slope(positive[i], slopes.positive);
    m_negative[i] = along_slope(negative[i], slopes.negative);
    left |= way.serves(P[i], N[i], r[i], end) ? 0 : 1;
  }
  return left;
}

template <bool kGiven, typename T, typename F>
void reveal_cancel_all(const RevealCancelOperands& o, F f) {
  const T* positive = data_of<T>(o.positive);
  const T* negative = data_of<T>(o.negative);
  const T* P = data_of<T>(o.P);
  const T* N = data_of<T>(o.N);
  const T* x = data_of<T>(o.x);
  T* m_positive = mutable_data_of<T>(o.m_positive);
  T* m_negative = mutable_data_of<T>(o.m_negative);
  const T h = rescale_threshold<T>();
  const Periodic<T> baseline(data_of<T>(o.x0), o.x0.numel(), o.P.numel());
  torch::stable::parallel_for(0, o.P.numel(), kGrain, [&](int64_t begin, int64_t end) {
    baseline.for_each_run(begin, end, kBlock, [&](int64_t i, int64_t count, const T* r) {
      shortcut_first(f, h, [&](auto way) {
        return reveal_cancel_loop<kGiven>(positive + i, negative + i, P + i, N + i, r,
                                          kGiven ? x + i : nullptr, m_positive + i, m_negative + i,
                                          count, way);
      });
    });
  });
}

using TwoTensors = std::tuple<Tensor, Tensor>;

TwoTensors reveal_cancel(const Tensor& positive, const Tensor& negative, const Tensor& P,
                         const Tensor& N, const Tensor& x0, const OptionalTensor& x,
                         int64_t activation, const std::vector<double>& parameters) {
  if (is_half(P)) {
    constexpr ScalarType wide = ScalarType::Float;
    const auto [m_positive, m_negative] = reveal_cancel(
        in_dtype(positive, wide), in_dtype(negative, wide), in_dtype(P, wide), in_dtype(N, wide),
        in_dtype(x0, wide), in_dtype(x, wide), activation, parameters);
    return {in_dtype(m_positive, P.scalar_type()), in_dtype(m_negative, P.scalar_type())};
  }
  if (P.numel() == 0) return {torch::stable::empty_like(P), torch::stable::empty_like(P)};
  const RevealCancelOperands o = reveal_cancel_operands(positive, negative, P, N, x0, x);
  const Parameters p = parameters_of(parameters);
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    return with_activation<T>(activation, p, [&](auto f) {
      if (o.x) return run_kernel([&] { reveal_cancel_all<true, T>(o, f); });
      run_kernel([&] { reveal_cancel_all<false, T>(o, f); });
    });
  };
  const bool known = P.scalar_type() == ScalarType::Double ? run(0.0) : run(0.0f);
  STD_TORCH_CHECK(known, "no activation has the code ", activation);
  return {o.m_positive, o.m_negative};
}

// y+ = P * (y+ / P): the parts are what the multipliers 1 would bring.
TwoTensors reveal_cancel_parts(const Tensor& P, const Tensor& N, const Tensor& x0,
                               const OptionalTensor& x, int64_t activation,
                               const std::vector<double>& parameters) {
  return reveal_cancel(P, N, P, N, x0, x, activation, parameters);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CPU, m) {
  m.impl("reveal_cancel", TORCH_BOX(&reveal_cancel));
  m.impl("reveal_cancel_parts", TORCH_BOX(&reveal_cancel_parts));
}

}  // namespace relprop
