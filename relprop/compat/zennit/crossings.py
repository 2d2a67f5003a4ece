"""How zennit's messages cross what has no rule of LRP: as a gradient would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from relprop.graph.node import Node, Run, Value
from relprop.graph.nonlinear import Activation
from relprop.rules.gradient import GradientRule, Slope
from relprop.rules.lrp.relevance import LrpContext, Relevance
from relprop.rules.lrp.structure import PassAmount, StructureRule


class GuidedSlope(Slope):
    """Guided backpropagation (Springenberg et al. 2015), for any elementwise function f."""

    def backward(self, node: Activation, run: Run, m: Tensor) -> tuple[Tensor]:
        """`f'(x) relu(m)`."""
        return super().backward(node, run, m.relu())


@dataclass(frozen=True)
class SmoothSlope(GradientRule):
    """The slope of softplus in the place of ReLU's (Dombrowski et al. 2019)."""

    beta: float

    def keeps(self, node: Any) -> tuple[Value, ...]:
        """The function's input."""
        inputs: tuple[Value, ...] = node.inputs
        return inputs

    def backward(self, node: Any, run: Run, m: Tensor) -> tuple[Tensor]:
        """`sigmoid(beta x) m`."""
        return ((self.beta * run.values[node.inputs[0]]).sigmoid() * m,)


@dataclass(frozen=True)
class Differentiated(StructureRule):
    """`R_i = sum_j dy_j/dx_i R_j`: relevance itself crosses as a gradient would.

    Attributes:
        crossing: the gradient's way, or another in its place.
    """

    crossing: GradientRule

    @property
    def name(self) -> str:
        """As that of the gradient's way."""
        return f"gradient {self.crossing.name}"

    def fits(self, node: Node) -> bool:
        """All nodes: it is made for one of them."""
        return True

    def keeps(self, node: Node) -> Sequence[Value]:
        """What the gradient's way reads, and the output for the relevance that arrives."""
        return tuple(dict.fromkeys((*self.crossing.keeps(node), node.output)))

    def gives_amount(self, arriving: bool) -> bool:
        """Always."""
        return True

    def backward(self, node: Node, context: LrpContext, R: Relevance) -> tuple[Relevance, ...]:
        """One vector-Jacobian product."""
        arrived = R.total(context.run, context[node.output])
        sent = self.crossing.backward(node, context.run, arrived)
        return tuple(Relevance(amount=part) for part in sent)


class PassThrough(StructureRule):
    """One of several steps that a module takes, where relevance passes the module as it is.

    It follows the first operand, which is what each step makes more of: so from `x - mean(x)` and
    `x / (1 + |x|)` to x.
    """

    def fits(self, node: Node) -> bool:
        """All nodes: it is made for one of them."""
        return True

    def keeps(self, node: Node) -> Sequence[Value]:
        """The step's output."""
        return (node.output,)

    def gives_amount(self, arriving: bool) -> bool:
        """Always."""
        return True

    def backward(
        self, node: Node, context: LrpContext, R: Relevance
    ) -> tuple[Relevance | None, ...]:
        """The first input gets everything."""
        (first,) = PassAmount().backward(node, context, R)
        return (first, *[None] * (len(node.inputs) - 1))
