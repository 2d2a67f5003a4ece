"""A part of an activation, where a node needs less of it than another that reads it too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from relprop.graph.intervals import Box, lengths
from relprop.graph.linear import Rearrange
from relprop.graph.node import Operand, Run, Value, Where
from relprop.graph.weights import WHOLE, Take


@dataclass(kw_only=True)
class Window(Rearrange):
    """The box `[start, start + size)` of the last dimensions of its input."""

    start: tuple[int, ...]
    size: tuple[int, ...]

    @classmethod
    def of(cls, value: Value, name: Value, whole: Box, part: Box, where: Where) -> Window:
        """The box `part` of an activation of which there is the box `whole`."""
        start = tuple(p[0] - w[0] for p, w in zip(part, whole, strict=True))
        return cls(
            inputs=(value,),
            output=name,
            where=where,
            target="window",
            args=(Operand(0),),
            channel_dim=None,
            start=start,
            size=lengths(part),
        )

    def apply(self, run: Run, x: Tensor, take: Take = WHOLE) -> Tensor:
        """The box; a view."""
        return narrowed(x, self.start, self.size)

    def transpose(self, run: Run, s: Tensor, shape: Sequence[int], take: Take = WHOLE) -> Tensor:
        """Zeros around it."""
        return surrounded(s, self.start, shape)


def narrowed(x: Tensor, start: Sequence[int], size: Sequence[int]) -> Tensor:
    """A box of the last dimensions of x."""
    for dim, (first, length) in enumerate(zip(start, size, strict=True), start=-len(start)):
        x = x.narrow(dim, first, length)
    return x


def surrounded(x: Tensor, start: Sequence[int], shape: Sequence[int]) -> Tensor:
    """x as a box of a tensor whose last dimensions are those of `shape`, which is 0 elsewhere."""
    whole = shape[len(shape) - len(start) :]
    border: list[int] = []
    for first, n, length in zip(start, whole, x.shape[-len(start) :], strict=True):
        border[:0] = [first, n - first - length]
    return F.pad(x, border)
