// What a convolution by 1x1 filters is given, as its kernels read it.
#pragma once

#include <cstdint>

#include "../stable.h"

namespace relprop {

// Images with their channels side by side, and what weights above and below 0 are multiplied by
// where they meet them. Sizes and steps are counted in elements.
template <typename T>
struct PointwiseImages {
  const T* data = nullptr;  // may be missing
  int64_t example = 0, row = 0, column = 0;
  T positive = 1, negative = 1;
};

template <typename T>
struct PointwiseOperands {
  int64_t batch = 0, channels = 0, height = 0, width = 0;
  PointwiseImages<T> images[2];

  // From an input to an output; one of the steps is 1.
  const T* weight = nullptr;
  int64_t weight_output = 0, weight_input = 0;

  const T* bias = nullptr;  // may be missing
  T* z = nullptr;           // contiguous, channels last
  int64_t outputs = 0;

  int64_t places() const { return batch * height * width; }
  // What is summed over for each output.
  int64_t depth() const { return images[1].data ? 2 * channels : channels; }
};

template <typename T>
PointwiseImages<T> pointwise_images(const OptionalTensor& x, double positive, double negative) {
  if (!x) return {};
  return {data_of<T>(x), x->stride(0), x->stride(2), x->stride(3), T(positive), T(negative)};
}

// What is convolved; the weight and the result are still missing.
template <typename T>
PointwiseOperands<T> pointwise_operands(const Tensor& x, double positive, double negative,
                                        const OptionalTensor& other, double other_positive,
                                        double other_negative) {
  PointwiseOperands<T> o;
  o.batch = x.size(0), o.channels = x.size(1), o.height = x.size(2), o.width = x.size(3);
  o.images[0] = pointwise_images<T>(x, positive, negative);
  o.images[1] = pointwise_images<T>(other, other_positive, other_negative);
  return o;
}

}  // namespace relprop
