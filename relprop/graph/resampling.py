"""Interpolation of a part of space: every output from the inputs that torch makes it from.

Where the factor is no whole number, or corners are aligned, torch's own operator would place the
outputs of a part otherwise than those of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relprop.graph.intervals import Interval, clipped


def _linear(t: Tensor) -> list[Tensor]:
    """Weights of the inputs before and after a point that lies `t` behind the first."""
    return [1 - t, t]


def _cubic(t: Tensor) -> list[Tensor]:
    """Keys' cubic convolution with a = -3/4, as in torch: weights of two inputs on each side.

    Robert Keys: Cubic Convolution Interpolation for Digital Image Processing, 1981, eq. 4.
    """
    a = -0.75

    def near(s: Tensor) -> Tensor:
        return ((a + 2) * s - (a + 3)) * s * s + 1

    def far(s: Tensor) -> Tensor:
        return ((a * s - 5 * a) * s + 8 * a) * s - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


#: For each kind how far before the point its first input lies, and the weights.
KINDS: dict[str, tuple[int, Callable[[Tensor], list[Tensor]]]] = {
    "nearest": (0, lambda t: [torch.ones_like(t)]),
    "linear": (0, _linear),
    "cubic": (1, _cubic),
}


@dataclass(frozen=True)
class Resampled:
    """`made` outputs from `size` inputs, placed as `torch.nn.functional.interpolate` does.

    Attributes:
        kind: one of `KINDS`.
        corners: whether the first and the last of both lie upon each other.
        factor: how many outputs an input becomes, if that was said; otherwise as the sizes have it.
    """

    kind: str
    size: int
    made: int
    corners: bool = False
    factor: float | None = None

    @property
    def whole_factor(self) -> int | None:
        """How many outputs every input becomes, if it is the same number wherever one looks."""
        factor = self.made // self.size
        exact = self.made == factor * self.size and self.factor in (None, factor)
        return factor if exact and not self.corners else None

    def reads(self, out: Interval) -> Interval:
        """The inputs of `out`, and one more on each side: what is nearest depends on rounding."""
        index, _ = self.taps(out, torch.float64)
        return clipped((int(index.min()) - 1, int(index.max()) + 2), self.size)

    def taps(self, out: Interval, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The inputs of each output and their weights, both of shape (taps, outputs).

        Points are reckoned in the type that torch reckons them in, where that of the activation is
        `dtype`: far from the origin, rounding moves them.
        """
        exact = dtype == torch.float64 and self.kind != "nearest"
        p = torch.arange(*out, dtype=torch.float64 if exact else torch.float32)
        point = self._points(p)
        first = point.floor().clamp(max=self.size - 1)
        before, kernel = KINDS[self.kind]
        weights = kernel((point - first).clamp(0, 1))
        offsets = torch.arange(len(weights))[:, None] - before
        return (first.long() + offsets).clamp(0, self.size - 1), torch.stack(weights)

    def _points(self, p: Tensor) -> Tensor:
        """Where outputs `p` lie among the inputs."""
        if self.corners:
            return p * (p.new_tensor(self.size - 1) / max(1, self.made - 1))
        step = p.new_tensor(1 / self.factor if self.factor else self.size / self.made)
        if self.kind == "nearest":
            return p * step
        point = (p + 0.5) * step - 0.5
        return point if self.kind == "cubic" else point.clamp(min=0)


@dataclass(frozen=True)
class Part:
    """The outputs `out` along a dimension, from a part of the inputs that begins at `start`."""

    axis: Resampled
    out: Interval
    start: int

    def of(self, x: Tensor, dim: int) -> Tensor:
        """The outputs of such a part of x."""
        index, weight = self.axis.taps(self.out, x.dtype)
        index, weight = (index - self.start).to(x.device), weight.to(x)
        if self.axis.kind == "nearest":
            return x.index_select(dim, index[0])
        along = [-1] + [1] * (-dim - 1)
        y = x.index_select(dim, index[0]) * weight[0].view(along)
        for i, w in zip(index[1:], weight[1:], strict=True):
            y = torch.addcmul(y, x.index_select(dim, i), w.view(along))
        return y


def resampled(x: Tensor, parts: Sequence[Part]) -> Tensor:
    """A part of an interpolation, along the last dimensions one after another."""
    for dim, part in enumerate(parts, start=-len(parts)):
        x = part.of(x, dim)
    return x
