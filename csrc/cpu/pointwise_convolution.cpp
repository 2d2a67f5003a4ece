// Places go through in blocks that stay in a core's cache, and of the weight there is never more
// than a panel: it is taken by its sign where it is used. A sum runs over the channels in their
// order, whatever the block, so that every number of threads gives the same result.
#include "clones.h"

// The kernel's speed rests on fused multiply-adds, which x86-64-v3 has. Elsewhere no kernel is
// registered, so that torch's own convolution serves.
#if RELPROP_HAS_CLONES

#include "../stable.h"
#include "fused.h"
#include "kernel_runner.h"
#include "pointwise_stages.h"

namespace relprop {
namespace {

// As many sums as there are registers, beside those that the weights pass through.
struct Avx512 {
  template <typename T>
  using Stages = PointwiseStages<T, 64, 14>;

  template <typename T>
  RELPROP_FUSED("x86-64-v4")
  void places(const PointwiseOperands<T>& o, int64_t first, int64_t count, T* V) {
    Stages<T>::places(o, first, count, V);
  }

  template <typename T>
  RELPROP_FUSED("x86-64-v4")
  void panel(const PointwiseOperands<T>& o, int64_t output, int64_t first, int64_t count,
             const T* V, T* U) {
    Stages<T>::panel(o, output, first, count, V, U);
  }
};

struct Avx2 {
  template <typename T>
  using Stages = PointwiseStages<T, 32, 6>;

  template <typename T>
  RELPROP_FUSED("x86-64-v3")
  void places(const PointwiseOperands<T>& o, int64_t first, int64_t count, T* V) {
    Stages<T>::places(o, first, count, V);
  }

  template <typename T>
  RELPROP_FUSED("x86-64-v3")
  void panel(const PointwiseOperands<T>& o, int64_t output, int64_t first, int64_t count,
             const T* V, T* U) {
    Stages<T>::panel(o, output, first, count, V, U);
  }
};

// Places that a panel of weights is made for at a time: enough to be worth it, few enough for the
// caches.
constexpr int64_t kPlaces = 112;

template <typename Isa, typename T>
void convolve(const PointwiseOperands<T>& o) {
  using Stages = typename Isa::template Stages<T>;
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t panels = parts_of(o.outputs, Stages::kPanel);
  const int64_t share = std::min(kPlaces, parts_of(o.places(), parts_of(threads, panels)));
  const int64_t length = parts_of(o.places(), parts_of(o.places(), share));
  const int64_t shares = parts_of(o.places(), length);
  const int64_t work = length * Stages::kPanel * o.depth();
  torch::stable::parallel_for(0, shares * panels, grain(work), [&](int64_t begin, int64_t end) {
    const Scratch<T> V(length * Stages::v_row(o)), U(o.depth() * Stages::kPanel);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item / panels * length, panel = item % panels;
      const int64_t count = std::min(length, o.places() - first);
      if (item == begin || panel == 0) Isa::places(o, first, count, V.data());
      Isa::panel(o, panel * Stages::kPanel, first, count, V.data(), U.data());
    }
  });
}

template <typename T>
void convolve_here(const PointwiseOperands<T>& o) {
  if (__builtin_cpu_supports("x86-64-v4")) return convolve<Avx512>(o);
  convolve<Avx2>(o);
}

Tensor pointwise_convolution(const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                             double positive, double negative, bool transposed,
                             const OptionalTensor& other, double other_positive,
                             double other_negative) {
  if (is_half(x)) {
    constexpr ScalarType wide = ScalarType::Float;
    const Tensor z = pointwise_convolution(in_dtype(x, wide), in_dtype(weight, wide),
                                           in_dtype(bias, wide), positive, negative, transposed,
                                           in_dtype(other, wide), other_positive, other_negative);
    return in_dtype(z, x.scalar_type());
  }
  const int output = transposed ? 1 : 0, input = 1 - output;
  const Tensor z = empty_channels_last(x, {x.size(0), weight.size(output), x.size(2), x.size(3)});
  if (z.numel() == 0) return z;
  const Tensor examples = channels_last(x);
  const OptionalTensor others = other ? OptionalTensor(channels_last(*other)) : std::nullopt;
  const bool lies = weight.stride(0) == 1 || weight.stride(1) == 1;
  const Tensor filters = lies ? weight : torch::stable::contiguous(weight);
  const OptionalTensor b = bias ? OptionalTensor(torch::stable::contiguous(*bias)) : std::nullopt;
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    PointwiseOperands<T> o =
        pointwise_operands<T>(examples, positive, negative, others, other_positive, other_negative);
    o.weight = data_of<T>(filters);
    o.weight_output = filters.stride(output), o.weight_input = filters.stride(input);
    o.bias = data_of<T>(b);
    o.z = mutable_data_of<T>(z);
    o.outputs = z.size(1);
    run_kernel([&] { convolve_here(o); });
  };
  if (x.scalar_type() == ScalarType::Double) {
    run(double());
  } else {
    run(float());
  }
  return z;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CPU, m) {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v3")) {
    m.impl("pointwise_convolution", TORCH_BOX(&pointwise_convolution));
  }
}

}  // namespace relprop

#endif
