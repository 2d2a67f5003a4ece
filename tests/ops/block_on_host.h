// Blocks of threads on the host, one after the other, with what they share: memory, a barrier, and
// tensor cores, which round to TF32 and keep fragments as the manual has them.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>
#include <memory>

#include "cuda_on_host.h"

#define __shared__ static
#define __launch_bounds__(...)

constexpr unsigned kMostWarps = 8;

// What the 32 threads of a warp lay before one another.
struct SharedByWarp {
  std::barrier<> all{kWarp};
  uint32_t words[2][kWarp][64];
};

struct SharedByBlock {
  explicit SharedByBlock(unsigned threads) : all(threads) {}
  std::barrier<> all;
  SharedByWarp warps[kMostWarps];
};

inline SharedByBlock* this_block = nullptr;
inline thread_local int turn = 0;  // of the two places for words, so that one barrier is enough

inline void __syncthreads() { this_block->all.arrive_and_wait(); }

template <typename Kernel>
void run_blocks_on_host(unsigned blocks, unsigned threads, const Kernel& kernel) {
  for (unsigned block = 0; block < blocks; ++block) {
    const auto shared = std::make_unique<SharedByBlock>(threads);
    this_block = shared.get();
    std::vector<std::thread> together;
    for (unsigned thread = 0; thread < threads; ++thread) {
      together.emplace_back([=] { run_thread(block, blocks, thread, threads, kernel); });
    }
    for (std::thread& thread : together) thread.join();
  }
}

// bfloat16 as CUDA has it: of two that are as near, the even one.
struct Bfloat16 {
  uint16_t bits;
  Bfloat16() = default;
  explicit Bfloat16(float x) {
    const uint32_t whole = std::bit_cast<uint32_t>(x);
    const uint32_t rounded = whole + 0x7fff + (whole >> 16 & 1);
    bits = uint16_t((std::isnan(x) ? whole | 0x400000 : rounded) >> 16);
  }
  explicit operator float() const { return std::bit_cast<float>(uint32_t(bits) << 16); }
};

namespace relprop::cuda {

inline uint32_t to_tf32(float x) {
  const uint32_t whole = std::bit_cast<uint32_t>(x);
  return std::isnan(x) ? whole : (whole + 0x1000) & ~0x1fffu;
}

// Number `half` of a word.
template <typename S>
float number_in(uint32_t word, int half) {
  if constexpr (sizeof(S) == 4) return std::bit_cast<float>(word);
  S pair[2];
  std::memcpy(pair, &word, sizeof(word));
  return float(pair[half]);
}

// The places of a fragment's words, from the tables in the PTX manual: thread t has word i of A at
// row (t / 4) + 8 (i % 2), word t % 4 + 4 (i / 2) of the sum; of B at column t / 4, word
// t % 4 + 4 i; of the sums number i at row t / 4 + 8 (i / 2), column 2 (t % 4) + i % 2.
template <typename S>
void multiply_on_host(const uint32_t (*words)[64], int a, int b, int thread, float (&sum)[4]) {
  for (int i = 0; i < 4; ++i) {
    const int row = thread / 4 + 8 * (i / 2), column = 2 * (thread % 4) + i % 2;
    for (int k = 0; k < 8; ++k) {
      const uint32_t left = words[row % 8 * 4 + k % 4][a + row / 8 + 2 * (k / 4)];
      const uint32_t right = words[column * 4 + k % 4][b + k / 4];
      for (int half = 0; half < 4 / int(sizeof(S)); ++half) {
        sum[i] += number_in<S>(left, half) * number_in<S>(right, half);
      }
    }
  }
}

template <typename S, int kDown, int kAcross>
void multiply_fragments(const uint32_t (&a)[kDown][4], const uint32_t (&b)[kAcross][2],
                        float (&sum)[kDown][kAcross][4]) {
  static_assert(4 * kDown + 2 * kAcross <= 64);
  SharedByWarp& warp = this_block->warps[threadIdx.x / kWarp];
  const int thread = int(threadIdx.x % kWarp);
  uint32_t (*words)[64] = warp.words[turn];
  std::memcpy(words[thread], a, sizeof(a));
  std::memcpy(words[thread] + 4 * kDown, b, sizeof(b));
  warp.all.arrive_and_wait();
  for (int i = 0; i < kDown; ++i) {
    for (int j = 0; j < kAcross; ++j) {
      multiply_on_host<S>(words, 4 * i, 4 * kDown + 2 * j, thread, sum[i][j]);
    }
  }
  turn = 1 - turn;
}

}  // namespace relprop::cuda
