// The way back to images of few channels, as a product of matrices: torch's convolution fills a
// vector with channels, of which three leave most lanes empty. Bands of rows of the result are
// made by themselves; a sum runs over the places in their order, whatever the band.
#include "clones.h"

// The kernel's speed rests on fused multiply-adds, which x86-64-v3 has. Elsewhere no kernel is
// registered, so that torch's own convolution serves.
#if RELPROP_HAS_CLONES

#include "../stable.h"
#include "few_channel_stages.h"
#include "fused.h"
#include "kernel_runner.h"

namespace relprop {
namespace {

struct Avx512 {
  template <typename T>
  using Stages = FewChannelStages<T, 64, 14>;

  template <typename T>
  RELPROP_FUSED("x86-64-v4")
  void band(const FewChannelOperands<T>& o, int64_t example, int64_t begin, int64_t end, const T* U,
            T* scratch) {
    Stages<T>::band(o, example, begin, end, U, scratch);
  }
};

struct Avx2 {
  template <typename T>
  using Stages = FewChannelStages<T, 32, 6>;

  template <typename T>
  RELPROP_FUSED("x86-64-v3")
  void band(const FewChannelOperands<T>& o, int64_t example, int64_t begin, int64_t end, const T* U,
            T* scratch) {
    Stages<T>::band(o, example, begin, end, U, scratch);
  }
};

template <typename Isa, typename T>
void transpose(const FewChannelOperands<T>& o) {
  using Stages = typename Isa::template Stages<T>;
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t bands = std::min(o.height, parts_of(threads, o.s.batch));
  const int64_t length = parts_of(o.height, bands);
  const Scratch<T> U(Stages::u_size(o));
  Stages::weights(o, U.data());
  const int64_t work = parts_of(o.s.height, bands) * o.s.width * o.s.depth() * o.sent();
  torch::stable::parallel_for(0, o.s.batch * bands, grain(work), [&](int64_t begin, int64_t end) {
    const Scratch<T> scratch(Stages::scratch_size(o));
    for (int64_t item = begin; item < end; ++item) {
      const int64_t row = std::min(o.height, item % bands * length);
      Isa::band(o, item / bands, row, std::min(o.height, row + length), U.data(), scratch.data());
    }
  });
}

template <typename T>
void transpose_here(const FewChannelOperands<T>& o) {
  if (__builtin_cpu_supports("x86-64-v4")) return transpose<Avx512>(o);
  transpose<Avx2>(o);
}

Tensor few_channel_transpose(const Tensor& s, const Tensor& weight,
                             const std::vector<int64_t>& input_size,
                             const std::vector<int64_t>& stride,
                             const std::vector<int64_t>& padding, double positive, double negative,
                             const OptionalTensor& other, double other_positive,
                             double other_negative) {
  if (is_half(s)) {
    constexpr ScalarType wide = ScalarType::Float;
    const Tensor r = few_channel_transpose(in_dtype(s, wide), in_dtype(weight, wide), input_size,
                                           stride, padding, positive, negative,
                                           in_dtype(other, wide), other_positive, other_negative);
    return in_dtype(r, s.scalar_type());
  }
  const Tensor r =
      empty_channels_last(s, {s.size(0), weight.size(1), input_size[0], input_size[1]});
  if (r.numel() == 0) return r;
  const Tensor examples = channels_last(s);
  const OptionalTensor others = other ? OptionalTensor(channels_last(*other)) : std::nullopt;
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    FewChannelOperands<T> o;
    o.s =
        pointwise_operands<T>(examples, positive, negative, others, other_positive, other_negative);
    o.weight = data_of<T>(weight);
    o.weight_channel = weight.stride(0), o.weight_r = weight.stride(1);
    o.weight_row = weight.stride(2), o.weight_column = weight.stride(3);
    o.rows = weight.size(2), o.columns = weight.size(3);
    o.row_stride = stride[0], o.column_stride = stride[1];
    o.top = padding[0], o.left = padding[1];
    o.r = mutable_data_of<T>(r);
    o.channels = r.size(1), o.height = r.size(2), o.width = r.size(3);
    run_kernel([&] { transpose_here(o); });
  };
  if (s.scalar_type() == ScalarType::Double) {
    run(double());
  } else {
    run(float());
  }
  return r;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CPU, m) {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v3")) {
    m.impl("few_channel_transpose", TORCH_BOX(&few_channel_transpose));
  }
}

}  // namespace relprop

#endif
