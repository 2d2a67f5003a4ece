// The fused convolution's kernel as a function of the host, for test_fused_convolution_on_host.py.
#include "block_on_host.h"
#include "cuda/fused_convolution.cuh"

using namespace relprop::cuda;

// As the test lays them out; pointers to float32 or bfloat16, null where not given.
struct Given {
  const void *x, *other, *z, *d, *other_d, *weight, *bias, *other_bias, *next_z, *next_d;
  void *result, *other_result;
  int64_t batch, channels, outputs;
  int64_t input[2], size[2], taps[2], stride[2], padding[2];
  double parts[4], epsilon;
  int32_t results, transposed, relu, packed, large;
};

namespace {

Axis axis_of(const Given& g, int d) {
  return {int(g.input[d]), int(g.size[d]), int(g.taps[d]), int(g.stride[d]), int(g.padding[d])};
}

template <typename S>
const S* of(const void* pointer) {
  return static_cast<const S*>(pointer);
}

template <typename S>
ConvolutionArguments<S> arguments_of(const Given& g) {
  ConvolutionArguments<S> a{};
  const float p[] = {float(g.parts[0]), float(g.parts[1]), float(g.parts[2]), float(g.parts[3])};
  a.first = {of<S>(g.x), of<S>(g.d ? g.d : g.z), {p[0]}, {p[1]}};
  a.other = {of<S>(g.other), of<S>(g.other_d ? g.other_d : g.z), {p[2]}, {p[3]}};
  if (g.results == 2) take_signed_parts(a);
  a.sides = g.other == nullptr ? 1 : 2;
  a.z = of<S>(g.z), a.weight = of<S>(g.weight);
  a.bias[0] = of<S>(g.bias), a.bias[1] = of<S>(g.other_bias);
  a.next_z = of<S>(g.next_z), a.next_d = of<S>(g.next_d);
  a.result[0] = static_cast<S*>(g.result), a.result[1] = static_cast<S*>(g.other_result);
  a.epsilon = float(g.epsilon), a.relu = g.relu != 0, a.transposed = g.transposed != 0;
  a.batch = g.batch, a.channels = int(g.channels), a.outputs = int(g.outputs);
  a.rows = axis_of(g, 0), a.columns = axis_of(g, 1);
  return a;
}

template <int kResults, bool kRatio, bool kPacked, typename S, typename T>
void run(const ConvolutionArguments<S>& a) {
  const unsigned blocks = unsigned(blocks_of<kResults, T>(a));
  run_blocks_on_host(blocks, T::kThreads,
                     [&] { fused_convolution_kernel<kResults, kRatio, kPacked, S, T>(a); });
}

using SmallTiles = Tiles<1, 2, 1, 2>;

template <bool kPacked, typename S>
void run_packed(const Given& g) {
  const ConvolutionArguments<S> a = arguments_of<S>(g);
  if (g.results == 2) return run<2, false, kPacked, S, SmallTiles>(a);
  if (g.z == nullptr) return run<1, false, kPacked, S, SmallTiles>(a);
  run<1, true, kPacked, S, SmallTiles>(a);
}

// The tiles that are launched: of as many threads as a test may take once or twice.
template <typename S>
void run_large(const Given& g) {
  const ConvolutionArguments<S> a = arguments_of<S>(g);
  if (g.results == 2) return run<2, false, true, S, LargeTiles>(a);
  run<1, false, false, S, LargeTiles>(a);
}

// Sanitizers see one type in packs and the other without: all of them take long to compile.
template <typename S>
void run_stored(const Given& g) {
#ifdef RELPROP_SANITIZED
  run_packed<sizeof(S) == 2, S>(g);
#else
  if (g.large) return run_large<S>(g);
  g.packed ? run_packed<true, S>(g) : run_packed<false, S>(g);
#endif
}

}  // namespace

extern "C" void fused_convolution(const Given* g, int is_bfloat16) {
  is_bfloat16 ? run_stored<Bfloat16>(*g) : run_stored<float>(*g);
}
