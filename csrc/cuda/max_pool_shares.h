// Max pooling backwards where several inputs of a window may get a part, on CUDA, for fixed and
// adaptive windows alike.
#pragma once

#include "../share_operands.h"
#include "launch.h"
#include "max_pool_shares.cuh"

namespace relprop::cuda {

template <typename S>
ShareArguments<S> share_arguments(const ShareOperands& o, const OptionalTensor& highest,
                                  const Tensor& share) {
  using A = typename Computed<S>::Type;
  ShareArguments<S> a;
  a.multiplier = data_of<S>(o.multiplier);
  a.amount = data_of<S>(o.amount);
  a.x = data_of<S>(o.x);
  a.m_x = mutable_data_of<S>(o.m_x);
  a.highest = highest ? mutable_data_of<A>(*highest) : nullptr;
  a.share = mutable_data_of<A>(share);
  a.epsilon = A(o.epsilon);
  a.multiplier_planes = o.multiplier_planes;
  a.amount_planes = o.amount_planes;
  a.x_planes = o.x_planes;
  a.m_x_planes = o.m_x_planes;
  a.pool = o.pool;
  a.batch = o.batch;
  a.channels = o.channels;
  a.channels_last = o.x_planes.channel == 1;
  return a;
}

template <typename Rule, typename S>
void launch_shares(const ShareArguments<S>& a, cudaStream_t stream) {
  // Windows with more taps than this get a warp each.
  constexpr int64_t kMostTapsOfThread = 64;
  constexpr int kWarp = 32;
  const int64_t windows = a.batch * a.channels * a.pool.outputs();
  const int64_t inputs = a.batch * a.channels * a.pool.inputs();
  if (a.pool.taps() <= kMostTapsOfThread) {
    find_shares_kernel<1, S, Rule><<<blocks_for(windows), kThreads, 0, stream>>>(a);
  } else {
    find_shares_kernel<kWarp, S, Rule><<<blocks_for(windows * kWarp), kThreads, 0, stream>>>(a);
  }
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  gather_window_shares_kernel<S, Rule><<<blocks_for(inputs), kThreads, 0, stream>>>(a);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

// The multiplier of x for the windows of `pool`, by a rule of window_shares.h.
template <typename Rule>
Tensor share(const OptionalTensor& multiplier, const OptionalTensor& amount, const Tensor& x,
             const Pool& pool, double epsilon) {
  const Tensor& windows = at_windows(multiplier, amount);
  if (windows.numel() == 0) return torch::stable::fill_(torch::stable::empty_like(x), 0);
  const DeviceGuard guard(x.get_device_index());
  const ShareOperands o = share_operands(multiplier, amount, x, pool, epsilon);
  const ScalarType computed = is_half(x) ? ScalarType::Float : x.scalar_type();
  const auto one_each = [&] { return torch::stable::new_empty(x, windows.sizes(), computed); };
  OptionalTensor highest;
  if (!Rule::kForAll) highest = one_each();
  const Tensor part = one_each();
  const cudaStream_t stream = current_stream(x);
  with_stored_type(x, [&](auto zero) {
    launch_shares<Rule>(share_arguments<decltype(zero)>(o, highest, part), stream);
  });
  return like_input(o.x, o.m_x, x);
}

}  // namespace relprop::cuda
