// The two ways of the loops over slopes: a function's shortcut, where it has one, and, where that
// does not serve every element of a block, every case of rules.h.
//
// A loop that took the one or the other for each element would not vectorise but by taking both.
// Each element gets the same from either loop.
#pragma once

#include "../rules.h"

namespace relprop {

// So many elements at a time are left to the shortcut.
constexpr int64_t kBlock = 1024;

template <typename F, typename T>
struct EveryCase {
  F f;
  T h;

  RELPROP_HD static bool serves(T, T) { return true; }
  RELPROP_HD static bool serves(T, T, T, T) { return true; }
  RELPROP_HD T rescale_slope(T x, T x0) const { return relprop::rescale_slope(f, x, x0, h); }
  RELPROP_HD Parts<T> reveal_cancel_slopes(T P, T N, T r, T x) const {
    return relprop::reveal_cancel_slopes(f, P, N, r, x, h);
  }
};

// What a loop counts in, one lane beside each number.
template <typename T>
using Count = typename Exponential<T>::Bits;

// loop(way) runs over a block, and returns how often, at least, the way did not serve.
template <typename T, typename F, typename Loop>
void shortcut_first(const F& f, T h, const Loop& loop) {
  if constexpr (Shortcut<F>::kKnown) {
    if (loop(Shortcut<F>()) == 0) return;
  }
  loop(EveryCase<F, T>{f, h});
}

}  // namespace relprop
