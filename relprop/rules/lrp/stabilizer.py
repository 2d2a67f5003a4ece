"""What keeps the divisions of LRP away from zero: `stab(z)`, with the sign of z."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from relprop.errors import InvalidInputError

KINDS = ("absolute", "relative", "clip")
#: What is added unless the user says otherwise: in half precision, relevance divided by 1e-6 would
#: overflow (float16), and 1e-6 would be rounded away (bfloat16).
DEFAULT = 1e-6
HALF_DEFAULT = {torch.float16: 1e-3, torch.bfloat16: 1e-2}


def sign(z: Tensor) -> Tensor:
    """The sign, with `sign(0) = +1`."""
    return torch.where(z < 0, -1.0, 1.0).to(z.dtype)


@dataclass(frozen=True)
class Stabilizer:
    """`stab(z) = z + added(z)`, where `added(z)` has the sign of z, and `sign(0) = +1`.

    Attributes:
        epsilon: how much; None for 1e-6, and for 0.001 in float16, 0.01 in bfloat16.
        kind: `"absolute"` adds `epsilon * sign(z)`; `"relative"` adds `epsilon * mean|z| * sign(z)`
            with the mean over the layer's outputs for one example; `"clip"` lifts `|z|` to epsilon
            where it is smaller, and changes nothing elsewhere.

    Raises:
        InvalidInputError: epsilon is no finite number >= 0, or the kind is none of the three.
    """

    epsilon: float | None = None
    kind: str = "absolute"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            names = ", ".join(map(repr, KINDS))
            raise InvalidInputError(f"kind must be one of {names}; got {self.kind!r}")
        _require_size("epsilon", self.epsilon)

    def size(self, dtype: torch.dtype) -> float:
        """Epsilon, for divisions in that dtype."""
        return HALF_DEFAULT.get(dtype, DEFAULT) if self.epsilon is None else self.epsilon

    def added(self, z: Tensor) -> Tensor:
        """`stab(z) - z`."""
        epsilon = self.size(z.dtype)
        if self.kind == "clip":
            return (epsilon - z.abs()).clamp(min=0) * sign(z)
        if self.kind == "relative":
            return epsilon * z.abs().mean(tuple(range(1, z.dim())), keepdim=True) * sign(z)
        return epsilon * sign(z)


def as_stabilizer(name: str, given: float | Stabilizer | None) -> Stabilizer:
    """A number as an absolute stabilizer; `name` is the argument's, for the error."""
    if isinstance(given, Stabilizer):
        return given
    _require_size(name, given)
    return Stabilizer(None if given is None else float(given))


def _require_size(name: str, size: float | None) -> None:
    if size is not None and not (math.isfinite(size) and size >= 0):
        raise InvalidInputError(f"{name} must be a finite number >= 0; got {size!r}")
