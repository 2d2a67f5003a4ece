#include "../operands.h"
#include "launch.h"
#include "rescale.cuh"

namespace relprop {
namespace {

using namespace cuda;

template <int kPack, typename S, typename A, typename F>
void launch(const RescaleArguments<S>& a, F f, A h, cudaStream_t stream) {
  const unsigned blocks = blocks_for((a.count + kPack - 1) / kPack);
  rescale_kernel<kPack, S, A, F><<<blocks, kThreads, 0, stream>>>(a, f, h);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename S>
RescaleArguments<S> arguments_of(const RescaleOperands& o) {
  return {data_of<S>(o.multiplier),  data_of<S>(o.x), data_of<S>(o.x0),
          mutable_data_of<S>(o.m_x), o.x.numel(),     o.x0.numel()};
}

Tensor rescale(const Tensor& multiplier, const Tensor& x, const Tensor& x0, int64_t activation,
               const std::vector<double>& parameters) {
  if (x.numel() == 0) return torch::stable::empty_like(x);
  const DeviceGuard guard(x.get_device_index());
  const RescaleOperands o = rescale_operands(multiplier, x, x0);
  const cudaStream_t stream = current_stream(x);
  const Parameters p = parameters_of(parameters);
  bool known = false;
  with_stored_type(x, [&](auto zero) {
    using S = decltype(zero);
    using A = typename Computed<S>::Type;
    const RescaleArguments<S> a = arguments_of<S>(o);
    const bool packed = aligned(a.m_y) && aligned(a.x) && aligned(a.x0) && aligned(a.m_x);
    known = with_activation<A>(activation, p, [&](auto f) {
      const A h = rescale_threshold<A>();
      if (packed) return launch<kPackOf<S>>(a, f, h, stream);
      launch<1>(a, f, h, stream);
    });
  });
  STD_TORCH_CHECK(known, "no activation has the code ", activation);
  return o.m_x;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CUDA, m) { m.impl("rescale", TORCH_BOX(&rescale)); }

}  // namespace relprop
