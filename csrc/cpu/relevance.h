// What arrives at a layer's outputs, as the ratios of csrc/cpu read it.
#pragma once

#include <cstdint>
#include <type_traits>

#include "../host_device.h"

namespace relprop {

// What R is made of: multiplier * f(z), amount, or their sum.
enum class Relevance { kMultiplier, kAmount, kBoth };

template <Relevance kRelevance, typename T, typename F>
RELPROP_HD T relevance_at(int64_t i, const T* multiplier, const T* amount, const T* z, F f) {
  T R = kRelevance == Relevance::kAmount ? amount[i] : multiplier[i] * f.f(z[i]);
  if (kRelevance == Relevance::kBoth) R += amount[i];
  return R;
}

// Calls body with one of them as a constant, by what is not null.
template <typename T, typename Body>
void with_relevance(const T* multiplier, const T* amount, const Body& body) {
  using std::integral_constant;
  if (multiplier == nullptr) return body(integral_constant<Relevance, Relevance::kAmount>());
  if (amount == nullptr) return body(integral_constant<Relevance, Relevance::kMultiplier>());
  body(integral_constant<Relevance, Relevance::kBoth>());
}

}  // namespace relprop
