"""What zennit's rules divide by: a number to add, or a function of the denominator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from relprop.errors import InvalidTypeError
from relprop.rules import lrp
from relprop.rules.lrp.stabilizer import sign


@dataclass(frozen=True)
class Stabilizer:
    """`stab(z) = z + epsilon sign(z)`, or with `clip` `sign(z) max(|z|, epsilon)`; `sign(0) = +1`.

    Attributes:
        epsilon: how much.
        clip: whether to change only what is closer to 0 than epsilon.
        norm_scale: whether epsilon is in units of the root of the mean of `z^2` over `dim`.
        dim: dimensions; None for all but the first.
    """

    epsilon: float = 1e-6
    clip: bool = False
    norm_scale: bool = False
    dim: tuple[int, ...] | None = None

    def __call__(self, input: Tensor) -> Tensor:
        """`stab(z)`."""
        epsilon: float | Tensor = self.epsilon
        if self.norm_scale:
            dim = tuple(range(1, input.dim())) if self.dim is None else self.dim
            epsilon = epsilon * input.square().mean(dim, keepdim=True).sqrt()
        if self.clip:
            return sign(input) * input.abs().clamp(min=epsilon)
        return input + sign(input) * epsilon


Stabilizing = float | Stabilizer | Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _ByFunction(lrp.Stabilizer):
    """`stab(z)` is what a function makes of all denominators."""

    kind: str = "relative"  # it may read them where no relevance arrives, too
    function: Callable[[Tensor], Tensor] = Stabilizer()

    def added(self, z: Tensor) -> Tensor:
        """`stab(z) - z`."""
        return self.function(z) - z


def declared_stabilizer(name: str, given: object) -> lrp.Stabilizer:
    """relprop's stabilizer for what zennit takes for one; `name` is the argument's.

    Raises:
        InvalidTypeError: it is neither a number nor a function. InvalidInputError: it is negative.
    """
    if isinstance(given, Stabilizer) and not given.norm_scale:
        return lrp.Stabilizer(given.epsilon, "clip" if given.clip else "absolute")
    if isinstance(given, (int, float)):
        return lrp.Stabilizer(float(given))
    if callable(given):
        return _ByFunction(function=given)
    raise InvalidTypeError(
        f"{name} must be a number, or a function of the denominators; got {type(given).__name__}"
    )
