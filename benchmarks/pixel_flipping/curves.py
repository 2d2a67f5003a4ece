"""How a score falls while regions are erased, and the areas under and over its curve."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Curves:
    """Scores of N photos with 0, 1, ..., L of their regions erased, each of shape (N, L + 1).

    Attributes:
        probability: the softmax output of the class.
        logit: what goes into the softmax.
    """

    probability: Tensor
    logit: Tensor

    @classmethod
    def mean(cls, draws: list[Curves]) -> Curves:
        """Photo by photo, over several maps of the same method."""
        return cls(
            *(torch.stack([getattr(one, f.name) for one in draws]).mean(0) for f in fields(cls))
        )


SCORES = tuple(field.name for field in fields(Curves))


def area_under(scores: Tensor) -> Tensor:
    """The mean height of each row's curve, by trapezoids: (N, L + 1) to (N,)."""
    return ((scores[:, :-1] + scores[:, 1:]) / 2).mean(1)


def area_over(scores: Tensor) -> Tensor:
    """The area over the perturbation curve, AOPC (Samek et al. 2017, eq. 12), for each row.

    1 / (L + 1) sum_{k = 0}^{L} (f(x_0) - f(x_k)), where x_k has k regions erased.
    """
    return (scores[:, :1] - scores).mean(1)


@dataclass(frozen=True)
class Estimate:
    """A mean over photos and its standard error, which is infinite for a single photo."""

    mean: float
    error: float

    @classmethod
    def of(cls, values: Tensor) -> Estimate:
        n = len(values)
        error = values.std(correction=1).item() / n**0.5 if n > 1 else float("inf")
        return cls(values.mean().item(), error)

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.error:.3f}"
