// Facts about this build, for Python. It includes nothing of torch: the operators need no bindings,
// as torch's dispatcher calls them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <string>

#include "cpu/clones.h"

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

}  // namespace

PYBIND11_MODULE(_bindings, m) {
  m.doc() = "Facts about how relprop's kernels were built.";
  m.def("build_facts", &build_facts,
        "The compiler, the torch that the kernels were built against, the CUDA architectures "
        "compiled in (or why none), and the instruction set that this processor gets.");
}
