// Values that repeat along a tensor: a bias along the channels, a baseline along the batch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace relprop {

// A parallel loop gets no fewer elements than this at a time.
constexpr int64_t kGrain = 32768;

template <typename T>
class Periodic {
 public:
  // Element i of a tensor of `total` elements meets values[i % period].
  Periodic(const T* values, int64_t period, int64_t total) : values_(values), period_(period) {
    if (period >= std::min(total, kShortest)) return;
    const int64_t copies = (kShortest + period - 1) / period;
    for (int64_t copy = 0; copy < copies; ++copy)
      tiled_.insert(tiled_.end(), values, values + period);
    values_ = tiled_.data();
    period_ = copies * period;
  }

  // Calls body(first, count, values) for the runs of [begin, end) along which values are in order,
  // with a count of at most `most`.
  template <typename Body>
  void for_each_run(int64_t begin, int64_t end, int64_t most, const Body& body) const {
    int64_t phase = begin % period_;
    while (begin < end) {
      const int64_t count = std::min({end - begin, period_ - phase, most});
      body(begin, count, values_ + phase);
      begin += count;
      phase = (phase + count) % period_;
    }
  }

 private:
  static constexpr int64_t kShortest = 1024;
  const T* values_;
  int64_t period_;
  std::vector<T> tiled_;
};

}  // namespace relprop
