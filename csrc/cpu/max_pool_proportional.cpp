#include "max_pool_shares.h"

namespace relprop {
namespace {

Tensor max_pool_proportional(const OptionalTensor& multiplier, const OptionalTensor& amount,
                             const Tensor& x, const std::vector<int64_t>& kernel_size,
                             const std::vector<int64_t>& stride,
                             const std::vector<int64_t>& padding,
                             const std::vector<int64_t>& dilation, bool, double epsilon) {
  const Pool pool =
      fixed_pool(at_windows(multiplier, amount), x, kernel_size, stride, padding, dilation);
  return cpu::share<SharedByValue>(multiplier, amount, x, pool, epsilon);
}

Tensor adaptive_max_pool_proportional(const OptionalTensor& multiplier,
                                      const OptionalTensor& amount, const Tensor& x,
                                      double epsilon) {
  const Pool pool = adaptive_pool(at_windows(multiplier, amount), x);
  return cpu::share<SharedByValue>(multiplier, amount, x, pool, epsilon);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CPU, m) {
  m.impl("max_pool_proportional", TORCH_BOX(&max_pool_proportional));
  m.impl("adaptive_max_pool_proportional", TORCH_BOX(&adaptive_max_pool_proportional));
}

}  // namespace relprop
