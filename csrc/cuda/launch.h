// Where and how kernels run: on the tensor's device, on torch's current stream, without waiting.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "../stable.h"

namespace relprop::cuda {

constexpr int kThreads = 256;

// Enough blocks for one thread an item; kernels loop where there are more items than that.
inline unsigned blocks_for(int64_t items) {
  constexpr int64_t kMost = int64_t(1) << 20;
  return unsigned(std::clamp<int64_t>((items + kThreads - 1) / kThreads, 1, kMost));
}

inline cudaStream_t current_stream(const Tensor& t) {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

using torch::stable::accelerator::DeviceGuard;

// Calls body with a zero of the type that the tensor's elements are stored in.
template <typename Body>
void with_stored_type(const Tensor& t, const Body& body) {
  switch (t.scalar_type()) {
    case ScalarType::Float:
      return body(float(0));
    case ScalarType::Double:
      return body(double(0));
    case ScalarType::Half:
      return body(__half(0.0f));
    case ScalarType::BFloat16:
      return body(__nv_bfloat16(0.0f));
    default:
      STD_TORCH_CHECK(false, "expected float32, float64, float16 or bfloat16");
  }
}

// Packs are 16 bytes, and need pointers to multiples of that.
template <typename S>
constexpr int kPackOf = 16 / int(sizeof(S));

inline bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace relprop::cuda
