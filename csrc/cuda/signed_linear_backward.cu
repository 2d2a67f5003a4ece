#include "../dense_operands.h"
#include "launch.h"
#include "signed_linear.cuh"

namespace relprop {
namespace {

using namespace cuda;

// Rows whose sum one thread makes for a column.
constexpr int64_t kRows = 128;

template <typename S>
void launch(const DenseOperands& o, const Tensor& positive, const Tensor& negative, const Tensor& m,
            cudaStream_t stream) {
  using A = typename Computed<S>::Type;
  const DenseArguments<S> a{data_of<S>(o.d), data_of<S>(o.weight), o.examples, o.inputs,
                            o.outputs,       o.weight_step};
  const int64_t row_groups = (o.outputs + kRows - 1) / kRows;
  const ScalarType computed = is_half(m) ? ScalarType::Float : m.scalar_type();
  const Tensor sums = torch::stable::new_empty(m, {row_groups * m.numel()}, computed);
  const int64_t threads = row_groups * ((o.examples + kExamples - 1) / kExamples) * o.inputs;
  add_row_groups_kernel<S><<<blocks_for(threads), kThreads, 0, stream>>>(
      a, data_of<S>(positive), data_of<S>(negative), kRows, row_groups, mutable_data_of<A>(sums));
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  add_sums_kernel<S><<<blocks_for(m.numel()), kThreads, 0, stream>>>(
      data_of<A>(sums), row_groups, m.numel(), mutable_data_of<S>(m));
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

Tensor signed_linear_backward(const Tensor& positive, const Tensor& negative, const Tensor& d,
                              const Tensor& weight) {
  const DeviceGuard guard(d.get_device_index());
  const DenseOperands o = dense_operands(d, weight);
  const Tensor m = rows_like(d, o.inputs);
  if (m.numel() == 0) return m;
  const Tensor p = torch::stable::contiguous(positive), n = torch::stable::contiguous(negative);
  const cudaStream_t stream = current_stream(d);
  with_stored_type(d, [&](auto zero) { launch<decltype(zero)>(o, p, n, m, stream); });
  return m;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CUDA, m) {
  m.impl("signed_linear_backward", TORCH_BOX(&signed_linear_backward));
}

}  // namespace relprop
