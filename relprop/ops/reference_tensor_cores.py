"""The fused convolution in plain PyTorch: what its kernel must compute."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .activations import ACTIVATIONS
from .geometry import left_over
from .reference import _accumulate, lrp_ratio


def fused_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    transposed: bool,
    parts: Sequence[float],
    other: Tensor | None,
    z: Tensor | None,
    denominator: Tensor | None,
    other_denominator: Tensor | None,
    next_z: Tensor | None,
    next_denominator: Tensor | None,
    epsilon: float,
    relu: bool,
) -> Tensor:
    """``c = W' s + W'' t + b``, with s and t as the step before has them; then the next step."""
    once, rest = [1, 1], [0, 0]
    if transposed:
        rest = left_over(size, x.shape[2:], weight.shape[2:], stride, padding, once)
    geometry = (stride, padding, once, transposed, rest, 1)
    code = ACTIVATIONS["relu" if relu else "identity"].code

    def product(x: Tensor, d: Tensor | None, positive: float, negative: float) -> Tensor:
        s = x if z is None else lrp_ratio(x, None, z, d, None, epsilon, 1, code, [])
        w = _taken(weight, positive, negative)
        return torch.convolution(_accumulate(s), w, None, *geometry)

    c = product(x, denominator, *parts[:2])
    if other is not None:
        c = c + product(other, other_denominator, *parts[2:])
    if bias is not None:
        c = c + _accumulate(bias).reshape(-1, 1, 1)
    if next_denominator is not None:
        assert next_z is not None
        c = lrp_ratio(c, None, _accumulate(next_z), next_denominator, None, epsilon, 1, code, [])
    elif next_z is not None:
        value = _accumulate(next_z)
        c = c * (value.relu() if relu else value)
    return _channels_last(c, x)


def fused_convolution_pair(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    other_bias: Tensor | None,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    transposed: bool,
    other: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """``W+ x + W- y + b'`` and ``W- x + W+ y + b''``."""

    def product(b: Tensor | None, *parts: float) -> Tensor:
        return fused_convolution(
            *(x, weight, b, size, stride, padding, transposed, parts, other),
            *(None, None, None, None, None, 0.0, False),
        )

    return product(bias, 1, 0, 0, 1), product(other_bias, 0, 1, 1, 0)


def _taken(weight: Tensor, positive: float, negative: float) -> Tensor:
    w = _accumulate(weight)
    return torch.where(w < 0, negative * w, positive * w)


def _channels_last(c: Tensor, owner: Tensor) -> Tensor:
    laid = torch.empty_like(c, dtype=owner.dtype, memory_format=torch.channels_last)
    return laid.copy_(c)
