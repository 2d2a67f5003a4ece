// For Python: facts about this build, and timing loops around the kernels. It includes nothing of
// torch: the operators need no bindings, as torch's dispatcher calls them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cpu/clones.h"
#include "cpu/kernel_runner.h"

namespace py = pybind11;

// How setup.py configured the build.
#ifndef RELPROP_CUDA
#define RELPROP_CUDA "unknown"
#endif
#ifndef RELPROP_TORCH
#define RELPROP_TORCH "unknown"
#endif

namespace {

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#elif defined(_MSC_VER)
  return "MSVC " + std::to_string(_MSC_VER);
#else
  return "unknown";
#endif
}

// The clone of the loops in csrc/cpu that this processor gets.
std::string instruction_set() {
#if RELPROP_HAS_CLONES
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return "x86-64-v4 (AVX-512)";
  if (__builtin_cpu_supports("x86-64-v3")) return "x86-64-v3 (AVX2)";
  return "x86-64 (SSE2)";
#else
  return "the one that the compiler was told";
#endif
}

std::map<std::string, std::string> build_facts() {
  return {{"compiler", compiler()},
          {"cuda", RELPROP_CUDA},
          {"instruction set", instruction_set()},
          {"torch", RELPROP_TORCH}};
}

// Seconds of each of `rounds` calls, after one to warm up.
template <typename Body>
std::vector<double> seconds_of(int64_t rounds, const Body& body) {
  if (rounds < 1) throw std::invalid_argument("rounds must be at least 1");
  using Clock = std::chrono::steady_clock;
  std::vector<double> seconds(rounds);
  body();
  for (double& round : seconds) {
    const Clock::time_point begin = Clock::now();
    body();
    round = std::chrono::duration<double>(Clock::now() - begin).count();
  }
  return seconds;
}

using RunKernelsBy = void (*)(relprop::KernelRunner);

// While it lives, it runs the kernels that this thread's operators come to, and times them.
class TimingLoop {
 public:
  TimingLoop(RunKernelsBy run_kernels_by, int64_t rounds)
      : run_kernels_by_(run_kernels_by), rounds_(rounds) {
    run_kernels_by_({&TimingLoop::run, this});
  }
  TimingLoop(const TimingLoop&) = delete;
  TimingLoop& operator=(const TimingLoop&) = delete;
  ~TimingLoop() { run_kernels_by_({}); }

  std::vector<std::vector<double>> kernels;

 private:
  static void run(relprop::Kernel kernel, const void* operands, void* self) {
    TimingLoop& loop = *static_cast<TimingLoop*>(self);
    loop.kernels.push_back(seconds_of(loop.rounds_, [&] { kernel(operands); }));
  }

  RunKernelsBy run_kernels_by_;
  int64_t rounds_;
};

// What the call returns, and for each kernel that it came to the seconds of every round.
std::pair<py::object, std::vector<std::vector<double>>> time_kernels(uintptr_t run_kernels_by,
                                                                     const py::function& call,
                                                                     int64_t rounds) {
  TimingLoop loop(reinterpret_cast<RunKernelsBy>(run_kernels_by), rounds);
  py::object results = call();
  return {std::move(results), std::move(loop.kernels)};
}

// What kernels that only move memory are held against.
std::vector<double> time_copy(int64_t bytes, int64_t rounds) {
  if (bytes < 1) throw std::invalid_argument("a copy must have at least 1 byte");
  const std::vector<char> source(bytes, 1);
  std::vector<char> target(bytes, 2);
  // Volatile, else a compiler may see that nobody reads the copy.
  void* (*volatile copy)(void*, const void*, size_t) = std::memcpy;
  return seconds_of(rounds, [&] { copy(target.data(), source.data(), size_t(bytes)); });
}

}  // namespace

PYBIND11_MODULE(_bindings, m) {
  m.doc() = "Facts about how relprop's kernels were built, and what they take.";
  m.def("build_facts", &build_facts,
        "The compiler, the torch that the kernels were built against, the CUDA architectures "
        "compiled in (or why none), and the instruction set that this processor gets.");
  m.def("time_kernels", &time_kernels, py::arg("run_kernels_by"), py::arg("call"),
        py::arg("rounds"),
        "Call, and run each CPU kernel that this comes to once, and then so many times more, each "
        "of them timed; the first argument is the address of relprop_run_kernels_by.");
  m.def("time_copy", &time_copy, py::arg("bytes"), py::arg("rounds"),
        "Seconds that one thread takes to copy so many bytes, round by round.");
}
