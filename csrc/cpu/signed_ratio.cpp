#include <tuple>

#include "../operands.h"
#include "../rules.h"
#include "clones.h"
#include "kernel_runner.h"
#include "periodic.h"
#include "relevance.h"

namespace relprop {
namespace {

// kApart: s goes to where z >= 0, and to below elsewhere.
template <Relevance kRelevance, bool kApart, typename T, typename F>
RELPROP_CLONES static void signed_ratio_loop(const T* __restrict multiplier,
                                             const T* __restrict amount, const T* __restrict z,
                                             const T* __restrict size, T* __restrict s,
                                             T* __restrict below, int64_t count, F f, T whole,
                                             T gamma, T epsilon) {
  for (int64_t i = 0; i < count; ++i) {
    const T R = relevance_at<kRelevance>(i, multiplier, amount, z, f);
    const T ratio = stabilized_ratio(R, signed_denominator(z[i], size[i], whole, gamma), epsilon);
    const bool here = !kApart || z[i] >= T(0);
    s[i] = here ? ratio : T(0);
    if (kApart) below[i] = here ? T(0) : ratio;
  }
}

template <bool kApart, typename T, typename F>
void signed_ratio_all(const SignedRatioOperands& o, F f) {
  const T *multiplier = data_of<T>(o.multiplier), *amount = data_of<T>(o.amount);
  const T *z = data_of<T>(o.z), *size = data_of<T>(o.size);
  T* s = mutable_data_of<T>(o.s);
  T* below = o.below ? mutable_data_of<T>(*o.below) : nullptr;
  with_relevance(multiplier, amount, [&](auto relevance) {
    torch::stable::parallel_for(0, o.z.numel(), kGrain, [&](int64_t begin, int64_t end) {
      const auto from = [begin](auto* t) { return t == nullptr ? nullptr : t + begin; };
      signed_ratio_loop<decltype(relevance)::value, kApart>(
          from(multiplier), from(amount), z + begin, size + begin, s + begin, from(below),
          end - begin, f, T(o.by.whole), T(o.by.gamma), T(o.by.epsilon));
    });
  });
}

void run(const SignedRatioOperands& o, int64_t activation, const std::vector<double>& parameters) {
  const Parameters p = parameters_of(parameters);
  const auto run_in = [&](auto zero) {
    using T = decltype(zero);
    return with_activation<T>(activation, p, [&](auto f) {
      run_kernel(
          [&] { o.below ? signed_ratio_all<true, T>(o, f) : signed_ratio_all<false, T>(o, f); });
    });
  };
  const bool known = o.z.scalar_type() == ScalarType::Double ? run_in(0.0) : run_in(0.0f);
  STD_TORCH_CHECK(known, "no activation has the code ", activation);
}

Tensor signed_ratio(const OptionalTensor& multiplier, const OptionalTensor& amount, const Tensor& z,
                    const Tensor& size, double whole, double gamma, double epsilon,
                    int64_t activation, const std::vector<double>& parameters) {
  if (is_half(z)) {
    constexpr ScalarType wide = ScalarType::Float;
    const Tensor s =
        signed_ratio(in_dtype(multiplier, wide), in_dtype(amount, wide), in_dtype(z, wide),
                     in_dtype(size, wide), whole, gamma, epsilon, activation, parameters);
    return in_dtype(s, z.scalar_type());
  }
  if (z.numel() == 0) return torch::stable::empty_like(z);
  const SignedRatioOperands o =
      signed_ratio_operands(multiplier, amount, z, size, {whole, gamma, epsilon}, false);
  run(o, activation, parameters);
  return o.s;
}

std::tuple<Tensor, Tensor> signed_ratio_apart(const OptionalTensor& multiplier,
                                              const OptionalTensor& amount, const Tensor& z,
                                              const Tensor& size, double whole, double gamma,
                                              double epsilon, int64_t activation,
                                              const std::vector<double>& parameters) {
  if (is_half(z)) {
    constexpr ScalarType wide = ScalarType::Float;
    const auto [above, below] =
        signed_ratio_apart(in_dtype(multiplier, wide), in_dtype(amount, wide), in_dtype(z, wide),
                           in_dtype(size, wide), whole, gamma, epsilon, activation, parameters);
    return {in_dtype(above, z.scalar_type()), in_dtype(below, z.scalar_type())};
  }
  if (z.numel() == 0) return {torch::stable::empty_like(z), torch::stable::empty_like(z)};
  const SignedRatioOperands o =
      signed_ratio_operands(multiplier, amount, z, size, {whole, gamma, epsilon}, true);
  run(o, activation, parameters);
  return {o.s, *o.below};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CPU, m) {
  m.impl("signed_ratio", TORCH_BOX(&signed_ratio));
  m.impl("signed_ratio_apart", TORCH_BOX(&signed_ratio_apart));
}

}  // namespace relprop
