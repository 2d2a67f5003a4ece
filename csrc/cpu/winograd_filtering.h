// Winograd's minimal filtering F(4, 3), along one dimension: four outputs of a filter of three taps
// from six inputs, by six multiplications in place of twelve. In the letters of Lavin and Gray,
// "Fast Algorithms for Convolutional Neural Networks" (2016), eq. 6 and 8,
//
//   y = A^T [(G g) * (B^T d)]    and nested, for 3x3 filters,    Y = A^T [(G g G^T) * (B^T d B)] A
//
// with 36 multiplications in place of 144. The matrices follow from the points 0, a, -a, b, -b and
// infinity at which polynomials are multiplied (Toom and Cook). The paper's a = 1, b = 2 cost an
// error that is twice that of these, which a search over pairs with few binary digits found.
#pragma once

#include "../host_device.h"

namespace relprop {

template <typename T>
struct MinimalFiltering {
  static constexpr int kOutputs = 4, kTaps = 3, kInputs = kOutputs + kTaps - 1;
  static constexpr T a = T(0.625), b = T(1.5);
  static constexpr T a2 = a * a, b2 = b * b, a3 = a2 * a, b3 = b2 * b;
  // One over the products of a point's distances from the other finite points.
  static constexpr double kA2 = 0.625 * 0.625, kB2 = 1.5 * 1.5;
  static constexpr T n0 = T(1 / (kA2 * kB2));
  static constexpr T na = T(1 / (2 * kA2 * (kA2 - kB2))), nb = T(1 / (2 * kB2 * (kB2 - kA2)));

  // B^T d. The rows are the coefficients of
  //   (x^2 - a^2)(x^2 - b^2),  x(x + a)(x^2 - b^2),  x(x - a)(x^2 - b^2),
  //   x(x + b)(x^2 - a^2),  x(x - b)(x^2 - a^2),  x(x^2 - a^2)(x^2 - b^2).
  template <typename Lanes>
  static RELPROP_HD void inputs(const Lanes (&d)[kInputs], Lanes (&v)[kInputs]) {
    const Lanes even_a = d[4] - b2 * d[2], odd_a = a * (d[3] - b2 * d[1]);
    const Lanes even_b = d[4] - a2 * d[2], odd_b = b * (d[3] - a2 * d[1]);
    v[0] = a2 * b2 * d[0] - (a2 + b2) * d[2] + d[4];
    v[1] = even_a + odd_a;
    v[2] = even_a - odd_a;
    v[3] = even_b + odd_b;
    v[4] = even_b - odd_b;
    v[5] = a2 * b2 * d[1] - (a2 + b2) * d[3] + d[5];
  }

  // G g. The rows are n (1, x, x^2) at the points x; (0, 0, 1) at infinity.
  template <typename Lanes>
  static RELPROP_HD void filter(const Lanes (&g)[kTaps], Lanes (&u)[kInputs]) {
    const Lanes even_a = na * (g[0] + a2 * g[2]), odd_a = na * a * g[1];
    const Lanes even_b = nb * (g[0] + b2 * g[2]), odd_b = nb * b * g[1];
    u[0] = n0 * g[0];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = g[2];
  }

  // A^T m. The columns are (1, x, x^2, x^3) at the points x; (0, 0, 0, 1) at infinity.
  template <typename Lanes>
  static RELPROP_HD void outputs(const Lanes (&m)[kInputs], Lanes (&y)[kOutputs]) {
    const Lanes even_a = m[1] + m[2], odd_a = m[1] - m[2];
    const Lanes even_b = m[3] + m[4], odd_b = m[3] - m[4];
    y[0] = m[0] + even_a + even_b;
    y[1] = a * odd_a + b * odd_b;
    y[2] = a2 * even_a + b2 * even_b;
    y[3] = a3 * odd_a + b3 * odd_b + m[5];
  }
};

}  // namespace relprop
