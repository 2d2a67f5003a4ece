// The CUDA kernels on the host under a sanitizer, for test_cuda_kernels_sanitized.py: on operands
// of awkward sizes, each in memory of its own and not an element more.
#define RELPROP_SANITIZED
#include <cmath>
#include <cstdio>

#include "cuda_on_host.cpp"

namespace {

using Numbers = std::vector<float>;

// The same every time: between -1 and 1, with ties and zeros.
Numbers numbers(int64_t count) {
  static uint32_t state = 1;
  Numbers made(count);
  for (float& x : made) {
    state = state * 1664525u + 1013904223u;
    x = float(int(state >> 28) - 8) / 8;
  }
  return made;
}

Numbers unwritten(int64_t count) { return Numbers(count, NAN); }

// Counts results that were not written.
int missing = 0;

void look_at(const Numbers& result) {
  for (const float x : result) missing += std::isnan(x);
}

constexpr double kParameters[4] = {};
constexpr int64_t kFunctions[] = {1, 3};
constexpr int kPacks[] = {1, 4};

void elementwise(int64_t count, int64_t period) {
  const Numbers m = numbers(count), n = numbers(count), x = numbers(count), x0 = numbers(period);
  Numbers P = numbers(count), N = P;
  for (float& p : P) p = std::fabs(p);
  for (float& q : N) q = -std::fabs(q);
  for (const int64_t f : kFunctions) {
    for (const int pack : kPacks) {
      Numbers a = unwritten(count), b = a, c = a, d = a, e = a, g = a;
      rescale(pack, m.data(), x.data(), x0.data(), a.data(), count, period, f, kParameters);
      reveal_cancel(pack, m.data(), n.data(), P.data(), N.data(), x0.data(), nullptr, b.data(),
                    c.data(), count, period, f, kParameters);
      signed_reveal_cancel(pack, m.data(), n.data(), x.data(), x0.data(), P.data(), d.data(),
                           e.data(), nullptr, count, period, f, kParameters);
      signed_reveal_cancel(pack, nullptr, nullptr, x.data(), x0.data(), P.data(), nullptr, nullptr,
                           g.data(), count, period, f, kParameters);
      for (const Numbers* result : {&a, &b, &c, &d, &e, &g}) look_at(*result);
      signed_ratio(pack, m.data(), nullptr, x.data(), P.data(), a.data(), nullptr, count, 1, 0.25,
                   0.25, f, kParameters);
      signed_ratio(pack, m.data(), n.data(), x.data(), P.data(), b.data(), c.data(), count, 1, 0.25,
                   0.25, f, kParameters);
      for (const Numbers* result : {&a, &b, &c}) look_at(*result);
    }
  }
}

void ratio(int64_t channels, int64_t inner) {
  const int64_t count = 3 * channels * inner;
  const Numbers m = numbers(count), z = numbers(count), bias = numbers(channels);
  for (const int pack : kPacks) {
    for (const float* b : {bias.data(), static_cast<const float*>(nullptr)}) {
      Numbers s = unwritten(count);
      lrp_ratio(pack, m.data(), z.data(), z.data(), nullptr, b, s.data(), count, inner, channels,
                0.25, 1, kParameters);
      look_at(s);
    }
  }
}

// Height and width as in the Python test: length, count, kernel, stride, padding, dilation.
constexpr int64_t kPools[][12] = {
    {6, 3, 2, 2, 0, 1, 8, 4, 2, 2, 0, 1},  {7, 4, 3, 2, 1, 1, 9, 5, 3, 2, 1, 1},
    {7, 5, 3, 1, 1, 2, 9, 3, 2, 3, 0, 2},  {9, 2, 2, 5, 0, 1, 7, 2, 2, 4, 0, 1},
    {12, 2, 9, 3, 0, 1, 9, 2, 8, 1, 0, 1}, {7, 3, 0, 0, 0, 0, 11, 5, 0, 0, 0, 0},
    {5, 7, 0, 0, 0, 0, 4, 9, 0, 0, 0, 0},  {7, 1, 0, 0, 0, 0, 13, 1, 0, 0, 0, 0},
};

void pools(const int64_t (&pool)[12], int channels_last, int64_t batch0) {
  int64_t along[18] = {1, 1, 1, 1, 0, 1};
  for (int k = 0; k < 12; ++k) along[6 + k] = pool[k];
  const int64_t batch = 2, channels = 3, inputs = channels * pool[0] * pool[6];
  const int64_t outputs = batch * channels * pool[1] * pool[7];
  const Numbers x = numbers(batch * inputs), x0 = numbers(batch0 * inputs), m = numbers(outputs);
  const bool is_long = pool[0] > 9;
  for (const int lanes : {1, 32}) {
    if (lanes == 32 && !is_long) continue;  // threads that wait for one another take long
    for (const float* baseline : {x0.data(), static_cast<const float*>(nullptr)}) {
      Numbers m_x = unwritten(batch * inputs);
      max_pool_winner(lanes, m.data(), x.data(), baseline, m_x.data(), batch, batch0, channels,
                      channels_last, along);
      look_at(m_x);
    }
  }
  for (const int by_value : {0, 1}) {
    Numbers m_x = unwritten(batch * inputs);
    max_pool_shares(is_long ? 32 : 1, by_value, m.data(), by_value != 0 ? m.data() : nullptr,
                    x.data(), m_x.data(), batch, channels, channels_last, 0.25, along);
    look_at(m_x);
  }
  const bool fits = pool[2] != 0 && pool[2] * pool[8] <= 16;
  for (const int own : {0, 16}) {
    if (own != 0 && !fits) continue;
    Numbers positive = numbers(outputs), negative = numbers(outputs);
    Numbers m_x = unwritten(batch * inputs), rise = unwritten(outputs), fall = rise;
    max_pool_shapley(own, positive.data(), negative.data(), x.data(), x0.data(), m_x.data(), batch,
                     batch0, channels, channels_last, along);
    max_pool_shapley(own, rise.data(), fall.data(), x.data(), x0.data(), nullptr, batch, batch0,
                     channels, channels_last, along);
    for (const Numbers* result : {&m_x, &rise, &fall}) look_at(*result);
  }
}

void dense(int64_t examples, int64_t inputs, int64_t outputs) {
  const Numbers d = numbers(examples * inputs), weight = numbers(inputs * outputs);
  const Numbers positive = numbers(examples * outputs), negative = numbers(examples * outputs);
  Numbers P = unwritten(examples * outputs), N = P, m = unwritten(examples * inputs);
  signed_linear(d.data(), weight.data(), P.data(), N.data(), examples, inputs, outputs);
  signed_linear_backward(positive.data(), negative.data(), d.data(), weight.data(), m.data(),
                         examples, inputs, outputs, 4);
  for (const Numbers* result : {&P, &N, &m}) look_at(*result);
}

}  // namespace

int main() {
  const int64_t sizes[][2] = {{1, 1}, {52, 4}, {51, 3}};
  for (const auto& size : sizes) elementwise(size[0], size[1]);
  ratio(5, 1), ratio(5, 3), ratio(1, 17);
  for (const auto& pool : kPools) pools(pool, 0, 2), pools(pool, 1, 1);
  dense(1, 33, 3), dense(6, 5, 2);
  std::printf("%d results not written\n", missing);
  return missing == 0 ? 0 : 1;
}
