#include "../pooling.h"
#include "max_pool_shapley.h"

namespace relprop {
namespace {

std::tuple<Tensor, Tensor> adaptive_max_pool_shapley_parts(
    const Tensor& x, const Tensor& x0, const std::vector<int64_t>& output_size) {
  return cuda::shapley_parts(x, x0, adaptive_pool(output_size, x));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CUDA, m) {
  m.impl("adaptive_max_pool_shapley_parts", TORCH_BOX(&adaptive_max_pool_shapley_parts));
}

}  // namespace relprop
