#include <cuda_bf16.h>

#include <tuple>

#include "../filter_operands.h"
#include "fused_convolution.cuh"
#include "launch.h"

namespace relprop {
namespace {

using namespace cuda;

// What the operators are given, with its channels side by side.
struct Operands {
  Tensor x, weight;
  OptionalTensor other, z, d, other_d, next_z, next_d;
  OptionalTensor bias, other_bias;
  std::vector<int64_t> stride, padding;
  std::vector<double> parts;  // of x, then of another: positive, negative; none for a pair
  bool transposed = false, relu = false;
  double epsilon = 0;
};

template <typename S>
Side<S> side_of(const Tensor& x, const OptionalTensor& d, const Operands& o) {
  return {data_of<S>(x), d ? data_of<S>(*d) : data_of<S>(o.z), {}, {}};
}

Axis axis_of(const Operands& o, const Tensor& z, int dim) {
  return {int(o.x.size(dim + 2)), int(z.size(dim + 2)), int(o.weight.size(dim + 2)),
          int(o.stride[dim]), int(o.padding[dim])};
}

template <typename S>
ConvolutionArguments<S> arguments_of(const Operands& o, const Tensor& result) {
  ConvolutionArguments<S> a{};
  a.first = side_of<S>(o.x, o.d, o);
  a.sides = o.other ? 2 : 1;
  a.other = o.other ? side_of<S>(*o.other, o.other_d, o) : a.first;
  a.z = data_of<S>(o.z);
  a.weight = data_of<S>(o.weight);
  a.bias[0] = data_of<S>(o.bias), a.bias[1] = data_of<S>(o.other_bias);
  a.next_z = data_of<S>(o.next_z), a.next_d = data_of<S>(o.next_d);
  a.epsilon = float(o.epsilon), a.relu = o.relu, a.transposed = o.transposed;
  a.batch = o.x.size(0), a.channels = int(o.x.size(1)), a.outputs = int(result.size(1));
  a.rows = axis_of(o, result, 0), a.columns = axis_of(o, result, 1);
  return a;
}

// The parts of the weight by which each side is multiplied.
template <typename S>
void take_parts(ConvolutionArguments<S>& a, const std::vector<double>& parts) {
  a.first.positive[0] = float(parts[0]), a.first.negative[0] = float(parts[1]);
  a.other.positive[0] = float(parts[2]), a.other.negative[0] = float(parts[3]);
}

template <typename S>
bool can_be_packed(const ConvolutionArguments<S>& a) {
  const void* read[] = {a.first.x, a.other.x, a.first.d, a.other.d, a.z, a.weight};
  const void* written[] = {a.result[0], a.result[1]};
  const bool whole = a.channels % kOfPack<S> == 0 && a.outputs % 2 == 0;
  return whole && std::all_of(std::begin(read), std::end(read), aligned) &&
         std::all_of(std::begin(written), std::end(written), aligned);
}

template <int kResults, bool kRatio, bool kPacked, typename S>
void launch(const ConvolutionArguments<S>& a, cudaStream_t stream) {
  using T = LargeTiles;
  const int64_t blocks = blocks_of<kResults, T>(a);
  STD_TORCH_CHECK(blocks <= INT32_MAX, "a convolution of so many places takes too many blocks");
  fused_convolution_kernel<kResults, kRatio, kPacked, S, T>
      <<<unsigned(blocks), T::kThreads, 0, stream>>>(a);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <int kResults, typename S>
void convolve(const Operands& o, const Tensor (&results)[kResults]) {
  ConvolutionArguments<S> a = arguments_of<S>(o, results[0]);
  for (int r = 0; r < kResults; ++r) a.result[r] = mutable_data_of<S>(results[r]);
  kResults == 1 ? take_parts(a, o.parts) : take_signed_parts(a);
  const cudaStream_t stream = current_stream(o.x);
  const bool packed = can_be_packed(a);
  if constexpr (kResults == 1) {
    if (a.z != nullptr) {
      return packed ? launch<1, true, true>(a, stream) : launch<1, true, false>(a, stream);
    }
  }
  packed ? launch<kResults, false, true>(a, stream) : launch<kResults, false, false>(a, stream);
}

template <int kResults>
void convolve_stored(const Operands& o, const Tensor (&results)[kResults]) {
  if (o.x.scalar_type() == ScalarType::Float) return convolve<kResults, float>(o, results);
  STD_TORCH_CHECK(o.x.scalar_type() == ScalarType::BFloat16,
                  "on tensor cores expected float32 or bfloat16");
  convolve<kResults, __nv_bfloat16>(o, results);
}

Tensor fused_convolution(const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                         const std::vector<int64_t>& size, const std::vector<int64_t>& stride,
                         const std::vector<int64_t>& padding, bool transposed,
                         const std::vector<double>& parts, const OptionalTensor& other,
                         const OptionalTensor& z, const OptionalTensor& denominator,
                         const OptionalTensor& other_denominator, const OptionalTensor& next_z,
                         const OptionalTensor& next_denominator, double epsilon, bool relu) {
  const DeviceGuard guard(x.get_device_index());
  const int64_t outputs = weight.size(transposed ? 1 : 0);
  const Tensor result = empty_channels_last(x, {x.size(0), outputs, size[0], size[1]});
  if (result.numel() == 0) return result;
  Operands o;
  o.x = dense_channels_last(x), o.other = dense_channels_last(other);
  o.weight = filters_side_by_side(weight, transposed);
  if (bias) o.bias = torch::stable::contiguous(*bias);
  o.z = dense_channels_last(z), o.d = dense_channels_last(denominator);
  o.other_d = dense_channels_last(other_denominator);
  o.next_z = dense_channels_last(next_z), o.next_d = dense_channels_last(next_denominator);
  o.stride = stride, o.padding = padding, o.parts = parts;
  o.transposed = transposed, o.relu = relu, o.epsilon = epsilon;
  convolve_stored<1>(o, {result});
  return result;
}

std::tuple<Tensor, Tensor> fused_convolution_pair(const Tensor& x, const Tensor& weight,
                                                  const OptionalTensor& bias,
                                                  const OptionalTensor& other_bias,
                                                  const std::vector<int64_t>& size,
                                                  const std::vector<int64_t>& stride,
                                                  const std::vector<int64_t>& padding,
                                                  bool transposed, const OptionalTensor& other) {
  const DeviceGuard guard(x.get_device_index());
  const int64_t outputs = weight.size(transposed ? 1 : 0);
  const std::vector<int64_t> sizes = {x.size(0), outputs, size[0], size[1]};
  const Tensor first = empty_channels_last(x, sizes), second = empty_channels_last(x, sizes);
  if (first.numel() == 0) return {first, second};
  Operands o;
  o.x = dense_channels_last(x), o.other = dense_channels_last(other);
  o.weight = filters_side_by_side(weight, transposed);
  if (bias) o.bias = torch::stable::contiguous(*bias);
  if (other_bias) o.other_bias = torch::stable::contiguous(*other_bias);
  o.stride = stride, o.padding = padding, o.transposed = transposed;
  convolve_stored<2>(o, {first, second});
  return {first, second};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CUDA, m) {
  m.impl("fused_convolution", TORCH_BOX(&fused_convolution));
  m.impl("fused_convolution_pair", TORCH_BOX(&fused_convolution_pair));
}

}  // namespace relprop
