// Marks a function that runs on the host and on the device, and is inlined in both.
//
// Inlining is forced, as the loops of csrc/cpu are compiled once for each instruction set, and a
// function that is called, not inlined, would be compiled for the oldest.
#pragma once

#if defined(__CUDACC__)
#define RELPROP_HD __host__ __device__ __forceinline__
#elif defined(__GNUC__)
#define RELPROP_HD inline __attribute__((always_inline))
#elif defined(_MSC_VER)
#define RELPROP_HD __forceinline
#else
#define RELPROP_HD inline
#endif
