// A plane is walked line by line: small windows are solved side by side, large ones one by one. An
// input belongs to one thread, which adds up what its windows give it in scan order, so sums are
// deterministic.
#include "max_pool_shapley.h"

#include "../shapley_operands.h"
#include "kernel_runner.h"
#include "lines.h"
#include "shapley_lanes.h"
#include "shapley_window.h"

namespace relprop {
namespace {

// Windows of more taps than this are solved one by one; so are those of lines that fill few lanes.
constexpr int64_t kMostTaps = 64;
constexpr int64_t kFewestLanes = 4;

// What one thread takes of a plane: windows by output rows, and the inputs that it gives to.
// Windows that reach into two bands are solved for both.
struct Band {
  int64_t first_row, end_row;
  int64_t first_place, end_place;

  static Band whole(const Pool& pool) { return {0, pool.along[1].count, 0, pool.inputs()}; }

  // Number i of n, of a pool that is flat.
  static Band of(const Pool& pool, int64_t i, int64_t n, bool parts) {
    const Windows& height = pool.along[1];
    const int64_t length = parts ? height.count : height.length;
    const int64_t begin = i * length / n, end = (i + 1) * length / n;
    if (parts) return {begin, end, 0, 0};
    const int64_t width = pool.along[2].length;
    if (begin == end) return {0, 0, begin * width, begin * width};
    const int64_t first = height.first_with(begin), last = height.last_with(end - 1);
    return {first, last + 1, begin * width, end * width};
  }
};

// One thread's work: one plane after the other, or groups of planes whose channels are the lanes.
template <typename T>
class Worker {
 public:
  explicit Worker(const ShapleyOperands& o)
      : o_(o),
        lanes_(std::min(o.pool.taps(), kMostTaps)),
        small_(o.pool.taps() <= kMostTaps),
        parts_(!o.m_x.defined()) {}

  void planes(int64_t n, int64_t c, int64_t planes, const Band& band) {
    band_ = band;
    positive_ = view(side_of<T>(o_, o_.positive), o_.positive_planes, n, c);
    negative_ = view(side_of<T>(o_, o_.negative), o_.negative_planes, n, c);
    x_ = view(data_of<T>(o_.x), o_.x_planes, n, c);
    x0_ = view(data_of<T>(o_.x0), o_.x0_planes, n, c);
    if (!parts_) {
      m_x_ = view(mutable_data_of<T>(o_.m_x), o_.m_x_planes, n, c);
      clear(planes);
    }
    const Windows* w = o_.pool.along;
    for (int64_t od = 0; od < w[0].count; ++od) {
      for (int64_t oh = band.first_row; oh < band.end_row; ++oh) {
        walk_row({od, oh, 0, planes, 0});
      }
    }
  }

 private:
  template <typename U>
  static View<U> view(U* data, const Planes& planes, int64_t n, int64_t c) {
    return {data + planes.offset(n, c), planes.step, planes.channel};
  }

  void clear(int64_t planes) const {
    if (planes == 1 && m_x_.step == 1) {
      std::fill(m_x_.data + band_.first_place, m_x_.data + band_.end_place, T(0));
      return;
    }
    for (int64_t place = band_.first_place; place < band_.end_place; ++place) {
      for (int64_t plane = 0; plane < planes; ++plane) m_x_.at(place, plane) = T(0);
    }
  }

  bool owns(int64_t place) const { return place >= band_.first_place && place < band_.end_place; }

  // All windows of an output row, in one plane or in several.
  void walk_row(Line line) {
    const Windows& w = o_.pool.along[2];
    if (small_ && line.lanes >= kFewestLanes) {
      for (line.ow = 0; line.ow < w.count; ++line.ow) solve_line(line);
    } else if (small_ && line.lanes == 1 && !w.adaptive && w.count >= kFewestLanes) {
      line.window_step = 1;
      for (line.ow = 0; line.ow < w.count; line.ow += line.lanes) {
        line.lanes = std::min(w.count - line.ow, ShapleyLanes<T>::kMostLanes);
        solve_line(line);
      }
    } else {
      for (line.ow = 0; line.ow < w.count; ++line.ow) {
        for (int64_t channel = 0; channel < line.lanes; ++channel) solve_window(line, channel);
      }
    }
  }

  int64_t window_of(const Line& line) const {
    const Windows* w = o_.pool.along;
    return (line.od * w[1].count + line.oh) * w[2].count + line.ow;
  }

  void solve_line(const Line& line) {
    taps_.clear();
    const bool columns = line.window_step > 0;
    columns ? taps_of_row(o_.pool, line, taps_) : taps_of_channels(o_.pool, line, taps_);
    const int64_t places = line.window_step * o_.pool.along[2].stride;
    const auto step = [&](const auto& view) {
      return places * view.step + (columns ? 0 : view.lane_step);
    };
    lanes_.start(line.lanes);
    for (const Tap& tap : taps_) {
      const int64_t place = tap.place + tap.first * places;
      lanes_.enter(&x_.at(place, 0), step(x_), &x0_.at(place, 0), step(x0_), tap.first, tap.count);
    }
    if (parts_) {
      lanes_.part();
      move_sides<false>(line);
      return;
    }
    move_sides<true>(line);
    lanes_.share();
    for (size_t i = 0; i < taps_.size(); ++i) {
      const Tap& tap = taps_[i];
      const int64_t place = tap.place + tap.first * places;
      if (owns(place))
        lanes_.give(int64_t(i), tap.first, tap.count, &m_x_.at(place, 0), step(m_x_));
    }
  }

  // Moves what the windows have for rises and falls into the lanes, or out of them.
  template <bool kIn>
  void move_sides(const Line& line) {
    const int64_t window = window_of(line);
    for (int64_t lane = 0; lane < line.lanes; ++lane) {
      const int64_t channel = line.window_step == 0 ? lane : 0;
      T& positive = positive_.at(window + lane * line.window_step, channel);
      T& negative = negative_.at(window + lane * line.window_step, channel);
      if (kIn) {
        lanes_.positive[lane] = positive;
        lanes_.negative[lane] = negative;
      } else {
        positive = lanes_.positive[lane];
        negative = lanes_.negative[lane];
      }
    }
  }

  void solve_window(Line line, int64_t channel) {
    line.lanes = 1;
    taps_.clear();
    taps_of_channels(o_.pool, line, taps_);
    window_.start();
    for (const Tap& tap : taps_)
      window_.enter(x_.at(tap.place, channel), x0_.at(tap.place, channel));
    T& positive = positive_.at(window_of(line), channel);
    T& negative = negative_.at(window_of(line), channel);
    if (parts_) return window_.part(positive, negative);
    window_.share();
    for (size_t i = 0; i < taps_.size(); ++i) {
      const T m = window_.multiplier(int64_t(i), positive, negative);
      if (owns(taps_[i].place)) m_x_.at(taps_[i].place, channel) += m;
    }
  }

  const ShapleyOperands& o_;
  Band band_;
  View<T> positive_, negative_, m_x_;
  View<const T> x_, x0_;
  std::vector<Tap> taps_;
  ShapleyLanes<T> lanes_;
  ShapleyWindow<T> window_;
  bool small_, parts_;
};

template <typename T>
void solve_planes(const ShapleyOperands& o) {
  const bool beside = o.x_planes.channel == 1 && o.x0_planes.channel == 1;
  const int64_t lanes = beside ? std::min(o.channels, ShapleyLanes<T>::kMostLanes) : 1;
  const int64_t groups = (o.channels + lanes - 1) / lanes, units = o.batch * groups;
  const int64_t threads = torch::stable::get_num_threads();
  const bool flat = o.pool.along[0].length == 1;
  const int64_t bands = flat && units < threads ? threads : 1;
  const int64_t grain = std::max<int64_t>(1, 16384 * bands / (lanes * (o.pool.inputs() + 1)));
  torch::stable::parallel_for(0, units * bands, grain, [&](int64_t begin, int64_t end) {
    Worker<T> worker(o);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t unit = i / bands, c = unit % groups * lanes;
      const Band band =
          bands > 1 ? Band::of(o.pool, i % bands, bands, !o.m_x.defined()) : Band::whole(o.pool);
      worker.planes(unit / groups, c, std::min(lanes, o.channels - c), band);
    }
  });
}

void solve(const ShapleyOperands& o) {
  if (o.positive.numel() == 0) return;
  if (o.x.scalar_type() == ScalarType::Double) {
    run_kernel([&] { solve_planes<double>(o); });
  } else {
    run_kernel([&] { solve_planes<float>(o); });
  }
}

}  // namespace

Tensor cpu::shapley(const Tensor& positive, const OptionalTensor& negative, const Tensor& x,
                    const Tensor& x0, const Pool& pool) {
  if (is_half(x)) {
    constexpr ScalarType wide = ScalarType::Float;
    const Tensor m_x = shapley(in_dtype(positive, wide), in_dtype(negative, wide),
                               in_dtype(x, wide), in_dtype(x0, wide), pool);
    return in_dtype(m_x, x.scalar_type());
  }
  if (positive.numel() == 0) return torch::stable::fill_(torch::stable::empty_like(x), 0);
  const ShapleyOperands o = shapley_operands(positive, negative, x, x0, pool);
  solve(o);
  return like_input(o.x, o.m_x, x);
}

std::tuple<Tensor, Tensor> cpu::shapley_parts(const Tensor& x, const Tensor& x0, const Pool& pool) {
  if (is_half(x)) {
    constexpr ScalarType wide = ScalarType::Float;
    const auto [rises, falls] = shapley_parts(in_dtype(x, wide), in_dtype(x0, wide), pool);
    return {in_dtype(rises, x.scalar_type()), in_dtype(falls, x.scalar_type())};
  }
  const ShapleyOperands o = shapley_parts_operands(x, x0, pool);
  solve(o);
  return {o.positive, o.negative};
}

namespace {

Tensor max_pool_shapley(const Tensor& positive, const OptionalTensor& negative, const Tensor& x,
                        const Tensor& x0, const std::vector<int64_t>& kernel_size,
                        const std::vector<int64_t>& stride, const std::vector<int64_t>& padding,
                        const std::vector<int64_t>& dilation, bool) {
  return cpu::shapley(positive, negative, x, x0,
                      fixed_pool(positive, x, kernel_size, stride, padding, dilation));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(relprop, CPU, m) {
  m.impl("max_pool_shapley", TORCH_BOX(&max_pool_shapley));
}

}  // namespace relprop
