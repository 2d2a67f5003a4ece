#include <tuple>

#include "../operands.h"
#include "launch.h"
#include "reveal_cancel.cuh"

namespace relprop {
namespace {

using namespace cuda;

template <int kPack, typename S, typename A, typename F>
void launch(const RevealCancelArguments<S>& a, F f, A h, cudaStream_t stream) {
  const unsigned blocks = blocks_for((a.count + kPack - 1) / kPack);
  reveal_cancel_kernel<kPack, S, A, F><<<blocks, kThreads, 0, stream>>>(a, f, h);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename S>
RevealCancelArguments<S> arguments_of(const RevealCancelOperands& o) {
  return {data_of<S>(o.positive),
          data_of<S>(o.negative),
          data_of<S>(o.P),
          data_of<S>(o.N),
          data_of<S>(o.x0),
          data_of<S>(o.x),
          mutable_data_of<S>(o.m_positive),
          mutable_data_of<S>(o.m_negative),
          o.P.numel(),
          o.x0.numel()};
}

template <typename S>
bool all_aligned(const RevealCancelArguments<S>& a) {
  return aligned(a.positive) && aligned(a.negative) && aligned(a.P) && aligned(a.N) &&
         aligned(a.x0) && aligned(a.x) && aligned(a.m_positive) && aligned(a.m_negative);
}

using TwoTensors = std::tuple<Tensor, Tensor>;

TwoTensors reveal_cancel(const Tensor& positive, const Tensor& negative, const Tensor& P,
                         const Tensor& N, const Tensor& x0, const OptionalTensor& x,
                         int64_t activation, const std::vector<double>& parameters) {
  if (P.numel() == 0) return {torch::stable::empty_like(P), torch::stable::empty_like(P)};
  const DeviceGuard guard(P.get_device_index());
  const RevealCancelOperands o = reveal_cancel_operands(positive, negative, P, N, x0, x);
  const cudaStream_t stream = current_stream(P);
  const Parameters p = parameters_of(parameters);
  bool known = false;
  with_stored_type(P, [&](auto zero) {
    using S = decltype(zero);
    using A = typename Computed<S>::Type;
    const RevealCancelArguments<S> a = arguments_of<S>(o);
    known = with_activation<A>(activation, p, [&](auto f) {
      const A h = rescale_threshold<A>();
      if (all_aligned(a)) return launch<kPackOf<S>>(a, f, h, stream);
      launch<1>(a, f, h, stream);
    });
  });
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

STABLE_TORCH_LIBRARY_IMPL(relprop, CUDA, m) {
  m.impl("reveal_cancel", TORCH_BOX(&reveal_cancel));
  m.impl("reveal_cancel_parts", TORCH_BOX(&reveal_cancel_parts));
}

}  // namespace relprop
