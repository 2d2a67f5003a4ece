// A plane is walked line by line: the maxima of a line's windows are found side by side in vector
// registers. Then the prizes are handed out, one lane after the other. A plane belongs to one
// thread, so sums are deterministic.
#include "max_pool_winner.h"

#include <type_traits>

#include "../pooling.h"
#include "../rules.h"
#include "clones.h"
#include "kernel_runner.h"
#include "lines.h"

namespace relprop {
namespace {

// A place in the plane, relative to the start of its window; as wide as T, so that lanes match.
template <typename T>
using Place = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

// Lets the values at x[0], x[step], x[2 * step], ... challenge the best of their lanes.
template <int kStep, typename T>
RELPROP_CLONES static void challenge(const T* __restrict x, int64_t step, int64_t lanes,
                                     Place<T> place, T* __restrict best,
                                     Place<T>* __restrict winner) {
  if (kStep > 0) step = kStep;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const T value = x[lane * step];
    const bool wins = wins_over(value, best[lane]) | (winner[lane] < 0);
    best[lane] = wins ? value : best[lane];
    winner[lane] = wins ? place : winner[lane];
  }
}

// Whether any of these values would win; it vectorises, as there is nothing to remember.
template <typename T>
RELPROP_CLONES static bool any_wins(const T* __restrict x, int64_t count, T best) {
  Place<T> any = 0;
  for (int64_t i = 0; i < count; ++i) any |= wins_over(x[i], best) ? 1 : 0;
  return any != 0;
}

// The maxima of a line of windows, and where they are; -1 where a window is all padding.
template <typename T>
struct Winners {
  std::vector<T> best;
  std::vector<Place<T>> place;

  explicit Winners(int64_t lanes) : best(lanes), place(lanes) {}

  void clear() {
    std::fill(best.begin(), best.end(), -std::numeric_limits<T>::infinity());
    std::fill(place.begin(), place.end(), Place<T>(-1));
  }

  void challenge(const T* x, int64_t step, int64_t first, int64_t lanes, int64_t place_now) {
    T* b = best.data() + first;
    Place<T>* p = place.data() + first;
    if (step == 1) return relprop::challenge<1>(x, step, lanes, Place<T>(place_now), b, p);
    if (step == 2) return relprop::challenge<2>(x, step, lanes, Place<T>(place_now), b, p);
    relprop::challenge<0>(x, step, lanes, Place<T>(place_now), b, p);
  }
};

// The lanes are the windows of an output row, evenly spaced.
template <typename T>
void find_row(const View<const T>& x, const Pool& pool, const Line& line, Winners<T>& winners) {
  const Windows& w = pool.along[2];
  winners.clear();
  for_each_row(pool, line, [&](int64_t place, int64_t relative) {
    for (int64_t kw = 0; kw < w.kernel; ++kw) {
      const int64_t shift = kw * w.dilation, column = shift - w.padding;
      const int64_t low = column >= 0 ? 0 : (-column + w.stride - 1) / w.stride;
      const int64_t room = w.length - column;
      const int64_t high = room <= 0 ? 0 : std::min(w.count, (room + w.stride - 1) / w.stride);
      if (low >= high) continue;
      winners.challenge(&x.at(place + shift + low * w.stride, 0), w.stride * x.step, low,
                        high - low, relative + shift);
    }
  });
}

// The lanes are the channels, side by side in memory, of one window.
template <typename T>
void find_channels(const View<const T>& x, const Pool& pool, const Line& line,
                   Winners<T>& winners) {
  const Windows& w = pool.along[2];
  winners.clear();
  for_each_row(pool, line, [&](int64_t place, int64_t relative) {
    for (int64_t kw = w.low(line.ow); kw < w.high(line.ow); ++kw) {
      const int64_t shift = kw * w.dilation;
      winners.challenge(&x.at(place + shift, 0), 1, 0, line.lanes, relative + shift);
    }
  });
}

// One window by itself: the only lane. Long rows are searched in blocks, most of which hold no
// winner.
template <typename T>
void find_window(const View<const T>& x, const Pool& pool, const Line& line, Winners<T>& winners) {
  constexpr int64_t kBlock = 16;
  const Windows& w = pool.along[2];
  const bool in_blocks = x.step * w.dilation == 1;
  T best = -std::numeric_limits<T>::infinity();
  int64_t winner = -1;
  for_each_row(pool, line, [&](int64_t place, int64_t relative) {
    const int64_t end = w.high(line.ow);
    for (int64_t kw = w.low(line.ow); kw < end; ++kw) {
      const int64_t shift = kw * w.dilation;
      const T* value = &x.at(place + shift, 0);
      if (in_blocks && winner >= 0 && kw + kBlock <= end && !any_wins(value, kBlock, best)) {
        kw += kBlock - 1;
      } else if (winner < 0 || wins_over(*value, best)) {
        best = *value;
        winner = relative + shift;
      }
    }
  });
  winners.best[0] = best;
  winners.place[0] = Place<T>(winner);
}

// One plane, or a group of planes whose channels are the lanes.
template <typename T>
class Planeful {
 public:
  Planeful(const PoolOperands& o, int64_t n, int64_t c, int64_t planes, int64_t lanes)
      : pool_(o.pool), planes_(planes), i_(lanes), j_(o.x0 ? lanes : 0) {
    m_ = view(data_of<T>(o.multiplier), o.multiplier_planes, n, c);
    x_ = view(data_of<T>(o.x), o.x_planes, n, c);
    if (o.x0) x0_ = view(data_of<T>(*o.x0), o.x0_planes, n, c);
    m_x_ = view(mutable_data_of<T>(o.m_x), o.m_x_planes, n, c);
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

  template <typename Find>
  void redistribute(const Line& line, const Find& find) {
    find(x_, pool_, line, i_);
    if (x0_.data != nullptr) find(x0_, pool_, line, j_);
    const Windows* w = pool_.along;
    int64_t window = (line.od * w[1].count + line.oh) * w[2].count + line.ow;
    int64_t start = start_of(pool_, line);
    for (int64_t lane = 0; lane < line.lanes; ++lane) {
      const int64_t channel = line.window_step == 0 ? lane : 0;
      settle(start, window, channel, lane);
      window += line.window_step;
      start += line.window_step * w[2].stride;
    }
  }

 private:
  template <typename U>
  static View<U> view(U* data, const Planes& planes, int64_t n, int64_t c) {
    return {data + planes.offset(n, c), planes.step, planes.channel};
  }

  void settle(int64_t start, int64_t window, int64_t channel, int64_t lane) const {
    const T m = m_.at(window, channel);
    const Place<T> i = i_.place[lane];
    if (i < 0) return;
    if (x0_.data == nullptr) {
      m_x_.at(start + i, channel) += m;
      return;
    }
    const Place<T> j = j_.place[lane];
    const Prize<T, Place<T>> prize = window_prize(m, i_.best[lane], x0_.at(start + i, channel), i,
                                                  x_.at(start + j, channel), j_.best[lane], j);
    if (prize.place >= 0) m_x_.at(start + prize.place, channel) += prize.amount;
  }

  const Pool& pool_;
  int64_t planes_;
  View<const T> m_, x_, x0_;
  View<T> m_x_;
  Winners<T> i_, j_;
};

// Fewer windows in a row than this are not worth the vector registers.
constexpr int64_t kFewestColumns = 8;
// Channels that one thread takes at a time.
constexpr int64_t kMostLanes = 256;

template <typename T>
void redistribute_planes(const PoolOperands& o, int64_t n, int64_t c, int64_t planes) {
  const Windows* w = o.pool.along;
  const bool columns = planes == 1 && !w[2].adaptive && w[2].count >= kFewestColumns;
  Planeful<T> planeful(o, n, c, planes, columns ? w[2].count : planes);
  planeful.clear();
  for (int64_t od = 0; od < w[0].count; ++od) {
    for (int64_t oh = 0; oh < w[1].count; ++oh) {
      if (columns) planeful.redistribute({od, oh, 0, w[2].count, 1}, find_row<T>);
      for (int64_t ow = 0; !columns && ow < w[2].count; ++ow) {
        const Line line{od, oh, ow, planes, 0};
        if (planes > 1) planeful.redistribute(line, find_channels<T>);
        if (planes == 1) planeful.redistribute(line, find_window<T>);
      }
    }
  }
}

template <typename T>
void redistribute_all(const PoolOperands& o) {
  const bool beside = o.x_planes.channel == 1 && (!o.x0 || o.x0_planes.channel == 1);
  const int64_t lanes = beside ? std::min(o.channels, kMostLanes) : 1;
  const int64_t groups = (o.channels + lanes - 1) / lanes;
  const int64_t grain = std::max<int64_t>(1, 16384 / (lanes * (o.pool.inputs() + 1)));
  torch::stable::parallel_for(0, o.batch * groups, grain, [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; ++group) {
      const int64_t c = group % groups * lanes;
      redistribute_planes<T>(o, group / groups, c, std::min(lanes, o.channels - c));
    }
  });
}

}  // namespace

Tensor cpu::redistribute(const Tensor& multiplier, const Tensor& x, const OptionalTensor& x0,
                         const Pool& pool) {
  if (is_half(x)) {
    constexpr ScalarType wide = ScalarType::Float;
    const Tensor m_x =
        redistribute(in_dtype(multiplier, wide), in_dtype(x, wide), in_dtype(x0, wide), pool);
    return in_dtype(m_x, x.scalar_type());
  }
  if (multiplier.numel() == 0) return torch::stable::fill_(torch::stable::empty_like(x), 0);
  STD_TORCH_CHECK(pool.inputs() <= std::numeric_limits<Place<float>>::max(),
                  "a max pool's plane may have at most 2^31 - 1 elements");
  const PoolOperands o = pool_operands(multiplier, x, x0, pool);
  if (x.scalar_type() == ScalarType::Double) {
    run_kernel([&] { redistribute_all<double>(o); });
  } else {
    run_kernel([&] { redistribute_all<float>(o); });
  }
  return like_input(o, x);
}

namespace {

Tensor max_pool_winner(const Tensor& multiplier, const Tensor& x, const OptionalTensor& x0,
                       const std::vector<int64_t>& kernel_size, const std::vector<int64_t>& stride,
                       const std::vector<int64_t>& padding, const std::vector<int64_t>& dilation,
                       bool) {
  return cpu::redistribute(multiplier, x, x0,
                           fixed_pool(multiplier, x, kernel_size, stride, padding, dilation));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CPU, m) {
  m.impl("max_pool_winner", TORCH_BOX(&max_pool_winner));
}

}  // namespace relprop
