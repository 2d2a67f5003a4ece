#include "max_pool_shares.h"

namespace relprop {
namespace {

Tensor shared(const Tensor& multiplier, const Tensor& x, const Pool& pool) {
  return cpu::share<SharedByMaxima>(multiplier, std::nullopt, x, pool, 0);
}

Tensor max_pool_shared(const Tensor& multiplier, const Tensor& x,
                       const std::vector<int64_t>& kernel_size, const std::vector<int64_t>& stride,
                       const std::vector<int64_t>& padding, const std::vector<int64_t>& dilation,
                       bool) {
  return shared(multiplier, x, fixed_pool(multiplier, x, kernel_size, stride, padding, dilation));
}

Tensor adaptive_max_pool_shared(const Tensor& multiplier, const Tensor& x) {
  return shared(multiplier, x, adaptive_pool(multiplier, x));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CPU, m) {
  m.impl("max_pool_shared", TORCH_BOX(&max_pool_shared));
  m.impl("adaptive_max_pool_shared", TORCH_BOX(&adaptive_max_pool_shared));
}

}  // namespace relprop
