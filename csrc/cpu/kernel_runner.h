// Who runs the kernels: whoever calls an operator, or a timing loop in that caller's place, which
// gets a kernel with its operands ready and may run it as often as it likes.
//
// Free of torch and Python, as it stands between the library of kernels and the bindings.
#pragma once

#include <memory>

#if defined(_WIN32)
#define RELPROP_EXPORT __declspec(dllexport)
#else
#define RELPROP_EXPORT __attribute__((visibility("default")))
#endif

namespace relprop {

// A kernel, and what it works on. To run it again gives the same results in the same places.
using Kernel = void (*)(const void* operands);

struct KernelRunner {
  void (*run)(Kernel kernel, const void* operands, void* self) = nullptr;
  void* self = nullptr;
};

// The runner of this thread's kernels; none to begin with.
KernelRunner& kernel_runner();

template <typename Body>
void run_kernel(const Body& body) {
  const KernelRunner& runner = kernel_runner();
  if (runner.run == nullptr) return body();
  const Kernel kernel = [](const void* operands) { (*static_cast<const Body*>(operands))(); };
  runner.run(kernel, std::addressof(body), runner.self);
}

}  // namespace relprop

// Hands the kernels of operators that this thread will call to a runner; {} takes them back.
extern "C" RELPROP_EXPORT void relprop_run_kernels_by(relprop::KernelRunner runner);
