#include "../shapley_operands.h"
#include "launch.h"
#include "max_pool_shapley.cuh"
#include "max_pool_shapley.h"

namespace relprop {
namespace {

using namespace cuda;

// Windows of at most this many taps are solved in a thread's own memory.
constexpr int kShort = 16;

// What threads write down for every tap of every window, where they need it.
struct Scratch {
  OptionalTensor share, order, of_rise, of_fall;
};

Scratch scratch_for(const ShapleyOperands& o) {
  const int64_t size = o.positive.numel() * o.pool.taps();
  const auto empty = [&](ScalarType dtype) {
    return OptionalTensor(torch::stable::new_empty(o.x, {size}, dtype));
  };
  Scratch scratch;
  const bool shares = o.m_x.defined(), has_many = o.pool.taps() > kShort;
  if (shares) scratch.share = empty(is_half(o.x) ? ScalarType::Float : o.x.scalar_type());
  if (has_many) scratch.order = empty(ScalarType::Int);
  if (shares && has_many) {
    scratch.of_rise = empty(ScalarType::Double);
    scratch.of_fall = empty(ScalarType::Double);
  }
  return scratch;
}

template <typename V>
V* place_in(const OptionalTensor& t) {
  return t ? mutable_data_of<V>(*t) : nullptr;
}

template <typename S>
ShapleyArguments<S> arguments_of(const ShapleyOperands& o, const Scratch& scratch) {
  ShapleyArguments<S> a;
  a.positive = side_of<S>(o, o.positive);
  a.negative = side_of<S>(o, o.negative);
  a.x = data_of<S>(o.x);
  a.x0 = data_of<S>(o.x0);
  a.m_x = o.m_x.defined() ? mutable_data_of<S>(o.m_x) : nullptr;
  a.share = place_in<typename Computed<S>::Type>(scratch.share);
  a.order = place_in<int32_t>(scratch.order);
  a.of_rise = place_in<double>(scratch.of_rise);
  a.of_fall = place_in<double>(scratch.of_fall);
  a.positive_planes = o.positive_planes;
  a.negative_planes = o.negative_planes;
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
void launch(const ShapleyArguments<S>& a, cudaStream_t stream) {
  const int64_t planes = a.batch * a.channels;
  const unsigned blocks = blocks_for(planes * a.pool.outputs());
  if (a.pool.taps() <= kShort) {
    share_windows_kernel<kShort, S><<<blocks, kThreads, 0, stream>>>(a);
  } else {
    share_windows_kernel<0, S><<<blocks, kThreads, 0, stream>>>(a);
  }
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  if (a.m_x == nullptr) return;
  gather_shares_kernel<S><<<blocks_for(planes * a.pool.inputs()), kThreads, 0, stream>>>(a);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

void solve(const ShapleyOperands& o) {
  if (o.positive.numel() == 0) return;
  STD_TORCH_CHECK(o.pool.taps() <= std::numeric_limits<int32_t>::max(),
                  "a max pool's window may have at most 2^31 - 1 elements");
  const DeviceGuard guard(o.x.get_device_index());
  const Scratch scratch = scratch_for(o);
  const cudaStream_t stream = current_stream(o.x);
  with_stored_type(o.x,
                   [&](auto zero) { launch(arguments_of<decltype(zero)>(o, scratch), stream); });
}

}  // namespace

Tensor cuda::shapley(const Tensor& positive, const OptionalTensor& negative, const Tensor& x,
                     const Tensor& x0, const Pool& pool) {
  if (positive.numel() == 0) return torch::stable::fill_(torch::stable::empty_like(x), 0);
  const ShapleyOperands o = shapley_operands(positive, negative, x, x0, pool);
  solve(o);
  return like_input(o.x, o.m_x, x);
}

std::tuple<Tensor, Tensor> cuda::shapley_parts(const Tensor& x, const Tensor& x0,
                                               const Pool& pool) {
  const ShapleyOperands o = shapley_parts_operands(x, x0, pool);
  solve(o);
  return {o.positive, o.negative};
}

namespace {

Tensor max_pool_shapley(const Tensor& positive, const OptionalTensor& negative, const Tensor& x,
                        const Tensor& x0, const std::vector<int64_t>& kernel_size,
                        const std::vector<int64_t>& stride, const std::vector<int64_t>& padding,
                        const std::vector<int64_t>& dilation, bool) {
  return cuda::shapley(positive, negative, x, x0,
                       fixed_pool(positive, x, kernel_size, stride, padding, dilation));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CUDA, m) {
  m.impl("max_pool_shapley", TORCH_BOX(&max_pool_shapley));
}

}  // namespace relprop
