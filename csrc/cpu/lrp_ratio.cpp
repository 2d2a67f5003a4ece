#include "../operands.h"
#include "../rules.h"
#include "clones.h"
#include "kernel_runner.h"
#include "periodic.h"
#include "relevance.h"

namespace relprop {
namespace {

// How bias meets the elements of one loop: one value for all of them, or one for each.
enum class Bias { kOne, kEach };

template <Relevance kRelevance, Bias kBias, typename T, typename F>
RELPROP_CLONES static void ratio_loop(const T* __restrict multiplier, const T* __restrict amount,
                                      const T* __restrict z, const T* __restrict denominator,
                                      const T* __restrict bias, T* __restrict s, int64_t count, F f,
                                      T epsilon) {
  for (int64_t i = 0; i < count; ++i) {
    const T R = relevance_at<kRelevance>(i, multiplier, amount, z, f);
    const T d = denominator[i] - (kBias == Bias::kOne ? bias[0] : bias[i]);
    s[i] = stabilized_ratio(R, d, epsilon);
  }
}

// The loop over elements [first, first + count), whatever of the operands is given.
template <typename T, typename F>
struct Ratio {
  const T* multiplier;
  const T* amount;
  const T* z;
  const T* denominator;
  T* s;
  F f;
  T epsilon;

  template <Relevance kRelevance, Bias kBias>
  void loop(int64_t first, int64_t count, const T* bias) const {
    const auto from = [first](const T* t) { return t == nullptr ? nullptr : t + first; };
    ratio_loop<kRelevance, kBias>(from(multiplier), from(amount), z + first, denominator + first,
                                  bias, s + first, count, f, epsilon);
  }

  template <Bias kBias>
  void run(int64_t first, int64_t count, const T* bias) const {
    with_relevance(multiplier, amount, [&](auto relevance) {
      loop<decltype(relevance)::value, kBias>(first, count, bias);
    });
  }
};

// Channels whose elements lie in runs at least this long get one bias a run.
constexpr int64_t kLongRun = 512;

template <typename T, typename F>
void ratio_by_runs(const Ratio<T, F>& ratio, const T* bias, const RatioOperands& o) {
  torch::stable::parallel_for(0, o.z.numel(), kGrain, [&](int64_t begin, int64_t end) {
    int64_t run = begin / o.inner;
    while (begin < end) {
      const int64_t next = std::min(end, (run + 1) * o.inner);
      ratio.template run<Bias::kOne>(begin, next - begin, bias + run % o.channels);
      begin = next;
      ++run;
    }
  });
}

template <typename T, typename F>
void ratio_by_period(const Ratio<T, F>& ratio, const T* bias, const RatioOperands& o) {
  std::vector<T> pattern(o.channels * o.inner);
  for (int64_t i = 0; i < int64_t(pattern.size()); ++i) pattern[i] = bias[i / o.inner];
  const Periodic<T> periodic(pattern.data(), int64_t(pattern.size()), o.z.numel());
  torch::stable::parallel_for(0, o.z.numel(), kGrain, [&](int64_t begin, int64_t end) {
    periodic.for_each_run(begin, end, end - begin,
                          [&](int64_t first, int64_t count, const T* biases) {
                            ratio.template run<Bias::kEach>(first, count, biases);
                          });
  });
}

template <typename T, typename F>
void ratio_all(const RatioOperands& o, F f, double epsilon) {
  const Ratio<T, F> ratio{data_of<T>(o.multiplier),
                          data_of<T>(o.amount),
                          data_of<T>(o.z),
                          data_of<T>(o.denominator),
                          mutable_data_of<T>(o.s),
                          f,
                          T(epsilon)};
  if (o.bias && o.inner >= kLongRun) return ratio_by_runs(ratio, data_of<T>(*o.bias), o);
  if (o.bias) return ratio_by_period(ratio, data_of<T>(*o.bias), o);
  const T no_bias = 0;
  torch::stable::parallel_for(0, o.z.numel(), kGrain, [&](int64_t begin, int64_t end) {
    ratio.template run<Bias::kOne>(begin, end - begin, &no_bias);
  });
}

Tensor lrp_ratio(const OptionalTensor& multiplier, const OptionalTensor& amount, const Tensor& z,
                 const OptionalTensor& denominator, const OptionalTensor& bias, double epsilon,
                 int64_t channel_dim, int64_t activation, const std::vector<double>& parameters) {
  if (is_half(z)) {
    constexpr ScalarType wide = ScalarType::Float;
    const Tensor s = lrp_ratio(in_dtype(multiplier, wide), in_dtype(amount, wide),
                               in_dtype(z, wide), in_dtype(denominator, wide), in_dtype(bias, wide),
                               epsilon, channel_dim, activation, parameters);
    return in_dtype(s, z.scalar_type());
  }
  STD_TORCH_CHECK(multiplier || amount, "lrp_ratio needs a multiplier or an amount");
  if (z.numel() == 0) return torch::stable::empty_like(z);
  const RatioOperands o = ratio_operands(multiplier, amount, z, denominator, bias, channel_dim);
  const Parameters p = parameters_of(parameters);
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    return with_activation<T>(activation, p,
                              [&](auto f) { run_kernel([&] { ratio_all<T>(o, f, epsilon); }); });
  };
  const bool known = z.scalar_type() == ScalarType::Double ? run(0.0) : run(0.0f);
  STD_TORCH_CHECK(known, "no activation has the code ", activation);
  return o.s;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CPU, m) { m.impl("lrp_ratio", TORCH_BOX(&lrp_ratio)); }

}  // namespace relprop
