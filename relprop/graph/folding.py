"""What a batch norm's scale and shift make of the weight and bias of the layer beside it.

Each is a frozen object, so that two graphs of one model know when they want the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from relprop.graph.layout import channels_last


@dataclass(frozen=True)
class NormScale:
    """`g = weight / sqrt(var + eps)`, in a shape that broadcasts to `dims` dimensions."""

    eps: float
    dims: int

    def __call__(self, var: Tensor, weight: Tensor | None = None) -> Tensor:
        """`g`, computed in float64 and rounded once."""
        scale = torch.rsqrt(var.double() + self.eps)
        g = (scale if weight is None else scale * weight).to(var.dtype)
        return g.reshape([-1] + [1] * (self.dims - 2))


@dataclass(frozen=True)
class NormShift:
    """`h = bias - mean g`."""

    def __call__(self, mean: Tensor, g: Tensor, bias: Tensor | None = None) -> Tensor:
        """`h`."""
        drop = mean * g.flatten()
        return -drop if bias is None else bias - drop


@dataclass(frozen=True)
class ScaledOutput:
    """`g W` of `g (W x + b) + h = (g W) x + (g b + h)`.

    Outputs run along dimension `out` of the weight; or, in a transposed convolution of so many
    `groups`, along its second, one group after the other.
    """

    out: int
    groups: int | None = None

    def __call__(self, weight: Tensor, g: Tensor) -> Tensor:
        """`g W`, computed in float64 and rounded once; in the order that convolves faster."""
        w, factor = weight.double(), g.double()
        if self.groups is not None:
            by_group = w.reshape(self.groups, w.shape[0] // self.groups, *w.shape[1:])
            along = factor.reshape(self.groups, 1, -1, *[1] * (w.dim() - 2))
            scaled = (by_group * along).reshape(w.shape)
        else:
            scaled = w * factor.reshape([-1 if d == self.out else 1 for d in range(w.dim())])
        return channels_last(scaled.to(weight.dtype))


@dataclass(frozen=True)
class ShiftedOutput:
    """`g b + h`, or h where there is no b."""

    def __call__(self, h: Tensor, g: Tensor, b: Tensor | None = None) -> Tensor:
        """The new bias, computed in float64 and rounded once."""
        if b is None:
            return h
        return (g.double().flatten() * b.double() + h.double()).to(h.dtype)


@dataclass(frozen=True)
class AlongInputs:
    """A factor for each input channel, in the shape of a weight."""

    groups: int
    input_major: bool

    def of(self, w: Tensor, factor: Tensor) -> Tensor:
        """The factors, group after group."""
        if self.input_major:
            return factor.reshape(-1, 1)
        rows = factor.reshape(self.groups, -1).repeat_interleave(w.shape[0] // self.groups, 0)
        return rows.reshape(*w.shape[:2], *[1] * (w.dim() - 2))


@dataclass(frozen=True)
class ScaledInput(AlongInputs):
    """`W g` of `W (g x + h) + b = (W g) x + (W h + b)`."""

    def __call__(self, weight: Tensor, g: Tensor) -> Tensor:
        """`W g`, computed in float64 and rounded once; in the order that convolves faster."""
        w = weight.double()
        return channels_last((w * self.of(w, g.double().flatten())).to(weight.dtype))


@dataclass(frozen=True)
class ShiftedInput(AlongInputs):
    """`W h + b`, or `W h` where there is no b."""

    def __call__(self, h: Tensor, weight: Tensor, b: Tensor | None = None) -> Tensor:
        """The new bias, computed in float64 and rounded once."""
        w = weight.double()
        gained = w * self.of(w, h.double())
        gained = gained.sum(0) if self.input_major else gained.flatten(1).sum(1)
        return (gained if b is None else b.double() + gained).to(h.dtype)
