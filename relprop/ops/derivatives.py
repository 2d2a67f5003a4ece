"""Derivatives of the elementwise functions, how far each stands for a secant, and domains.

The `reach` of a function between a and b is how far apart they may be, in units of the distance
that `relprop.ops.rescale` speaks of, for the derivative at their midpoint to stand for the secant
between them. It is 0 where the function bends sharply in between.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

Parameters = Sequence[float]

# The reach of what is linear or quadratic: the midpoint's slope is the secant's.
ANYWHERE = 1e30


def hardswish(x: Tensor, p: Parameters) -> Tensor:
    """0, then ``x / 3 + 1 / 2``, then 1."""
    return torch.where(x <= -3, 0, torch.where(x < 3, x / 3 + 0.5, 1))


def sigmoid(x: Tensor, p: Parameters) -> Tensor:
    """``y (1 - y)``."""
    y = torch.sigmoid(x)
    return y * (1 - y)


def tanh(x: Tensor, p: Parameters) -> Tensor:
    """``1 - y^2``."""
    y = torch.tanh(x)
    return 1 - y * y


def softplus(x: Tensor, p: Parameters) -> Tensor:
    """``sigmoid(beta x)``, and 1 above the threshold."""
    t = x * p[0]
    return torch.where(t > p[1], 1, torch.sigmoid(t))


def elu(x: Tensor, p: Parameters) -> Tensor:
    """``scale``, and ``alpha * scale * input_scale * exp(input_scale x)`` up to 0."""
    alpha, scale, input_scale = p
    negative = alpha * scale * input_scale * torch.exp(input_scale * x.clamp(max=0))
    return torch.where(x > 0, scale, negative)


def gelu(x: Tensor, p: Parameters) -> Tensor:
    """``Phi(x) + x phi(x)``, of the standard normal distribution."""
    density = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return 0.5 * torch.erfc(-x / math.sqrt(2)) + x * density


def gelu_tanh(x: Tensor, p: Parameters) -> Tensor:
    """``s + x s' ``, with ``s = sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))``."""
    c = x.clamp(-32, 32)  # beyond, s is 0 or 1, and the cube might overflow
    scale = 2 * math.sqrt(2 / math.pi)
    s = torch.sigmoid(scale * (c + 0.044715 * c**3))
    return s + c * s * (1 - s) * scale * (1 + 3 * 0.044715 * c**2)


def silu(x: Tensor, p: Parameters) -> Tensor:
    """``s + x s (1 - s)``, with ``s = sigmoid(x)``."""
    s = torch.sigmoid(x)
    return s + x * s * (1 - s)


def mish(x: Tensor, p: Parameters) -> Tensor:
    """``t + x (1 - t^2) sigmoid(x)``, with ``t = tanh(softplus(x))``."""
    t = torch.tanh(functional.softplus(x))
    return t + x * (1 - t * t) * torch.sigmoid(x)


def power(x: Tensor, p: Parameters) -> Tensor:
    """``exponent * x^(exponent - 1)``, and 0 for the constant ``x^0``."""
    return torch.zeros_like(x) if p[0] == 0 else p[0] * x.pow(p[0] - 1)


def on_one_side(a: Tensor, b: Tensor, at: float) -> Tensor:
    """Whether a and b are both above `at`, or both not."""
    return (a > at) == (b > at)


def within_lines(a: Tensor, b: Tensor, p: Parameters) -> Tensor:
    """The reach of two lines that meet at 0."""
    return torch.where(on_one_side(a, b, 0), ANYWHERE, 0)


def within_hard_pieces(a: Tensor, b: Tensor, p: Parameters) -> Tensor:
    """The reach of hardswish and hardsigmoid, whose pieces end at -3 and 3."""
    return torch.where(on_one_side(a, b, -3) & on_one_side(a, b, 3), ANYWHERE, 0)


def within_softplus(a: Tensor, b: Tensor, p: Parameters) -> Tensor:
    """1 / beta; torch's goes over to a line at its threshold, where it leaves a small step."""
    return torch.where(on_one_side(a * p[0], b * p[0], p[1]), 1 / abs(p[0]), 0)


def within_elu(a: Tensor, b: Tensor, p: Parameters) -> Tensor:
    """1 / input_scale; its slope jumps at 0, or its curvature."""
    return torch.where(on_one_side(a, b, 0), 1 / p[2], 0)


def within_softsign(a: Tensor, b: Tensor, p: Parameters) -> Tensor:
    """1; its curvature jumps at 0."""
    return on_one_side(a, b, 0).to(a.dtype)


def near_to_zero(a: Tensor, b: Tensor, p: Parameters) -> Tensor:
    """The smaller distance from 0: how curved logarithm and root are at x goes by x."""
    return torch.where(on_one_side(a, b, 0), torch.minimum(a.abs(), b.abs()), 0)


def near_to_zero_of_power(a: Tensor, b: Tensor, p: Parameters) -> Tensor:
    """The same for a power, which is the more curved the higher it is."""
    return near_to_zero(a, b, p) / max(abs(p[0]), 1)


def domain_of_power(low: Tensor, high: Tensor, p: Parameters) -> Tensor:
    """A whole exponent takes every number, but none across the pole of a negative exponent."""
    whole = p[0] == math.floor(p[0])
    if p[0] >= 0:
        return low >= (-math.inf if whole else 0)
    return (low > 0) | ((high < 0) & whole)


def anywhere(a: Tensor, b: Tensor, p: Parameters) -> Tensor:
    """The reach of a parabola."""
    return torch.full_like(a - b, ANYWHERE)
