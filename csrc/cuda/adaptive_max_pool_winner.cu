#include "../pooling.h"
#include "max_pool_winner.h"

namespace relprop {
namespace {

Tensor adaptive_max_pool_winner(const Tensor& multiplier, const Tensor& x,
                                const OptionalTensor& x0) {
  return cuda::redistribute(multiplier, x, x0, adaptive_pool(multiplier, x));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CUDA, m) {
  m.impl("adaptive_max_pool_winner", TORCH_BOX(&adaptive_max_pool_winner));
}

}  // namespace relprop
