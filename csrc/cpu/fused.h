// What the kernels that live by fused multiply-adds are made with: functions for one instruction
// set, memory of their own, and shares of work.
#pragma once

#include <algorithm>
#include <cstdint>
#include <new>

// Compiled for these instructions, with multiplications and additions fused, unlike elsewhere.
#define RELPROP_FUSED(instructions) \
  __attribute__((target("arch=" instructions), optimize("fp-contract=fast"))) static

namespace relprop {

// Memory that begins with a cache line, and with nothing written to it.
template <typename T>
class Scratch {
 public:
  explicit Scratch(int64_t count)
      : data_(static_cast<T*>(::operator new(count * sizeof(T), kLine))) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { ::operator delete(data_, kLine); }
  T* data() const { return data_; }

 private:
  static constexpr std::align_val_t kLine{64};
  T* data_;
};

inline int64_t parts_of(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

// The fewest items that a thread is woken for, by the multiplications that each takes.
inline int64_t grain(int64_t multiplications) {
  return std::max<int64_t>(1, (int64_t(1) << 19) / (multiplications + 1));
}

}  // namespace relprop
