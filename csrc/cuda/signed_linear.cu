#include <tuple>

#include "../dense_operands.h"
#include "launch.h"
#include "signed_linear.cuh"

namespace relprop {
namespace {

using namespace cuda;

template <typename S>
void launch(const DenseOperands& o, const Tensor& P, const Tensor& N, cudaStream_t stream) {
  const DenseArguments<S> a{data_of<S>(o.d), data_of<S>(o.weight), o.examples, o.inputs,
                            o.outputs,       o.weight_step};
  const int64_t warps = (o.examples + kExamples - 1) / kExamples * o.outputs;
  signed_linear_kernel<S><<<blocks_for(warps * kLanes), kThreads, 0, stream>>>(
      a, mutable_data_of<S>(P), mutable_data_of<S>(N));
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

std::tuple<Tensor, Tensor> signed_linear(const Tensor& d, const Tensor& weight) {
  const DeviceGuard guard(d.get_device_index());
  const DenseOperands o = dense_operands(d, weight);
  const Tensor P = rows_like(d, o.outputs), N = rows_like(d, o.outputs);
  if (P.numel() == 0) return {P, N};
  const cudaStream_t stream = current_stream(d);
  with_stored_type(d, [&](auto zero) { launch<decltype(zero)>(o, P, N, stream); });
  return {P, N};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CUDA, m) { m.impl("signed_linear", TORCH_BOX(&signed_linear)); }

}  // namespace relprop
