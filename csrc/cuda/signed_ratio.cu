#include <tuple>

#include "../operands.h"
#include "launch.h"
#include "signed_ratio.cuh"

namespace relprop {
namespace {

using namespace cuda;

template <int kPack, typename S, typename A, typename F>
void launch(const SignedRatioArguments<S>& a, F f, const SignedRatioFactors<A>& by,
            cudaStream_t stream) {
  const unsigned blocks = blocks_for((a.count + kPack - 1) / kPack);
  signed_ratio_kernel<kPack, S, A, F><<<blocks, kThreads, 0, stream>>>(a, f, by);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename S>
SignedRatioArguments<S> arguments_of(const SignedRatioOperands& o) {
  return {data_of<S>(o.multiplier),
          data_of<S>(o.amount),
          data_of<S>(o.z),
          data_of<S>(o.size),
          mutable_data_of<S>(o.s),
          o.below ? mutable_data_of<S>(*o.below) : nullptr,
          o.z.numel()};
}

template <typename S>
bool all_aligned(const SignedRatioArguments<S>& a) {
  return aligned(a.multiplier) && aligned(a.amount) && aligned(a.z) && aligned(a.size) &&
         aligned(a.s) && aligned(a.below);
}

void run(const SignedRatioOperands& o, int64_t activation, const std::vector<double>& parameters) {
  const cudaStream_t stream = current_stream(o.z);
  const Parameters p = parameters_of(parameters);
  bool known = false;
  with_stored_type(o.z, [&](auto zero) {
    using S = decltype(zero);
    using A = typename Computed<S>::Type;
    const SignedRatioArguments<S> a = arguments_of<S>(o);
    const SignedRatioFactors<A> by{A(o.by.whole), A(o.by.gamma), A(o.by.epsilon)};
    known = with_activation<A>(activation, p, [&](auto f) {
      if (all_aligned(a)) return launch<kPackOf<S>>(a, f, by, stream);
      launch<1>(a, f, by, stream);
    });
  });
  STD_TORCH_CHECK(known, "no activation has the code ", activation);
}

Tensor signed_ratio(const OptionalTensor& multiplier, const OptionalTensor& amount, const Tensor& z,
                    const Tensor& size, double whole, double gamma, double epsilon,
                    int64_t activation, const std::vector<double>& parameters) {
  if (z.numel() == 0) return torch::stable::empty_like(z);
  const DeviceGuard guard(z.get_device_index());
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
  if (z.numel() == 0) return {torch::stable::empty_like(z), torch::stable::empty_like(z)};
  const DeviceGuard guard(z.get_device_index());
  const SignedRatioOperands o =
      signed_ratio_operands(multiplier, amount, z, size, {whole, gamma, epsilon}, true);
  run(o, activation, parameters);
  return {o.s, *o.below};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CUDA, m) {
  m.impl("signed_ratio", TORCH_BOX(&signed_ratio));
  m.impl("signed_ratio_apart", TORCH_BOX(&signed_ratio_apart));
}

}  // namespace relprop
