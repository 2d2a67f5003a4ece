// The fused convolution on the host under a sanitizer, for test_cuda_kernels_sanitized.py: on
// operands of awkward sizes, each in memory of its own and not an element more.
#define RELPROP_SANITIZED
#include <cstdio>

#include "convolution_on_host.cpp"

namespace {

using Memory = std::vector<uint32_t>;

// Counts results that were not written.
int missing = 0;

// So many numbers of either type: 1 and the like, of either sign; or what is no number.
Memory memory(int64_t count, bool is_half, bool written = true) {
  const uint32_t word = is_half ? 0x3f80bf80u : 0xbf800000u;
  Memory made(is_half ? (count + 1) / 2 : count, written ? word : 0x7fc07fc0u);
  return made;
}

void look_at(const Memory& result, bool is_half, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    uint32_t whole = result[is_half ? i / 2 : i];
    if (is_half) whole = i % 2 == 0 ? whole << 16 : whole & 0xffff0000u;
    missing += std::isnan(std::bit_cast<float>(whole));
  }
}

struct Case {
  int64_t channels, outputs, input[2], size[2], taps[2], stride[2], padding[2];
};

// Of the transposed ones, the input is what is sent back.
void convolve(const Case& c, bool transposed, bool is_half) {
  const int64_t batch = 2, images = batch * c.input[0] * c.input[1] * c.channels;
  const int64_t outputs = batch * c.size[0] * c.size[1] * c.outputs;
  const Memory x = memory(images, is_half), z = x, d = x;
  const Memory weight = memory(c.channels * c.outputs * c.taps[0] * c.taps[1], is_half);
  const Memory bias = memory(c.outputs, is_half), next = memory(outputs, is_half);
  Memory result = memory(outputs, is_half, false), other = result;
  Given g{};
  g.x = x.data(), g.weight = weight.data(), g.bias = bias.data();
  g.result = result.data(), g.other_result = other.data();
  g.batch = batch, g.channels = c.channels, g.outputs = c.outputs;
  for (int k = 0; k < 2; ++k) {
    g.input[k] = c.input[k], g.size[k] = c.size[k], g.taps[k] = c.taps[k];
    g.stride[k] = c.stride[k], g.padding[k] = c.padding[k];
  }
  for (double& part : g.parts) part = 1;
  g.results = transposed ? 1 : 2, g.transposed = transposed;
  if (transposed) {
    g.other = x.data(), g.z = z.data(), g.d = d.data(), g.other_d = d.data();
    g.next_z = next.data(), g.next_d = next.data();
    g.epsilon = 0.25;
  }
  fused_convolution(&g, is_half);
  look_at(result, is_half, outputs);
  if (!transposed) look_at(other, is_half, outputs);
}

}  // namespace

int main() {
  const Case odd{3, 5, {5, 4}, {3, 4}, {3, 2}, {2, 1}, {1, 0}};
  const Case packs{16, 18, {3, 5}, {3, 5}, {3, 3}, {1, 1}, {1, 1}};
  const Case back{5, 3, {3, 3}, {5, 6}, {3, 3}, {2, 2}, {1, 1}};
  const Case packs_back{8, 2, {2, 3}, {4, 5}, {1, 1}, {2, 2}, {0, 0}};
  for (const Case& c : {odd, packs}) convolve(c, false, false);
  for (const Case& c : {back, packs_back}) convolve(c, true, false);
  convolve(packs, false, true);
  convolve(packs_back, true, true);
  std::printf("%d results not written\n", missing);
  return missing == 0 ? 0 : 1;
}
