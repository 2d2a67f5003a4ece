"""Rules that put other weights in the place of a layer's own, whatever the sign of its inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from relprop.errors import InvalidInputError
from relprop.graph.linear_map import LinearMap
from relprop.graph.node import Node, Value
from relprop.graph.weights import BySign
from relprop.rules.lrp.relevance import LrpContext, Relevance
from relprop.rules.lrp.weighted import WeightedRule


@dataclass(frozen=True)
class Reweighted(WeightedRule):
    """`R_i = x_i sum_j w'_ij R_j / stab(z'_j)`, `z' = W' x + b`, `W' = positive W+ + negative W-`.

    So Montavon et al. (2019, sec. 10.2) write their rules for inputs >= 0: with `1 + gamma` and 1
    it is the gamma rule, with 1 and 0 the one of alpha = 1 and beta = 0. For other inputs, and
    negative biases, `Gamma` and `ZPlus` keep contributions apart by sign, and this rule does not:
    z' may then be close to 0, or have another sign than z.

    Attributes:
        positive, negative: the factors of the weight's positive and negative part.

    Raises:
        InvalidInputError: a factor is no finite number.
    """

    positive: float = 1.0
    negative: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.positive) and math.isfinite(self.negative)):
            raise InvalidInputError(
                "positive and negative must be finite numbers; got "
                f"{self.positive!r} and {self.negative!r}"
            )

    @property
    def name(self) -> str:
        """Such as `reweighted1.25-1`."""
        return f"reweighted{self.positive:g}-{self.negative:g}"

    def keeps(self, node: Node) -> Sequence[Value]:
        """The layer's input x, and its output z for the relevance that arrives."""
        return (node.inputs[0], node.output)

    def backward(self, node: LinearMap, context: LrpContext, R: Relevance) -> tuple[Relevance, ...]:
        """2F + 1B."""
        context = context.exactly()  # z' may be as small as what a tile rounds
        run, x, b = context.run, context[node.inputs[0]], self.bias_of(node, context)
        take = BySign(self.positive, self.negative)
        z = node.affine(run, x, take, b)
        s = self.ratio(node, context, R, denominator=z)
        c = node.transpose(run, s, x.shape, take)
        return (Relevance(c, self.leftover(node, context, s, z, b)),)
