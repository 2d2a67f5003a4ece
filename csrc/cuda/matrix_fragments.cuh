// Matrices on tensor cores: a warp multiplies 16 rows by 8 columns along 8 words.
//
// A word is one number in TF32, or two in bfloat16 that follow one another along the sum; so both
// types lie alike. Of a warp, thread 4g + c holds
//
//   of A, 16 rows of 8 words     a0 (g, c), a1 (g + 8, c), a2 (g, c + 4), a3 (g + 8, c + 4)
//   of B, 8 columns of 8 words   b0 (g, c), b1 (g, c + 4)
//   of the sums, 16 by 8         (g, 2c), (g, 2c + 1), (g + 8, 2c), (g + 8, 2c + 1)
//
// (PTX ISA, "Matrix fragments for mma.m16n8k8" and "mma.m16n8k16"). A test that runs kernels on the
// host has its own `to_tf32` and `multiply_fragments`, with a warp's 32 threads behind them.
#pragma once

#include <cstdint>
#include <cstring>

#include "packs.cuh"

namespace relprop::cuda {

constexpr int kWarpThreads = 32;
constexpr int kFragmentRows = 16, kFragmentColumns = 8, kFragmentWords = 8;

// Numbers of type S in a word, as tensor cores take them.
template <typename S>
constexpr int kOfWord = 4 / int(sizeof(S));

#if defined(__CUDACC__)

// The nearest number of 10 bits after the point; of two, the one farther from 0.
__device__ inline uint32_t to_tf32(float x) {
  uint32_t word = 0;
#if __CUDA_ARCH__ >= 800
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(x));
#endif
  return word;
}

// sum += a b^T for one fragment of each, of numbers of type S.
template <typename S>
__device__ inline void multiply_fragment(const uint32_t (&a)[4], const uint32_t (&b)[2],
                                         float (&sum)[4]) {
#if __CUDA_ARCH__ < 800
  __trap();  // never launched there: such a GPU has no tensor cores for these types
#else
  if constexpr (kOfWord<S> == 1) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
#endif
}

// sum += A B^T, of so many fragments one below the other and side by side.
template <typename S, int kDown, int kAcross>
__device__ inline void multiply_fragments(const uint32_t (&a)[kDown][4],
                                          const uint32_t (&b)[kAcross][2],
                                          float (&sum)[kDown][kAcross][4]) {
#pragma unroll
  for (int i = 0; i < kDown; ++i) {
#pragma unroll
    for (int j = 0; j < kAcross; ++j) multiply_fragment<S>(a[i], b[j], sum[i][j]);
  }
}

#endif

// So many numbers as the word that tensor cores take.
template <typename S>
__device__ inline uint32_t word_of(const float* numbers) {
  if constexpr (kOfWord<S> == 1) {
    return to_tf32(numbers[0]);
  } else {
    const S pair[2] = {static_cast<S>(numbers[0]), static_cast<S>(numbers[1])};
    uint32_t word;
    std::memcpy(&word, pair, sizeof(word));
    return word;
  }
}

}  // namespace relprop::cuda
