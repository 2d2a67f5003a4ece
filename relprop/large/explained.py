"""What is asked of a network's output, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from relprop.attribution.arguments import Target
from relprop.attribution.attributor import per_example, require_finite
from relprop.attribution.deeplift import DeepLift
from relprop.attribution.gradient import Gradient, InputXGradient
from relprop.attribution.lrp import LRP
from relprop.attribution.tiled import Tiled
from relprop.errors import InvalidTypeError, NumericalError

Choice = Callable[[Tensor], int]
"""The class to explain, of outputs of shape (K,)."""
Share = Callable[[Tensor, Sequence[Tensor]], Tensor]
"""What a tile adds to the result, of what arrived at its window, and of the windows."""
SHARES: Mapping[type[Tiled], Share] = {
    LRP: lambda R, x: R,
    Gradient: lambda m, x: m,
    InputXGradient: lambda m, x: m * x[0],
    DeepLift: lambda m, x: m * (x[0] - x[1]),
}


@dataclass(frozen=True)
class Explained:
    """What was explained, and where it went: `score = sum + shortfall` (but for `Gradient`).

    Attributes:
        target: the output that was explained.
        score: what there was to explain: f(x), under DeepLIFT f(x) - f(x0).
        sum: of all relevance.
        shortfall: what is missing from the sum: under LRP what biases and stabilizers kept.
    """

    target: Any
    score: float
    sum: float = math.nan
    shortfall: float = math.nan

    def as_dict(self) -> dict[str, Any]:
        """What is known before the way back, to be told to it later."""
        known = asdict(self)
        return {name: known[name] for name in ("target", "score")}

    def summing(self, parts: Sequence[float]) -> Explained:
        """The same with the sum of all relevance, of that of its parts."""
        total = math.fsum(parts)
        return replace(self, sum=total, shortfall=self.score - total)


@dataclass(frozen=True)
class Question:
    """A method, and the output that is explained: as for `attribute`, or what chooses a class."""

    method: Tiled
    target: Target | Choice

    def seed(self, outputs: Sequence[Tensor]) -> tuple[Tensor, Explained]:
        """What to send back from the output, and what it explains.

        Args:
            outputs: of the image, and of the baseline if there is one.

        Raises:
            InvalidInputError: there is no such target, or its output is not finite.
        """
        y = outputs[0]
        target = self.target(y[0]) if callable(self.target) else self.target
        each, _ = self.method.seeds_of(target, y)
        change = y - outputs[1] if len(outputs) > 1 else y
        score = require_finite(per_example(change * each[0]))
        plain = target.tolist() if isinstance(target, Tensor) else target
        return each[0], Explained(plain, score.item())

    @property
    def share(self) -> Share:
        """What tiles add to the result.

        Raises:
            InvalidTypeError: the method has no tiles.
        """
        for kind, share in SHARES.items():
            if isinstance(self.method, kind):
                return share
        names = ", ".join(kind.__name__ for kind in SHARES)
        raise InvalidTypeError(
            f"method must be one that makes tiles: {names}; got {type(self.method).__name__}"
        )

    def require_finite(self, relevance: NDArray[Any]) -> None:
        """Whether rounding has left something of it."""
        if not np.isfinite(relevance).all():
            raise NumericalError(
                f"relevance must be finite, but overflowed {relevance.dtype} on its way through "
                "denominators near zero; use a larger epsilon, another composite, or float64"
            )
