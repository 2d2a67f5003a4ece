"""What no implementation of an operator can beat by much.

A kernel that only moves memory is held against a copy of as many bytes; a layer with weights
against torch's own; a pool against torch's own, forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.cost.operators import Arguments, bytes_moved

Limit = Callable[[Arguments, tuple[Tensor, ...]], Callable[[], Any]]
"""Of an operator's arguments and results, what to time in its place."""


def _copy(arguments: Arguments, results: tuple[Tensor, ...]) -> Callable[[], Any]:
    """Reading half of the bytes and writing the other half."""
    source = torch.zeros(max(1, bytes_moved(arguments, results) // 2), dtype=torch.uint8)
    target = torch.ones_like(source)
    return lambda: target.copy_(source)


def _linear(arguments: Arguments, _: tuple[Tensor, ...]) -> Callable[[], Any]:
    d, weight = arguments[-2:]
    return lambda: functional.linear(d, weight)


def _conv2d(arguments: Arguments, _: tuple[Tensor, ...]) -> Callable[[], Any]:
    """One convolution of the first argument, in the order of channels that is faster."""
    x = arguments[0]
    weight = next(
        a for a in arguments[1:] if isinstance(a, Tensor) and a.dim() != 1 and a.shape[2:] == (3, 3)
    ).contiguous(memory_format=torch.channels_last)
    return lambda: functional.conv2d(x, weight, padding=1)


def _conv2d_of_pixels(arguments: Arguments, _: tuple[Tensor, ...]) -> Callable[[], Any]:
    x, weight, _bias, _positive, _negative, transposed, *_rest = arguments
    convolve = functional.conv_transpose2d if transposed else functional.conv2d
    return lambda: convolve(x, weight)


def _conv2d_back(arguments: Arguments, _: tuple[Tensor, ...]) -> Callable[[], Any]:
    s, weight, size, stride, padding, *_rest = arguments
    shape = (s.shape[0], weight.shape[1], *size)
    return lambda: torch.nn.grad.conv2d_input(shape, weight, s, stride, padding)


def _max_pool(
    arguments: Arguments, _: tuple[Tensor, ...], *, size: int | None = None
) -> Callable[[], Any]:
    """Forward and backward; adaptive where there is no size."""
    picture = max((a for a in arguments if isinstance(a, Tensor)), key=Tensor.numel)
    x = picture.detach().requires_grad_()

    def pool() -> Tensor:
        if size is None:
            return functional.adaptive_max_pool2d(x, [n // 2 for n in x.shape[2:]])
        return functional.max_pool2d(x, size, 2)

    m = torch.randn_like(pool())
    return lambda: torch.autograd.grad(pool(), x, m)


LIMITS: dict[str, Limit] = {
    "copy": _copy,
    "F.linear": _linear,
    "conv2d": _conv2d,
    "conv2d 1x1": _conv2d_of_pixels,
    "conv2d 7x7 back": _conv2d_back,
    "max_pool2d 2x2": partial(_max_pool, size=2),
    "max_pool2d 3x3": partial(_max_pool, size=3),
    "adaptive_max_pool2d": _max_pool,
}
