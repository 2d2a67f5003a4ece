// Shapley values of one window by itself, of any size: only the inputs whose move reaches above
// all the lower ends are sorted, and these are few where windows are long.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "../shapley.h"

namespace relprop {

template <typename T>
class ShapleyWindow {
 public:
  void start() {
    moves_.clear();
    floor_ = top_ = -std::numeric_limits<T>::infinity();
  }

  void enter(T x, T x0) {
    const Move<T> move = move_of(x, x0);
    floor_ = std::max(floor_, move.low);
    top_ = std::max(top_, move.high);
    moves_.push_back({move.high, move.change, T(0)});
  }

  void share() {
    if (!sort()) return;
    each_.resize(above_.size());
    Above<double> above;
    for (size_t j = 0; j < above_.size(); ++j) {
      const double dt = join(j, above);
      each_[j] = {dt * above.of_rise(), dt * above.of_fall()};
    }
    double rise = 0, fall = 0;
    for (size_t j = above_.size(); j-- > 0;) {
      Entry& move = moves_[above_[j]];
      rise += each_[j].rise;
      fall -= each_[j].fall;
      move.phi = T(move.change > T(0) ? rise : fall);
    }
  }

  void part(T& rises, T& falls) {
    double sums[2] = {0, 0};
    if (sort()) {
      Above<double> above;
      for (size_t j = 0; j < above_.size(); ++j) {
        const double dt = join(j, above);
        sums[0] += dt * above.of_rises();
        sums[1] -= dt * above.of_falls();
      }
    }
    rises = T(sums[0]);
    falls = T(sums[1]);
  }

  // The multiplier of a tap; taps in scan order.
  T multiplier(int64_t tap, T positive, T negative) {
    const Entry& move = moves_[tap];
    const bool first = move.high == top_;
    if (first) top_ = std::numeric_limits<T>::quiet_NaN();  // no other is the first
    return shapley_multiplier(move.phi, move.change, positive, negative, first);
  }

 private:
  struct Entry {
    T high, change, phi;
  };
  struct Each {
    double rise, fall;
  };

  // Sorts the moves that reach above the floor; whether there are any.
  bool sort() {
    above_.clear();
    for (size_t tap = 0; tap < moves_.size(); ++tap) {
      if (moves_[tap].high > floor_) above_.push_back(tap);
    }
    std::sort(above_.begin(), above_.end(), [&](size_t a, size_t b) {
      return moves_[a].high > moves_[b].high || (moves_[a].high == moves_[b].high && a < b);
    });
    return !above_.empty();
  }

  // Adds number j of the sorted moves; how far it is to the next.
  double join(size_t j, Above<double>& above) const {
    const Entry& move = moves_[above_[j]];
    const T next = j + 1 < above_.size() ? moves_[above_[j + 1]].high : floor_;
    above.join(move.change > T(0) ? 1 : 0, 1.0 / double(j + 1));
    return double(move.high) - double(next);
  }

  std::vector<Entry> moves_;
  std::vector<size_t> above_;
  std::vector<Each> each_;
  T floor_ = 0, top_ = 0;
};

}  // namespace relprop
