"""Rules for layers whose inputs are no activations: pixels, which may be 0, negative, bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from relprop.errors import InvalidInputError
from relprop.graph.linear_map import LinearMap
from relprop.graph.node import Node, Value
from relprop.graph.weights import POSITIVE
from relprop.rules.lrp.relevance import LrpContext, Relevance
from relprop.rules.lrp.weighted import (
    Bound,
    LinearRule,
    Settings,
    WeightedRule,
    spread,
)

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class ZBox(WeightedRule):
    """The z^B rule, for inputs in the box `low <= x <= high` (Montavon et al. 2017, eq. 15).

    `R_i = sum_j (x_i w_ij - l_i w+_ij - h_i w-_ij) R_j / stab(sum_i …)`, which is
    `(x - h) W^T s + (h - l) W+^T s`. The bias has no part in it. `low` and `high` are numbers or
    tensors that broadcast to x, such as (C, 1, 1) for bounds by channel; None for those that `LRP`
    was told.
    """

    sums_by_itself: ClassVar[bool] = True

    low: Bound | None = None
    high: Bound | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.low is None) != (self.high is None):
            raise InvalidInputError(
                f"low and high must be given together; got low={self.low!r}, high={self.high!r}"
            )

    @property
    def lacks_bounds(self) -> bool:
        """Whether the user must give the bounds to `LRP`."""
        return self.low is None

    def placed(self, node: Node, settings: Settings) -> Self:
        """With the user's bounds."""
        rule = super().placed(node, settings)
        return replace(rule, low=settings.low, high=settings.high) if self.lacks_bounds else rule

    @property
    def name(self) -> str:
        """As the papers write it."""
        return "z^B"

    def keeps(self, node: Node) -> Sequence[Value]:
        """The layer's input x, and its output z for the relevance that arrives."""
        return (node.inputs[0], node.output)

    def gives_amount(self, arriving: bool) -> bool:
        """An input may receive relevance where it is 0."""
        return True

    def backward(self, node: LinearMap, context: LrpContext, R: Relevance) -> tuple[Relevance, ...]:
        """3F + 2B."""
        context = self.rounding(context)
        run, x = context.run, context[node.inputs[0]]
        assert self.low is not None and self.high is not None
        low, high = _bound(self.low, x), _bound(self.high, x)
        below, width = x - high, (high - low).expand_as(x)
        z = node.apply(run, below) + node.apply(run, width, POSITIVE)
        s = self.ratio(node, context, R, denominator=z)
        amount = below * node.transpose(run, s, x.shape)
        amount = amount + width * node.transpose(run, s, x.shape, POSITIVE)
        rest = self.leftover(node, context, s, z, None)
        return (Relevance(amount=amount if rest is None else amount + rest),)


def _bound(given: Bound, x: Tensor) -> Tensor:
    """A bound in the dtype of x, on its device; a number is written there without a copy."""
    if isinstance(given, (int, float)):
        return x.new_full((), given)
    return torch.as_tensor(given, dtype=x.dtype, device=x.device)


@dataclass(frozen=True)
class Flat(LinearRule):
    """`R_i = sum_j R_j / n_j`, the same for all n_j inputs of a neuron (Lapuschkin et al. 2019).

    Neither weights, nor bias, nor stabilizer have a part in it.
    """

    def keeps(self, node: Node) -> Sequence[Value]:
        """The layer's output z, for the relevance that arrives."""
        return (node.output,)

    def gives_amount(self, arriving: bool) -> bool:
        """Inputs that are 0 receive relevance too."""
        return True

    def backward(self, node: LinearMap, context: LrpContext, R: Relevance) -> tuple[Relevance, ...]:
        """2F + 1B with a weight of ones, for one example."""
        total = R.total(context.run, context[node.output])
        return (Relevance(amount=spread(node, context, total)),)


class WSquare(Flat):
    """`R_i = sum_j w_ij^2 / (sum_i' w_i'j^2) R_j`, for inputs without bounds.

    Montavon et al. (2017), eq. 12. Neither x nor the bias have a part in it, and no stabilizer is
    needed: each share is at most 1.
    """

    def backward(self, node: LinearMap, context: LrpContext, R: Relevance) -> tuple[Relevance, ...]:
        """2F + 1B with the squared weight, of which a forward for one example."""
        total = R.total(context.run, context[node.output])
        return (Relevance(amount=spread(node, context, total, squared)),)


def squared(w: Tensor) -> Tensor:
    """`w_ij^2`, divided by the largest, which changes no ratio and keeps float16 in range."""
    largest = w.abs().max()
    return (w / torch.where(largest == 0, 1, largest)).square()
