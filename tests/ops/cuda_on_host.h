// Just enough of CUDA to run kernels on the host: blocks one after the other, threads too, except
// where they exchange values; then the 32 threads of a warp run together and wait for one another.
// For sanitizers, which see who writes where another reads, all threads of all blocks run together.
#pragma once

#include <array>
#include <barrier>
#include <thread>
#include <vector>

#define __global__
#define __device__
#define __host__

struct Index {
  unsigned x = 0;
};
inline thread_local Index blockIdx, threadIdx, blockDim, gridDim;

constexpr unsigned kWarp = 32;
inline std::barrier<> warp_barrier(kWarp);

template <typename T>
T __shfl_xor_sync(unsigned, T value, int distance) {
  static std::array<T, kWarp> values;
  values[threadIdx.x % kWarp] = value;
  warp_barrier.arrive_and_wait();
  const T other = values[(threadIdx.x % kWarp) ^ unsigned(distance)];
  warp_barrier.arrive_and_wait();
  return other;
}

template <typename Kernel>
void run_thread(unsigned block, unsigned blocks, unsigned thread, unsigned threads,
                const Kernel& kernel) {
  blockIdx.x = block;
  gridDim.x = blocks;
  threadIdx.x = thread;
  blockDim.x = threads;
  kernel();
}

template <typename Kernel>
void run_on_host(unsigned blocks, unsigned threads, const Kernel& kernel) {
  std::vector<std::thread> together;
  for (unsigned block = 0; block < blocks; ++block) {
    for (unsigned thread = 0; thread < threads; ++thread) {
#ifdef RELPROP_SANITIZED
      together.emplace_back([=] { run_thread(block, blocks, thread, threads, kernel); });
#else
      run_thread(block, blocks, thread, threads, kernel);
#endif
    }
  }
  for (std::thread& thread : together) thread.join();
}

// The same with blocks of one warp, whose threads run together.
template <typename Kernel>
void run_warps_on_host(unsigned blocks, const Kernel& kernel) {
  for (unsigned block = 0; block < blocks; ++block) {
    std::vector<std::thread> warp;
    for (unsigned thread = 0; thread < kWarp; ++thread) {
      warp.emplace_back([=] { run_thread(block, blocks, thread, kWarp, kernel); });
    }
    for (std::thread& thread : warp) thread.join();
  }
}
