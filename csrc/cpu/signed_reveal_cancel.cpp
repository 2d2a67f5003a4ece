#include <tuple>

#include "../operands.h"
#include "clones.h"
#include "kernel_runner.h"
#include "periodic.h"
#include "shortcut_first.h"

namespace relprop {
namespace {

template <typename T, typename Way>
RELPROP_CLONES static Count<T> signed_reveal_cancel_loop(const T* __restrict positive,
                                                         const T* __restrict negative,
                                                         const T* __restrict x,
                                                         const T* __restrict r,
                                                         const T* __restrict size, T* __restrict u,
                                                         T* __restrict v, int64_t count, Way way) {
  Count<T> left = 0;
  for (int64_t i = 0; i < count; ++i) {
    const Parts<T> d = parts_of(x[i] - r[i], size[i]);
    const Parts<T> slopes = way.reveal_cancel_slopes(d.positive, d.negative, r[i], x[i]);
    const T rising = along_slope(positive[i], slopes.positive);
    const T falling = along_slope(negative[i], slopes.negative);
    u[i] = (rising + falling) / T(2);
    v[i] = (rising - falling) / T(2);
    left |= way.serves(d.positive, d.negative, r[i], x[i]) ? 0 : 1;
  }
  return left;
}

template <typename T, typename Way>
RELPROP_CLONES static Count<T> reveal_cancel_size_loop(const T* __restrict x, const T* __restrict r,
                                                       const T* __restrict size,
                                                       T* __restrict size_of_y, int64_t count,
                                                       Way way) {
  Count<T> left = 0;
  for (int64_t i = 0; i < count; ++i) {
    const Parts<T> d = parts_of(x[i] - r[i], size[i]);
    const Parts<T> slopes = way.reveal_cancel_slopes(d.positive, d.negative, r[i], x[i]);
    size_of_y[i] =
        along_slope(d.positive, slopes.positive) - along_slope(d.negative, slopes.negative);
    left |= way.serves(d.positive, d.negative, r[i], x[i]) ? 0 : 1;
  }
  return left;
}

// Calls body(first, count, baseline) for blocks of x's elements, in parallel.
template <typename T, typename Body>
void along_baseline(const Tensor& x, const Tensor& x0, const Body& body) {
  const Periodic<T> baseline(data_of<T>(x0), x0.numel(), x.numel());
  torch::stable::parallel_for(0, x.numel(), kGrain, [&](int64_t begin, int64_t end) {
    baseline.for_each_run(begin, end, kBlock, body);
  });
}

template <typename T, typename F>
void signed_reveal_cancel_all(const SignedRevealCancelOperands& o, F f) {
  const T* positive = data_of<T>(o.positive);
  const T* negative = data_of<T>(o.negative);
  const T* x = data_of<T>(o.x);
  const T* size = data_of<T>(o.size);
  T* u = mutable_data_of<T>(o.u);
  T* v = mutable_data_of<T>(o.v);
  const T h = rescale_threshold<T>();
  along_baseline<T>(o.x, o.x0, [&](int64_t i, int64_t count, const T* r) {
    shortcut_first(f, h, [&](auto way) {
      return signed_reveal_cancel_loop(positive + i, negative + i, x + i, r, size + i, u + i, v + i,
                                       count, way);
    });
  });
}

using TwoTensors = std::tuple<Tensor, Tensor>;

TwoTensors signed_reveal_cancel(const Tensor& positive, const OptionalTensor& negative,
                                const Tensor& x, const Tensor& x0, const Tensor& size,
                                int64_t activation, const std::vector<double>& parameters) {
  if (is_half(x)) {
    constexpr ScalarType wide = ScalarType::Float;
    const auto [u, v] =
        signed_reveal_cancel(in_dtype(positive, wide), in_dtype(negative, wide), in_dtype(x, wide),
                             in_dtype(x0, wide), in_dtype(size, wide), activation, parameters);
    return {in_dtype(u, x.scalar_type()), in_dtype(v, x.scalar_type())};
  }
  if (x.numel() == 0) return {torch::stable::empty_like(x), torch::stable::empty_like(x)};
  const auto o = signed_reveal_cancel_operands(positive, negative, x, x0, size);
  const Parameters p = parameters_of(parameters);
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    return with_activation<T>(
        activation, p, [&](auto f) { run_kernel([&] { signed_reveal_cancel_all<T>(o, f); }); });
  };
  const bool known = x.scalar_type() == ScalarType::Double ? run(0.0) : run(0.0f);
  STD_TORCH_CHECK(known, "no activation has the code ", activation);
  return {o.u, o.v};
}

template <typename T, typename F>
void reveal_cancel_size_all(const RescaleOperands& o, F f) {
  const T* size = data_of<T>(o.multiplier);
  const T* x = data_of<T>(o.x);
  T* size_of_y = mutable_data_of<T>(o.m_x);
  const T h = rescale_threshold<T>();
  along_baseline<T>(o.x, o.x0, [&](int64_t i, int64_t count, const T* r) {
    shortcut_first(f, h, [&](auto way) {
      return reveal_cancel_size_loop(x + i, r, size + i, size_of_y + i, count, way);
    });
  });
}

Tensor reveal_cancel_size(const Tensor& x, const Tensor& x0, const Tensor& size, int64_t activation,
                          const std::vector<double>& parameters) {
  if (is_half(x)) {
    constexpr ScalarType wide = ScalarType::Float;
    const Tensor size_of_y = reveal_cancel_size(in_dtype(x, wide), in_dtype(x0, wide),
                                                in_dtype(size, wide), activation, parameters);
    return in_dtype(size_of_y, x.scalar_type());
  }
  if (x.numel() == 0) return torch::stable::empty_like(x);
  const RescaleOperands o = rescale_operands(size, x, x0);
  const Parameters p = parameters_of(parameters);
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    return with_activation<T>(
        activation, p, [&](auto f) { run_kernel([&] { reveal_cancel_size_all<T>(o, f); }); });
  };
  const bool known = x.scalar_type() == ScalarType::Double ? run(0.0) : run(0.0f);
  STD_TORCH_CHECK(known, "no activation has the code ", activation);
  return o.m_x;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CPU, m) {
  m.impl("signed_reveal_cancel", TORCH_BOX(&signed_reveal_cancel));
  m.impl("reveal_cancel_size", TORCH_BOX(&reveal_cancel_size));
}

}  // namespace relprop
