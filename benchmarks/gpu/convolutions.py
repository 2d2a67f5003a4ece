"""The fused convolution at the shapes of two networks, against cuDNN's bare convolutions.

What cuDNN is given are the parts of the weight, made beforehand; it makes the same products and no
step before or after them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.cost.limits import Limit
from benchmarks.cost.operators import Arguments, Operator, Shape
from relprop.ops.backends import is_built

GOAL = 1.3
"""Times of cuDNN's."""
BATCH = 32
BOTH_BACK = [2.0, 0.0, 0.0, -1.0]
EPSILON = 1e-6


@dataclass(frozen=True)
class Layer:
    """A convolution of square images, with a border that its filters just need."""

    network: str
    inputs: int
    outputs: int
    side: int
    taps: int
    stride: int = 1

    @property
    def shape(self) -> Shape:
        """With the batch first, as a row has it."""
        return (BATCH, self.inputs, self.outputs, self.side, self.taps, self.stride)

    def __str__(self) -> str:
        step = f", stride {self.stride}" if self.stride > 1 else ""
        filters = f"{self.inputs} to {self.outputs}, {self.taps}x{self.taps}{step}"
        return f"{self.network}, {filters} at {self.side}"


LAYERS = (
    Layer("VGG16", 64, 64, 224, 3),
    Layer("VGG16", 128, 128, 112, 3),
    Layer("VGG16", 512, 512, 28, 3),
    Layer("VGG16", 512, 512, 14, 3),
    Layer("ResNet50", 64, 64, 56, 3),
    Layer("ResNet50", 64, 256, 56, 1),
    Layer("ResNet50", 128, 128, 56, 3, 2),
    Layer("ResNet50", 256, 512, 56, 1, 2),
    Layer("ResNet50", 256, 256, 14, 3),
    Layer("ResNet50", 512, 2048, 7, 1),
)
SMALL = ((2, 16, 18, 9, 3, 2), (2, 8, 24, 10, 1, 1), (2, 5, 7, 8, 3, 1), (1, 3, 2, 7, 1, 2))
"""Shapes of which every form is checked: in packs, and not."""


def _last(*sizes: int) -> Tensor:
    return torch.randn(sizes).contiguous(memory_format=torch.channels_last)


def _geometry(shape: Shape) -> tuple[Tensor, int, list[int], list[int]]:
    """The weight, the side of the result, stride and padding."""
    _, inputs, outputs, side, taps, stride = shape
    weight, padding = _last(outputs, inputs, taps, taps) / inputs, taps // 2
    return weight, (side + 2 * padding - taps) // stride + 1, [stride] * 2, [padding] * 2


def _forward(shape: Shape) -> Arguments:
    weight, side, stride, padding = _geometry(shape)
    x = _last(shape[0], shape[1], shape[3], shape[3]).relu()
    bias = torch.randn(2, shape[2])
    return x, weight, bias[0], bias[1], [side] * 2, stride, padding, False, None


def _back(shape: Shape, *, steps: bool) -> Arguments:
    """Both sides of alpha and beta; with the steps before and after, from one multiplier."""
    weight, side, stride, padding = _geometry(shape)
    batch, inputs, outputs, size, *_ = shape
    s = _last(batch, outputs, side, side)
    back = (s, weight, None, [size] * 2, stride, padding, True, BOTH_BACK)
    if not steps:
        return *back, s.flip(3), *[None] * 5, EPSILON, False
    z, above, below = s.flip(2), s.abs() + 1, -s.flip(3).abs() - 1
    return *back, s, z, above, below, _last(batch, inputs, size, size), None, EPSILON, True


Form = tuple[str, str, Callable[[Shape], Arguments], str]
FORMS: tuple[Form, ...] = (
    ("fused_convolution_pair", "W+ x and W- x", _forward, "conv2d twice"),
    ("fused_convolution", "W+ and W- back", partial(_back, steps=False), "conv2d twice, back"),
    ("fused_convolution", "R to R", partial(_back, steps=True), "conv2d twice, back"),
)


def _parts_of(weight: Tensor) -> tuple[Tensor, Tensor]:
    return weight.clamp(min=0), weight.clamp(max=0)


def _twice(arguments: Arguments, _: tuple[Tensor, ...]) -> Callable[[], Any]:
    x, weight, bias, other_bias, _size, stride, padding, *_rest = arguments
    above, below = _parts_of(weight)

    def convolve() -> tuple[Tensor, Tensor]:
        return (
            functional.conv2d(x, above, bias, stride, padding),
            functional.conv2d(x, below, other_bias, stride, padding),
        )

    return convolve


def _twice_back(arguments: Arguments, _: tuple[Tensor, ...]) -> Callable[[], Any]:
    s, weight, _bias, size, stride, padding, *_rest = arguments
    above, below = _parts_of(weight)
    shape = (s.shape[0], weight.shape[1], *size)
    back = partial(torch.nn.grad.conv2d_input, stride=stride, padding=padding)
    return lambda: (back(shape, above, s), back(shape, below, s))


LIMITS: dict[str, Limit] = {"conv2d twice": _twice, "conv2d twice, back": _twice_back}

CONVOLUTIONS: tuple[Operator, ...] = tuple(
    Operator(
        name,
        f"{layer}, {variant}",
        make,
        limit,
        GOAL,
        shape=layer.shape,
        small=SMALL[number % len(SMALL)],
    )
    for number, layer in enumerate(LAYERS)
    for name, variant, make, limit in FORMS
)
"""Every form at every layer; the small shapes in turn."""


def convolutions(device: str) -> list[Operator]:
    """Those that have a kernel for such a device."""
    return [row for row in CONVOLUTIONS if is_built(row.name, device)]
