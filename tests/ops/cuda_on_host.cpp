// The CUDA kernels as functions of the host, for test_cuda_kernels_on_host.py.
#include "cuda_on_host.h"

#include "cuda/lrp_ratio.cuh"
#include "cuda/max_pool_shapley.cuh"
#include "cuda/max_pool_shares.cuh"
#include "cuda/max_pool_winner.cuh"
#include "cuda/rescale.cuh"
#include "cuda/reveal_cancel.cuh"
#include "cuda/signed_linear.cuh"
#include "cuda/signed_ratio.cuh"
#include "cuda/signed_reveal_cancel.cuh"

using namespace relprop;
using namespace relprop::cuda;

namespace {

// Few threads, so that they loop, and the last ones find nothing to do.
constexpr unsigned kBlocks = 3, kThreads = 4;

Parameters parameters_of(const double* values) {
  Parameters p;
  for (int k = 0; k < Parameters::kMost; ++k) p.value[k] = values[k];
  return p;
}

// Calls body with the function of that code: of the two that sanitizers are to see, for one more
// would take as long to compile again.
template <typename Body>
void with_function(int64_t activation, const Parameters& p, const Body& body) {
#ifdef RELPROP_SANITIZED
  if (activation == 1) return body(Relu<float>(p));
  body(Sigmoid<float>(p));
#else
  with_activation<float>(activation, p, body);
#endif
}

template <int kPack>
void rescale_packed(const RescaleArguments<float>& a, int64_t activation, const Parameters& p) {
  with_function(activation, p, [&](auto f) {
    const float h = rescale_threshold<float>();
    run_on_host(kBlocks, kThreads,
                [&] { rescale_kernel<kPack, float, float, decltype(f)>(a, f, h); });
  });
}

template <int kPack>
void reveal_cancel_packed(const RevealCancelArguments<float>& a, int64_t activation,
                          const Parameters& p) {
  with_function(activation, p, [&](auto f) {
    const float h = rescale_threshold<float>();
    run_on_host(kBlocks, kThreads,
                [&] { reveal_cancel_kernel<kPack, float, float, decltype(f)>(a, f, h); });
  });
}

template <int kPack>
void signed_reveal_cancel_packed(const SignedRevealCancelArguments<float>& a, int64_t activation,
                                 const Parameters& p) {
  with_function(activation, p, [&](auto f) {
    const float h = rescale_threshold<float>();
    run_on_host(kBlocks, kThreads,
                [&] { signed_reveal_cancel_kernel<kPack, float, float, decltype(f)>(a, f, h); });
  });
}

template <int kPack>
void ratio_packed(const RatioArguments<float>& a, float epsilon, int64_t activation,
                  const Parameters& p) {
  with_function(activation, p, [&](auto f) {
    run_on_host(kBlocks, kThreads,
                [&] { lrp_ratio_kernel<kPack, float, float, decltype(f)>(a, f, epsilon); });
  });
}

template <int kPack>
void signed_ratio_packed(const SignedRatioArguments<float>& a, const SignedRatioFactors<float>& by,
                         int64_t activation, const Parameters& p) {
  with_function(activation, p, [&](auto f) {
    run_on_host(kBlocks, kThreads,
                [&] { signed_ratio_kernel<kPack, float, float, decltype(f)>(a, f, by); });
  });
}

Planes planes_of(bool channels_last, int64_t batch, int64_t channels, int64_t places) {
  const int64_t example = batch == 1 ? 0 : channels * places;
  if (channels_last) return {example, 1, channels};
  return {example, places, 1};
}

// along: length, count, kernel, stride, padding, dilation of each of three dimensions; adaptive
// windows are told by a kernel of 0.
Pool pool_of(const int64_t* along) {
  Pool pool;
  for (int d = 0; d < Pool::kDims; ++d) {
    const int64_t* w = along + 6 * d;
    pool.along[d] = w[2] == 0 ? Windows::to_count(w[0], w[1])
                              : Windows::fixed(w[0], w[1], w[2], w[3], w[4], w[5]);
  }
  return pool;
}

template <typename Rule>
void share_windows(int lanes, const ShareArguments<float>& a) {
  if (lanes == 1) run_on_host(kBlocks, kThreads, [&] { find_shares_kernel<1, float, Rule>(a); });
  if (lanes == 32) run_warps_on_host(kBlocks, [&] { find_shares_kernel<32, float, Rule>(a); });
  run_on_host(kBlocks, kThreads, [&] { gather_window_shares_kernel<float, Rule>(a); });
}

}  // namespace

extern "C" {

void rescale(int pack, const float* m_y, const float* x, const float* x0, float* m_x, int64_t count,
             int64_t period, int64_t activation, const double* parameters) {
  const RescaleArguments<float> a{m_y, x, x0, m_x, count, period};
  const Parameters p = parameters_of(parameters);
  pack == 1 ? rescale_packed<1>(a, activation, p) : rescale_packed<4>(a, activation, p);
}

void reveal_cancel(int pack, const float* positive, const float* negative, const float* P,
                   const float* N, const float* x0, const float* x, float* m_positive,
                   float* m_negative, int64_t count, int64_t period, int64_t activation,
                   const double* parameters) {
  const RevealCancelArguments<float> a{positive, negative,   P,          N,     x0,
                                       x,        m_positive, m_negative, count, period};
  const Parameters p = parameters_of(parameters);
  pack == 1 ? reveal_cancel_packed<1>(a, activation, p) : reveal_cancel_packed<4>(a, activation, p);
}

// positive, negative, u and v null: size_of_y is the result; else that is null.
void signed_reveal_cancel(int pack, const float* positive, const float* negative, const float* x,
                          const float* x0, const float* size, float* u, float* v, float* size_of_y,
                          int64_t count, int64_t period, int64_t activation,
                          const double* parameters) {
  const SignedRevealCancelArguments<float> a{positive, negative, x,         x0,    size,
                                             u,        v,        size_of_y, count, period};
  const Parameters p = parameters_of(parameters);
  pack == 1 ? signed_reveal_cancel_packed<1>(a, activation, p)
            : signed_reveal_cancel_packed<4>(a, activation, p);
}

void lrp_ratio(int pack, const float* multiplier, const float* amount, const float* z,
               const float* denominator, const float* bias, float* s, int64_t count, int64_t inner,
               int64_t channels, double epsilon, int64_t activation, const double* parameters) {
  const RatioArguments<float> a{multiplier, amount, z,     denominator == nullptr ? z : denominator,
                                bias,       s,      count, inner,
                                channels};
  const Parameters p = parameters_of(parameters);
  pack == 1 ? ratio_packed<1>(a, float(epsilon), activation, p)
            : ratio_packed<4>(a, float(epsilon), activation, p);
}

void signed_ratio(int pack, const float* multiplier, const float* amount, const float* z,
                  const float* size, float* s, float* below, int64_t count, double whole,
                  double gamma, double epsilon, int64_t activation, const double* parameters) {
  const SignedRatioArguments<float> a{multiplier, amount, z, size, s, below, count};
  const SignedRatioFactors<float> by{float(whole), float(gamma), float(epsilon)};
  const Parameters p = parameters_of(parameters);
  pack == 1 ? signed_ratio_packed<1>(a, by, activation, p)
            : signed_ratio_packed<4>(a, by, activation, p);
}

void max_pool_winner(int lanes, const float* m, const float* x, const float* x0, float* m_x,
                     int64_t batch, int64_t batch0, int64_t channels, int channels_last,
                     const int64_t* along) {
  const Pool pool = pool_of(along);
  const int64_t windows = batch * channels * pool.outputs();
  std::vector<int32_t> place(windows);
  std::vector<float> amount(windows);
  const bool last = channels_last != 0;
  const Planes inputs = planes_of(last, batch, channels, pool.inputs());
  const PoolArguments<float> a{m,
                               x,
                               x0,
                               m_x,
                               place.data(),
                               amount.data(),
                               planes_of(last, batch, channels, pool.outputs()),
                               inputs,
                               planes_of(last, batch0, channels, pool.inputs()),
                               inputs,
                               pool,
                               batch,
                               channels,
                               last};
  if (lanes == 1) run_on_host(kBlocks, kThreads, [&] { find_prizes_kernel<1>(a); });
  if (lanes == 32) run_warps_on_host(kBlocks, [&] { find_prizes_kernel<32>(a); });
  run_on_host(kBlocks, kThreads, [&] { gather_prizes_kernel(a); });
}

// by_value: in proportion to the inputs' values, else in equal parts to the maxima.
void max_pool_shares(int lanes, int by_value, const float* m, const float* amount, const float* x,
                     float* m_x, int64_t batch, int64_t channels, int channels_last, double epsilon,
                     const int64_t* along) {
  const Pool pool = pool_of(along);
  std::vector<float> highest(batch * channels * pool.outputs()), share(highest.size());
  const bool last = channels_last != 0;
  const Planes inputs = planes_of(last, batch, channels, pool.inputs());
  const Planes outputs = planes_of(last, batch, channels, pool.outputs());
  const ShareArguments<float> a{m,
                                amount,
                                x,
                                m_x,
                                by_value != 0 ? nullptr : highest.data(),
                                share.data(),
                                float(epsilon),
                                outputs,
                                outputs,
                                inputs,
                                inputs,
                                pool,
                                batch,
                                channels,
                                last};
  by_value != 0 ? share_windows<SharedByValue>(lanes, a) : share_windows<SharedByMaxima>(lanes, a);
}

// m_x null: positive and negative are results.
void max_pool_shapley(int own, float* positive, float* negative, const float* x, const float* x0,
                      float* m_x, int64_t batch, int64_t batch0, int64_t channels,
                      int channels_last, const int64_t* along) {
  const Pool pool = pool_of(along);
  const int64_t taps = batch * channels * pool.outputs() * pool.taps();
  std::vector<float> share(taps);
  std::vector<int32_t> order(taps);
  std::vector<double> of_rise(taps), of_fall(taps);
  const bool last = channels_last != 0;
  const Planes inputs = planes_of(last, batch, channels, pool.inputs());
  const Planes outputs = planes_of(last, batch, channels, pool.outputs());
  const ShapleyArguments<float> a{positive,
                                  negative,
                                  x,
                                  x0,
                                  m_x,
                                  m_x == nullptr ? nullptr : share.data(),
                                  order.data(),
                                  of_rise.data(),
                                  of_fall.data(),
                                  outputs,
                                  outputs,
                                  inputs,
                                  planes_of(last, batch0, channels, pool.inputs()),
                                  inputs,
                                  pool,
                                  batch,
                                  channels,
                                  last};
  if (own == 16) run_on_host(kBlocks, kThreads, [&] { share_windows_kernel<16>(a); });
  if (own == 0) run_on_host(kBlocks, kThreads, [&] { share_windows_kernel<0>(a); });
  if (m_x != nullptr) run_on_host(kBlocks, kThreads, [&] { gather_shares_kernel(a); });
}

void signed_linear(const float* d, const float* weight, float* P, float* N, int64_t examples,
                   int64_t inputs, int64_t outputs) {
  const DenseArguments<float> a{d, weight, examples, inputs, outputs, inputs};
  run_warps_on_host(kBlocks, [&] { signed_linear_kernel(a, P, N); });
}

void signed_linear_backward(const float* positive, const float* negative, const float* d,
                            const float* weight, float* m, int64_t examples, int64_t inputs,
                            int64_t outputs, int64_t rows) {
  const DenseArguments<float> a{d, weight, examples, inputs, outputs, inputs};
  const int64_t groups = (outputs + rows - 1) / rows;
  std::vector<float> sums(groups * examples * inputs);
  run_on_host(kBlocks, kThreads,
              [&] { add_row_groups_kernel(a, positive, negative, rows, groups, sums.data()); });
  run_on_host(kBlocks, kThreads,
              [&] { add_sums_kernel<float, float>(sums.data(), groups, examples * inputs, m); });
}
}
