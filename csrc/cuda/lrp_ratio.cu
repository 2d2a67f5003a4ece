#include "../operands.h"
#include "launch.h"
#include "lrp_ratio.cuh"

namespace relprop {
namespace {

using namespace cuda;

template <int kPack, typename S, typename A, typename F>
void launch(const RatioArguments<S>& a, F f, A epsilon, cudaStream_t stream) {
  const unsigned blocks = blocks_for((a.count + kPack - 1) / kPack);
  lrp_ratio_kernel<kPack, S, A, F><<<blocks, kThreads, 0, stream>>>(a, f, epsilon);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename S>
RatioArguments<S> arguments_of(const RatioOperands& o) {
  return {data_of<S>(o.multiplier),
          data_of<S>(o.amount),
          data_of<S>(o.z),
          data_of<S>(o.denominator),
          data_of<S>(o.bias),
          mutable_data_of<S>(o.s),
          o.z.numel(),
          o.inner,
          o.channels};
}

Tensor lrp_ratio(const OptionalTensor& multiplier, const OptionalTensor& amount, const Tensor& z,
                 const OptionalTensor& denominator, const OptionalTensor& bias, double epsilon,
                 int64_t channel_dim, int64_t activation, const std::vector<double>& parameters) {
  STD_TORCH_CHECK(multiplier || amount, "lrp_ratio needs a multiplier or an amount");
  if (z.numel() == 0) return torch::stable::empty_like(z);
  const DeviceGuard guard(z.get_device_index());
  const RatioOperands o = ratio_operands(multiplier, amount, z, denominator, bias, channel_dim);
  const cudaStream_t stream = current_stream(z);
  const Parameters p = parameters_of(parameters);
  bool known = false;
  with_stored_type(z, [&](auto zero) {
    using S = decltype(zero);
    using A = typename Computed<S>::Type;
    const RatioArguments<S> a = arguments_of<S>(o);
    const bool packed = aligned(a.multiplier) && aligned(a.amount) && aligned(a.z) &&
                        aligned(a.denominator) && aligned(a.s);
    known = with_activation<A>(activation, p, [&](auto f) {
      if (packed) return launch<kPackOf<S>>(a, f, A(epsilon), stream);
      launch<1>(a, f, A(epsilon), stream);
    });
  });
  STD_TORCH_CHECK(known, "no activation has the code ", activation);
  return o.s;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CUDA, m) { m.impl("lrp_ratio", TORCH_BOX(&lrp_ratio)); }

}  // namespace relprop
