#include <tuple>

#include "../operands.h"
#include "launch.h"
#include "signed_reveal_cancel.cuh"

namespace relprop {
namespace {

using namespace cuda;

template <int kPack, typename S, typename A, typename F>
void launch(const SignedRevealCancelArguments<S>& a, F f, A h, cudaStream_t stream) {
  const unsigned blocks = blocks_for((a.count + kPack - 1) / kPack);
  signed_reveal_cancel_kernel<kPack, S, A, F><<<blocks, kThreads, 0, stream>>>(a, f, h);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename S>
SignedRevealCancelArguments<S> arguments_of(const SignedRevealCancelOperands& o) {
  return {data_of<S>(o.positive),
          data_of<S>(o.negative),
          data_of<S>(o.x),
          data_of<S>(o.x0),
          data_of<S>(o.size),
          mutable_data_of<S>(o.u),
          mutable_data_of<S>(o.v),
          nullptr,
          o.x.numel(),
          o.x0.numel()};
}

// The size stands where rescale has its multiplier.
template <typename S>
SignedRevealCancelArguments<S> arguments_of(const RescaleOperands& o) {
  return {nullptr, nullptr, data_of<S>(o.x),           data_of<S>(o.x0), data_of<S>(o.multiplier),
          nullptr, nullptr, mutable_data_of<S>(o.m_x), o.x.numel(),      o.x0.numel()};
}

template <typename S>
bool all_aligned(const SignedRevealCancelArguments<S>& a) {
  return aligned(a.positive) && aligned(a.negative) && aligned(a.x) && aligned(a.x0) &&
         aligned(a.size) && aligned(a.u) && aligned(a.v) && aligned(a.size_of_y);
}

template <typename Operands>
void launch_all(const Operands& o, int64_t activation, const std::vector<double>& parameters) {
  const cudaStream_t stream = current_stream(o.x);
  const Parameters p = parameters_of(parameters);
  bool known = false;
  with_stored_type(o.x, [&](auto zero) {
    using S = decltype(zero);
    using A = typename Computed<S>::Type;
    const SignedRevealCancelArguments<S> a = arguments_of<S>(o);
    known = with_activation<A>(activation, p, [&](auto f) {
      const A h = rescale_threshold<A>();
      if (all_aligned(a)) return launch<kPackOf<S>>(a, f, h, stream);
      launch<1>(a, f, h, stream);
    });
  });
  STD_TORCH_CHECK(known, "no activation has the code ", activation);
}

using TwoTensors = std::tuple<Tensor, Tensor>;

TwoTensors signed_reveal_cancel(const Tensor& positive, const OptionalTensor& negative,
                                const Tensor& x, const Tensor& x0, const Tensor& size,
                                int64_t activation, const std::vector<double>& parameters) {
  if (x.numel() == 0) return {torch::stable::empty_like(x), torch::stable::empty_like(x)};
  const DeviceGuard guard(x.get_device_index());
  const auto o = signed_reveal_cancel_operands(positive, negative, x, x0, size);
  launch_all(o, activation, parameters);
  return {o.u, o.v};
}

Tensor reveal_cancel_size(const Tensor& x, const Tensor& x0, const Tensor& size, int64_t activation,
                          const std::vector<double>& parameters) {
  if (x.numel() == 0) return torch::stable::empty_like(x);
  const DeviceGuard guard(x.get_device_index());
  const RescaleOperands o = rescale_operands(size, x, x0);
  launch_all(o, activation, parameters);
  return o.m_x;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CUDA, m) {
  m.impl("signed_reveal_cancel", TORCH_BOX(&signed_reveal_cancel));
  m.impl("reveal_cancel_size", TORCH_BOX(&reveal_cancel_size));
}

}  // namespace relprop
