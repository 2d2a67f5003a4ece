#include "../pooling.h"
#include "launch.h"
#include "max_pool_winner.cuh"
#include "max_pool_winner.h"

namespace relprop {
namespace {

using namespace cuda;

// Windows with more taps than this get a warp each.
constexpr int64_t kMostTapsOfThread = 64;
constexpr int kWarp = 32;

template <typename S>
PoolArguments<S> arguments_of(const PoolOperands& o, const Tensor& place, const Tensor& amount) {
  PoolArguments<S> a;
  a.multiplier = data_of<S>(o.multiplier);
  a.x = data_of<S>(o.x);
  a.x0 = data_of<S>(o.x0);
  a.m_x = mutable_data_of<S>(o.m_x);
  a.prize_place = mutable_data_of<int32_t>(place);
  a.prize_amount = mutable_data_of<typename Computed<S>::Type>(amount);
  a.multiplier_planes = o.multiplier_planes;
  a.x_planes = o.x_planes;
  a.x0_planes = o.x0_planes;
  a.m_x_planes = o.m_x_planes;
  a.pool = o.pool;
  a.batch = o.batch;
  a.channels = o.channels;
  a.channels_last = o.x_planes.channel == 1;
  return a;
}

template <typename S>
void launch(const PoolArguments<S>& a, cudaStream_t stream) {
  const int64_t windows = a.batch * a.channels * a.pool.outputs();
  const int64_t inputs = a.batch * a.channels * a.pool.inputs();
  if (a.pool.taps() <= kMostTapsOfThread) {
    find_prizes_kernel<1, S><<<blocks_for(windows), kThreads, 0, stream>>>(a);
  } else {
    find_prizes_kernel<kWarp, S><<<blocks_for(windows * kWarp), kThreads, 0, stream>>>(a);
  }
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  gather_prizes_kernel<S><<<blocks_for(inputs), kThreads, 0, stream>>>(a);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace

Tensor cuda::redistribute(const Tensor& multiplier, const Tensor& x, const OptionalTensor& x0,
                          const Pool& pool) {
  if (multiplier.numel() == 0) return torch::stable::fill_(torch::stable::empty_like(x), 0);
  STD_TORCH_CHECK(pool.inputs() <= std::numeric_limits<int32_t>::max(),
                  "a max pool's plane may have at most 2^31 - 1 elements");
  const DeviceGuard guard(x.get_device_index());
  const PoolOperands o = pool_operands(multiplier, x, x0, pool);
  const ScalarType computed = is_half(x) ? ScalarType::Float : x.scalar_type();
  const Tensor place = torch::stable::new_empty(x, multiplier.sizes(), ScalarType::Int);
  const Tensor amount = torch::stable::new_empty(x, multiplier.sizes(), computed);
  const cudaStream_t stream = current_stream(x);
  with_stored_type(
      x, [&](auto zero) { launch(arguments_of<decltype(zero)>(o, place, amount), stream); });
  return like_input(o, x);
}

namespace {

Tensor max_pool_winner(const Tensor& multiplier, const Tensor& x, const OptionalTensor& x0,
                       const std::vector<int64_t>& kernel_size, const std::vector<int64_t>& stride,
                       const std::vector<int64_t>& padding, const std::vector<int64_t>& dilation,
                       bool) {
  return cuda::redistribute(multiplier, x, x0,
                            fixed_pool(multiplier, x, kernel_size, stride, padding, dilation));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CUDA, m) {
  m.impl("max_pool_winner", TORCH_BOX(&max_pool_winner));
}

}  // namespace relprop
