// Max pooling backwards where several inputs of a window may get a part, on the CPU, for fixed and
// adaptive windows alike.
//
// A plane is walked line by line, and a line twice, its windows side by side in vector registers:
// once for what they hold, and once to hand out their shares. A plane belongs to one thread, so
// sums are deterministic.
#pragma once

#include "../share_operands.h"
#include "../window_shares.h"
#include "clones.h"
#include "kernel_runner.h"
#include "lines.h"

namespace relprop::cpu {

// Shows each lane the value at x[0], x[step], x[2 * step], ...
template <int kStep, typename Rule, typename T>
RELPROP_CLONES static void hold_loop(const T* __restrict x, int64_t step, int64_t lanes,
                                     T* __restrict highest, T* __restrict total) {
  if (kStep > 0) step = kStep;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const Held<T> held = Rule::with(Held<T>{highest[lane], total[lane]}, x[lane * step]);
    highest[lane] = held.highest;
    total[lane] = held.total;
  }
}

// Gives each lane's share to the input at x, if that gets one.
template <int kStep, typename Rule, typename T>
RELPROP_CLONES static void give_loop(const T* __restrict x, int64_t x_step, T* __restrict m_x,
                                     int64_t m_x_step, int64_t lanes, const T* __restrict highest,
                                     const T* __restrict share) {
  if (kStep > 0) x_step = m_x_step = kStep;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const bool gives = Rule::gives(x[lane * x_step], highest[lane]);
    m_x[lane * m_x_step] += gives ? share[lane] : T(0);
  }
}

// The windows of a line.
template <typename T>
struct Shares {
  std::vector<T> highest, total, share;

  explicit Shares(int64_t lanes) : highest(lanes), total(lanes), share(lanes) {}

  Held<T> held(int64_t lane) const { return {highest[lane], total[lane]}; }

  void clear() {
    std::fill(highest.begin(), highest.end(), Held<T>{}.highest);
    std::fill(total.begin(), total.end(), T(0));
  }

  template <typename Rule>
  void hold(const Tap& tap, const T* x, int64_t step) {
    T *high = highest.data() + tap.first, *sum = total.data() + tap.first;
    if (step == 1) return hold_loop<1, Rule>(x, step, tap.count, high, sum);
    if (step == 2) return hold_loop<2, Rule>(x, step, tap.count, high, sum);
    hold_loop<0, Rule>(x, step, tap.count, high, sum);
  }

  template <typename Rule>
  void give(const Tap& tap, const T* x, int64_t x_step, T* m_x, int64_t m_x_step) const {
    const T *high = highest.data() + tap.first, *part = share.data() + tap.first;
    if (x_step == 1 && m_x_step == 1)
      return give_loop<1, Rule>(x, x_step, m_x, m_x_step, tap.count, high, part);
    give_loop<0, Rule>(x, x_step, m_x, m_x_step, tap.count, high, part);
  }
};

// Fewer windows in a row than this are not worth the vector registers.
constexpr int64_t kFewestSharedColumns = 8;
// Channels that one thread takes at a time.
constexpr int64_t kMostSharedLanes = 256;

// One plane, or a group of planes whose channels are the lanes.
template <typename Rule, typename T>
class SharedPlanes {
 public:
  SharedPlanes(const ShareOperands& o, int64_t n, int64_t c, int64_t planes)
      : pool_(o.pool),
        planes_(planes),
        epsilon_(T(o.epsilon)),
        shares_(std::max(planes, o.pool.along[2].count)) {
    multiplier_ = view(data_of<T>(o.multiplier), o.multiplier_planes, n, c);
    amount_ = view(data_of<T>(o.amount), o.amount_planes, n, c);
    x_ = view(data_of<T>(o.x), o.x_planes, n, c);
    m_x_ = view(mutable_data_of<T>(o.m_x), o.m_x_planes, n, c);
  }

  void walk() {
    clear();
    const Windows* w = pool_.along;
    const bool columns = planes_ == 1 && !w[2].adaptive && w[2].count >= kFewestSharedColumns;
    for (int64_t od = 0; od < w[0].count; ++od) {
      for (int64_t oh = 0; oh < w[1].count; ++oh) {
        if (columns) walk_line({od, oh, 0, w[2].count, 1});
        for (int64_t ow = 0; !columns && ow < w[2].count; ++ow) {
          planes_ > 1 ? walk_line({od, oh, ow, planes_, 0}) : walk_window({od, oh, ow, 1, 0});
        }
      }
    }
  }

 private:
  template <typename U>
  static View<U> view(U* data, const Planes& planes, int64_t n, int64_t c) {
    return {data == nullptr ? nullptr : data + planes.offset(n, c), planes.step, planes.channel};
  }

  void clear() const {
    if (planes_ == 1 && m_x_.step == 1) {
      std::fill_n(m_x_.data, pool_.inputs(), T(0));
      return;
    }
    for (int64_t place = 0; place < pool_.inputs(); ++place) {
      for (int64_t plane = 0; plane < planes_; ++plane) m_x_.at(place, plane) = T(0);
    }
  }

  int64_t window_of(const Line& line) const {
    const Windows* w = pool_.along;
    return (line.od * w[1].count + line.oh) * w[2].count + line.ow;
  }

  T share_of(const Held<T>& held, int64_t window, int64_t channel) const {
    const T multiplier = multiplier_.data == nullptr ? T(0) : multiplier_.at(window, channel);
    const T amount = amount_.data == nullptr ? T(0) : amount_.at(window, channel);
    return Rule::share(held, multiplier, amount, epsilon_);
  }

  void walk_line(const Line& line) {
    const bool columns = line.window_step > 0;
    taps_.clear();
    columns ? taps_of_row(pool_, line, taps_) : taps_of_channels(pool_, line, taps_);
    const int64_t places = line.window_step * pool_.along[2].stride;
    const auto step = [&](const auto& view) {
      return columns ? places * view.step : view.lane_step;
    };
    shares_.clear();
    for (const Tap& tap : taps_) {
      const int64_t place = tap.place + tap.first * places;
      shares_.template hold<Rule>(tap, &x_.at(place, 0), step(x_));
    }
    for (int64_t lane = 0; lane < line.lanes; ++lane) {
      const int64_t window = window_of(line) + lane * line.window_step;
      shares_.share[lane] = share_of(shares_.held(lane), window, columns ? 0 : lane);
    }
    for (const Tap& tap : taps_) {
      const int64_t place = tap.place + tap.first * places;
      shares_.template give<Rule>(tap, &x_.at(place, 0), step(x_), &m_x_.at(place, 0), step(m_x_));
    }
  }

  // One window by itself, whose taps would fill no vector.
  void walk_window(const Line& line) const {
    const Windows& w = pool_.along[2];
    const int64_t low = w.low(line.ow), high = w.high(line.ow);
    Held<T> held;
    for_each_row(pool_, line, [&](int64_t place, int64_t) {
      for (int64_t kw = low; kw < high; ++kw)
        held = Rule::with(held, x_.at(place + kw * w.dilation, 0));
    });
    const T share = share_of(held, window_of(line), 0);
    for_each_row(pool_, line, [&](int64_t place, int64_t) {
      for (int64_t kw = low; kw < high; ++kw) {
        const int64_t tap = place + kw * w.dilation;
        if (Rule::gives(x_.at(tap, 0), held.highest)) m_x_.at(tap, 0) += share;
      }
    });
  }

  const Pool& pool_;
  int64_t planes_;
  T epsilon_;
  View<const T> multiplier_, amount_, x_;
  View<T> m_x_;
  std::vector<Tap> taps_;
  Shares<T> shares_;
};

template <typename Rule, typename T>
void share_planes(const ShareOperands& o) {
  const int64_t lanes = o.x_planes.channel == 1 ? std::min(o.channels, kMostSharedLanes) : 1;
  const int64_t groups = (o.channels + lanes - 1) / lanes;
  const int64_t grain = std::max<int64_t>(1, 16384 / (lanes * (o.pool.inputs() + 1)));
  torch::stable::parallel_for(0, o.batch * groups, grain, [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; ++group) {
      const int64_t c = group % groups * lanes;
      SharedPlanes<Rule, T>(o, group / groups, c, std::min(lanes, o.channels - c)).walk();
    }
  });
}

// The multiplier of x for the windows of `pool`, by a rule of window_shares.h.
template <typename Rule>
Tensor share(const OptionalTensor& multiplier, const OptionalTensor& amount, const Tensor& x,
             const Pool& pool, double epsilon) {
  if (is_half(x)) {
    constexpr ScalarType wide = ScalarType::Float;
    const Tensor m_x = share<Rule>(in_dtype(multiplier, wide), in_dtype(amount, wide),
                                   in_dtype(x, wide), pool, epsilon);
    return in_dtype(m_x, x.scalar_type());
  }
  if (at_windows(multiplier, amount).numel() == 0)
    return torch::stable::fill_(torch::stable::empty_like(x), 0);
  const ShareOperands o = share_operands(multiplier, amount, x, pool, epsilon);
  if (x.scalar_type() == ScalarType::Double) {
    run_kernel([&] { share_planes<Rule, double>(o); });
  } else {
    run_kernel([&] { share_planes<Rule, float>(o); });
  }
  return like_input(o.x, o.m_x, x);
}

}  // namespace relprop::cpu
