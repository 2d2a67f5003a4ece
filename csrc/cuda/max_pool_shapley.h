// Shapley max pooling on CUDA, for fixed and adaptive windows alike.
#pragma once

#include <tuple>

#include "../stable.h"
#include "../windows.h"

namespace relprop::cuda {

// The multiplier of x for the windows of `pool`; see relprop.ops.max_pool_shapley.
Tensor shapley(const Tensor& positive, const OptionalTensor& negative, const Tensor& x,
               const Tensor& x0, const Pool& pool);

// What rises and falls bring; see relprop.ops.max_pool_shapley_parts.
std::tuple<Tensor, Tensor> shapley_parts(const Tensor& x, const Tensor& x0, const Pool& pool);

}  // namespace relprop::cuda
