// The tiles go through the stages in blocks, so that what lies between the stages stays in caches,
// and the transformed filters of all outputs are never held at once: each panel of them is made
// where it is used, which takes less time than to read it from memory. A sum runs over the channels
// in their order, whatever the block, so that every number of threads gives the same result.
#include "clones.h"

// The kernel's speed rests on fused multiply-adds, which x86-64-v3 has. Elsewhere no kernel is
// registered, so that torch's own convolution serves.
#if RELPROP_HAS_CLONES

#include "../stable.h"
#include "fused.h"
#include "kernel_runner.h"
#include "winograd_stages.h"

namespace relprop {
namespace {

// 14 tiles times 2 vectors of 64 bytes fill the 32 registers of AVX-512, 6 times 2 of 32 bytes the
// 16 of AVX2.
struct Avx512 {
  template <typename T>
  using Stages = WinogradStages<T, 64, 14>;

  template <typename T>
  RELPROP_FUSED("x86-64-v4")
  void inputs(const WinogradOperands<T>& o, int64_t first, int64_t count, const T* zeros, T* V) {
    Stages<T>::inputs(o, first, count, zeros, V);
  }

  template <typename T>
  RELPROP_FUSED("x86-64-v4")
  void panel(const WinogradOperands<T>& o, int64_t output, int64_t first, int64_t count, const T* V,
             T* scratch) {
    Stages<T>::panel(o, output, first, count, V, scratch);
  }
};

struct Avx2 {
  template <typename T>
  using Stages = WinogradStages<T, 32, 6>;

  template <typename T>
  RELPROP_FUSED("x86-64-v3")
  void inputs(const WinogradOperands<T>& o, int64_t first, int64_t count, const T* zeros, T* V) {
    Stages<T>::inputs(o, first, count, zeros, V);
  }

  template <typename T>
  RELPROP_FUSED("x86-64-v3")
  void panel(const WinogradOperands<T>& o, int64_t output, int64_t first, int64_t count, const T* V,
             T* scratch) {
    Stages<T>::panel(o, output, first, count, V, scratch);
  }
};

// Tiles that a panel of filters is made for at a time: enough to be worth it, few enough for the
// caches.
constexpr int64_t kTiles = 112;

// What the transform of an input takes, in multiplications of the products.
constexpr int64_t kInputWork = 16;

template <typename Isa, typename T>
void convolve(const WinogradOperands<T>& o) {
  using Stages = typename Isa::template Stages<T>;
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t block = std::min(o.tiles(), kTiles * threads);
  const int64_t panels = parts_of(o.outputs, Stages::kPanel), row = Stages::v_row(o.channels);
  const std::vector<T> zeros(o.channels);
  const Scratch<T> V(block * row);
  for (int64_t first = 0; first < o.tiles(); first += block) {
    const int64_t count = std::min(block, o.tiles() - first);
    torch::stable::parallel_for(0, count, grain(kInputWork * row), [&](int64_t begin, int64_t end) {
      Isa::inputs(o, first + begin, end - begin, zeros.data(), V.data() + begin * row);
    });
    const int64_t share = std::min(kTiles, parts_of(count, parts_of(threads, panels)));
    const int64_t length = parts_of(count, parts_of(count, share));
    const int64_t shares = parts_of(count, length);
    const int64_t work = length * Stages::kMRow * o.channels;
    torch::stable::parallel_for(0, shares * panels, grain(work), [&](int64_t begin, int64_t end) {
      const Scratch<T> scratch(Stages::scratch_size(o.channels, length));
      for (int64_t item = begin; item < end; ++item) {
        const int64_t tile = item / panels * length, panel = item % panels;
        Isa::panel(o, panel * Stages::kPanel, first + tile, std::min(length, count - tile),
                   V.data() + tile * row, scratch.data());
      }
    });
  }
}

template <typename T>
WinogradOperands<T> operands(const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                             const std::vector<int64_t>& padding, bool transposed,
                             const Tensor& z) {
  WinogradOperands<T> o;
  o.x = data_of<T>(x);
  o.batch = x.size(0), o.channels = x.size(1), o.height = x.size(2), o.width = x.size(3);
  o.x_example = x.stride(0), o.x_row = x.stride(2), o.x_column = x.stride(3);
  // A transposed convolution is one by the turned filters, with what is missing of full padding.
  o.top = transposed ? 2 - padding[0] : padding[0];
  o.left = transposed ? 2 - padding[1] : padding[1];
  o.weight = data_of<T>(weight);
  o.weight_output = weight.stride(transposed ? 1 : 0);
  o.weight_input = weight.stride(transposed ? 0 : 1);
  o.weight_row = weight.stride(2), o.weight_column = weight.stride(3);
  o.turned = transposed;
  o.bias = data_of<T>(bias);
  o.z = mutable_data_of<T>(z);
  o.outputs = z.size(1), o.z_height = z.size(2), o.z_width = z.size(3);
  o.tile_rows = parts_of(o.z_height, 4), o.tile_columns = parts_of(o.z_width, 4);
  return o;
}

template <typename T>
void convolve_here(const WinogradOperands<T>& o) {
  if (__builtin_cpu_supports("x86-64-v4")) return convolve<Avx512>(o);
  convolve<Avx2>(o);
}

Tensor winograd_convolution(const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                            const std::vector<int64_t>& padding, double positive, double negative,
                            bool transposed) {
  if (is_half(x)) {
    constexpr ScalarType wide = ScalarType::Float;
    const Tensor z =
        winograd_convolution(in_dtype(x, wide), in_dtype(weight, wide), in_dtype(bias, wide),
                             padding, positive, negative, transposed);
    return in_dtype(z, x.scalar_type());
  }
  const int64_t outputs = weight.size(transposed ? 1 : 0);
  std::vector<int64_t> sizes{x.size(0), outputs, 0, 0};
  for (int d = 0; d < 2; ++d) {
    sizes[2 + d] = x.size(2 + d) + (transposed ? 2 - 2 * padding[d] : 2 * padding[d] - 2);
  }
  const Tensor z = empty_channels_last(x, sizes);
  if (z.numel() == 0) return z;
  const Tensor examples = channels_last(x);
  const OptionalTensor b = bias ? OptionalTensor(torch::stable::contiguous(*bias)) : std::nullopt;
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    WinogradOperands<T> o = operands<T>(examples, weight, b, padding, transposed, z);
    o.positive = T(positive), o.negative = T(negative);
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
    m.impl("winograd_convolution", TORCH_BOX(&winograd_convolution));
  }
}

}  // namespace relprop

#endif
