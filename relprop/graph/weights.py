"""Which weight a product takes: the layer's own, or what is made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

#: From a layer's weight to the one to multiply by; a named function, or a frozen object.
Take = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class BySign:
    """`W' = positive W+ + negative W-`, with `W+`, `W-` the positive and the negative part of W."""

    positive: float
    negative: float

    def __call__(self, w: Tensor) -> Tensor:
        """`W'`, or W itself where that is the same."""
        match self.positive, self.negative:
            case 1, 1:
                return w
            case 1, 0:
                return w.clamp(min=0)
            case 0, 1:
                return w.clamp(max=0)
            case 1, -1:
                return w.abs()
        return self.positive * w.clamp(min=0) + self.negative * w.clamp(max=0)

    def scaled(self, factor: float) -> BySign:
        """The same parts, times a factor."""
        return BySign(factor * self.positive, factor * self.negative)


WHOLE = BySign(1, 1)
POSITIVE = BySign(1, 0)
NEGATIVE = BySign(0, 1)
MAGNITUDE = BySign(1, -1)
