#include "../pooling.h"
#include "max_pool_shapley.h"

namespace relprop {
namespace {

std::tuple<Tensor, Tensor> max_pool_shapley_parts(const Tensor& x, const Tensor& x0,
                                                  const std::vector<int64_t>& kernel_size,
                                                  const std::vector<int64_t>& stride,
                                                  const std::vector<int64_t>& padding,
                                                  const std::vector<int64_t>& dilation,
                                                  bool ceil_mode) {
  const std::vector<int64_t> size =
      pooled_size(x, kernel_size, stride, padding, dilation, ceil_mode);
  return cuda::shapley_parts(x, x0, fixed_pool(size, x, kernel_size, stride, padding, dilation));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CUDA, m) {
  m.impl("max_pool_shapley_parts", TORCH_BOX(&max_pool_shapley_parts));
}

}  // namespace relprop
