// Max pooling backwards on the CPU, for fixed and adaptive windows alike.
#pragma once

#include "../stable.h"
#include "../windows.h"

namespace relprop::cpu {

// The multiplier of x for the windows of `pool`; see relprop.ops.max_pool_winner.
Tensor redistribute(const Tensor& multiplier, const Tensor& x, const OptionalTensor& x0,
                    const Pool& pool);

}  // namespace relprop::cpu
