#include "kernel_runner.h"

namespace relprop {

KernelRunner& kernel_runner() {
  static thread_local KernelRunner runner;
  return runner;
}

}  // namespace relprop

void relprop_run_kernels_by(relprop::KernelRunner runner) { relprop::kernel_runner() = runner; }
