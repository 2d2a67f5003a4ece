#include "../operands.h"
#include "clones.h"
#include "kernel_runner.h"
#include "periodic.h"
#include "shortcut_first.h"

namespace relprop {
namespace {

template <typename T, typename Way>
RELPROP_CLONES static Count<T> rescale_loop(const T* __restrict m_y, const T* __restrict x,
                                            const T* __restrict x0, T* __restrict m_x,
                                            int64_t count, Way way) {
  Count<T> left = 0;
  for (int64_t i = 0; i < count; ++i) {
    m_x[i] = m_y[i] * way.rescale_slope(x[i], x0[i]);
    left |= way.serves(x[i], x0[i]) ? 0 : 1;
  }
  return left;
}

template <typename T, typename F>
void rescale_all(const RescaleOperands& o, F f) {
  const T* m_y = data_of<T>(o.multiplier);
  const T* x = data_of<T>(o.x);
  T* m_x = mutable_data_of<T>(o.m_x);
  const T h = rescale_threshold<T>();
  const Periodic<T> baseline(data_of<T>(o.x0), o.x0.numel(), o.x.numel());
  torch::stable::parallel_for(0, o.x.numel(), kGrain, [&](int64_t begin, int64_t end) {
    baseline.for_each_run(begin, end, kBlock, [&](int64_t i, int64_t count, const T* x0) {
      shortcut_first(
          f, h, [&](auto way) { return rescale_loop(m_y + i, x + i, x0, m_x + i, count, way); });
    });
  });
}

Tensor rescale(const Tensor& multiplier, const Tensor& x, const Tensor& x0, int64_t activation,
               const std::vector<double>& parameters) {
  if (is_half(x)) {
    constexpr ScalarType wide = ScalarType::Float;
    const Tensor m_x = rescale(in_dtype(multiplier, wide), in_dtype(x, wide), in_dtype(x0, wide),
                               activation, parameters);
    return in_dtype(m_x, x.scalar_type());
  }
  if (x.numel() == 0) return torch::stable::empty_like(x);
  const RescaleOperands o = rescale_operands(multiplier, x, x0);
  const Parameters p = parameters_of(parameters);
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    return with_activation<T>(activation, p,
                              [&](auto f) { run_kernel([&] { rescale_all<T>(o, f); }); });
  };
  const bool known = x.scalar_type() == ScalarType::Double ? run(0.0) : run(0.0f);
  STD_TORCH_CHECK(known, "no activation has the code ", activation);
  return o.m_x;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CPU, m) { m.impl("rescale", TORCH_BOX(&rescale)); }

}  // namespace relprop
