#include "../pooling.h"
#include "max_pool_shapley.h"

namespace relprop {
namespace {

Tensor adaptive_max_pool_shapley(const Tensor& positive, const OptionalTensor& negative,
                                 const Tensor& x, const Tensor& x0) {
  return cuda::shapley(positive, negative, x, x0, adaptive_pool(positive, x));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CUDA, m) {
  m.impl("adaptive_max_pool_shapley", TORCH_BOX(&adaptive_max_pool_shapley));
}

}  // namespace relprop
