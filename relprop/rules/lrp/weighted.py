"""LRP through linear maps (`z = W x + b`): what its rules have in common.

Letters as in the papers: `x_i` a layer's input, `w_ij` its weight, `z_j` its output before the
activation function, `R_j` the relevance that arrives, `s_j` relevance per unit of the denominator.
Every rule gives `x_i` the share `R_i`; `stab(z)` is z, kept away from 0 by a `Stabilizer`.

What becomes of the bias is a policy of its own, for every rule with a bias in its formula:

* `absorb`: the bias stays in the denominator and takes its share `b_j s_j` with it;
* `ignore`: the bias is left out of the denominator;
* `redistribute`: its share, and the stabilizer's, go to the layer's inputs in equal parts, as
  Bach et al. (2015) write it with `(eps * sign(z_j) + b_j) / n`, n inputs of neuron j.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from relprop import ops
from relprop.errors import InvalidInputError
from relprop.graph.linear import WEIGHTED, Affine, MatrixProduct
from relprop.graph.linear_map import LinearMap
from relprop.graph.node import Node
from relprop.graph.weights import Take
from relprop.rules.lrp.relevance import LrpContext, Relevance
from relprop.rules.lrp.stabilizer import Stabilizer, as_stabilizer

if TYPE_CHECKING:
    from typing_extensions import Self

BIAS_POLICIES = ("absorb", "ignore", "redistribute")
Bound = float | Tensor


def ones(w: Tensor) -> Tensor:
    """A weight of ones: who is connected with whom."""
    return torch.ones_like(w)


@dataclass(frozen=True)
class Settings:
    """What a user says once for all rules of LRP; `LRP` describes each."""

    epsilon: Stabilizer
    stabilizer: Stabilizer
    bias: str
    low: Bound | None = None
    high: Bound | None = None
    max_pool: str = "winner"


@dataclass(frozen=True)
class LinearRule:
    """A rule of linear maps with a weight, as a user declares it.

    Attributes:
        nodes: the types of node that such a rule can be for.
    """

    nodes: ClassVar[tuple[type[Node], ...]] = (*WEIGHTED, Affine)

    @property
    def takes_activation(self) -> bool:
        """Whether the rule can take relevance that still has an activation function on it."""
        return True

    @property
    def name(self) -> str:
        """The rule's name in tables."""
        return type(self).__name__.lower()

    @property
    def reads_whole_output(self) -> bool:
        """Whether the rule reads the layer's output where no relevance arrives, too."""
        return False

    def fits(self, node: Node) -> bool:
        """Linear maps with a weight."""
        return isinstance(node, LinearMap) and node.weight is not None

    def placed(self, node: Node, settings: Settings) -> Self:
        """The rule for this node: there is nothing to set."""
        return self


@dataclass(frozen=True, kw_only=True)
class WeightedRule(LinearRule):
    """A rule that divides by what a neuron's inputs bring; None stands for what `LRP` was told.

    Attributes:
        stabilizer: of the rule's divisions: a number to add, or a `Stabilizer`.
        bias: the bias policy, one of `BIAS_POLICIES`.
    """

    #: Whether its denominators are sums of its own, and not the layer's output.
    sums_by_itself: ClassVar[bool] = False

    stabilizer: float | Stabilizer | None = None
    bias: str | None = None

    def __post_init__(self) -> None:
        if self.bias is not None and self.bias not in BIAS_POLICIES:
            names = ", ".join(map(repr, BIAS_POLICIES))
            raise InvalidInputError(f"bias must be one of {names}; got {self.bias!r}")
        as_stabilizer("stabilizer", self.stabilizer)

    @property
    def division(self) -> Stabilizer:
        """The stabilizer, whichever way it was given."""
        return as_stabilizer("stabilizer", self.stabilizer)

    @property
    def reads_whole_output(self) -> bool:
        """For the mean over it, if the stabilizer is relative."""
        return self.division.kind == "relative"

    def placed(self, node: Node, settings: Settings) -> Self:
        """The rule for this node, with the user's settings where the declaration has none."""
        return replace(
            self,
            stabilizer=settings.stabilizer if self.stabilizer is None else self.division,
            bias=self.bias or settings.bias,
        )

    def gives_amount(self, arriving: bool) -> bool:
        """Whether relevance leaves as an amount, given whether any arrives as one."""
        return self.bias == "redistribute"

    def bias_of(self, node: LinearMap, context: LrpContext) -> Tensor | None:
        """The bias in the denominator, if there is one and the policy leaves it there."""
        return None if self.bias == "ignore" else context.run.constant(node.bias)

    def rounding(self, context: LrpContext) -> LrpContext:
        """The context for the rule's own products.

        Without a bias, denominators may be 0, which must not be rounded by what is beside them.
        """
        return context if self.bias == "absorb" else context.exactly()

    def ratio(
        self,
        node: Node,
        context: LrpContext,
        R: Relevance,
        denominator: Tensor | None = None,
        bias: Tensor | None = None,
        factor: float = 1.0,
    ) -> Tensor:
        """`s_j = factor R_j / stab(z_j)`, or with another denominator; `bias` is taken off it."""
        z, division = context[node.output], self.division
        channel_dim = node.channel_dim if isinstance(node, LinearMap) else 1
        epsilon = division.size(z.dtype)
        if bias is not None and (
            channel_dim is None or bias.dim() != 1 or division.kind != "absolute"
        ):
            assert isinstance(node, LinearMap)
            denominator, bias = (z - node.broadcast(bias, z.dim())).expand_as(z), None
        if division.kind != "absolute":
            d = z if denominator is None else denominator
            denominator, epsilon = d + division.added(d), 0.0
        if epsilon == 0 and context.ledger is not None:
            d = z if denominator is None else denominator
            if bias is not None and isinstance(node, LinearMap):
                d = d - node.broadcast(bias, d.dim())
            # Where nothing stabilizes a denominator of 0, nobody can be given a share.
            context.charge(node, dropped=factor * R.total(context.run, z) * (d == 0))
        f = R.activation
        s = ops.lrp_ratio(
            R.multiplier,
            R.amount,
            z,
            denominator,
            bias,
            epsilon=epsilon,
            channel_dim=1 if channel_dim is None else channel_dim,
            activation=f.name if f else "identity",
            parameters=f.parameters if f else (),
        )
        return s if factor == 1 else s.mul_(factor)

    def settles(self, context: LrpContext) -> bool:
        """Whether anybody wants to know what bias and stabilizer took."""
        return self.bias == "redistribute" or context.ledger is not None

    def is_plain(self, context: LrpContext) -> bool:
        """Whether a kernel may divide by what it has summed up itself, and nobody else reads it."""
        return self.division.kind == "absolute" and not self.settles(context)

    def leftover(
        self, node: LinearMap, context: LrpContext, s: Tensor, z: Tensor, b: Tensor | None
    ) -> Tensor | None:
        """What bias and stabilizer took, as the bias policy has it: the amount for the inputs.

        `z` is the denominator before it was stabilized, `b` the bias in it.
        """
        if not self.settles(context):
            return None
        stabilizer = self.division.added(z) * s
        share = None if b is None else node.broadcast(b, s.dim()) * s if b.dim() < 2 else b * s
        if self.bias == "redistribute":
            return spread(node, context, stabilizer if share is None else stabilizer + share)
        context.charge(node, stabilizer=stabilizer)
        if share is not None:
            context.charge(node, bias=share)
        return None


def spread(node: LinearMap, context: LrpContext, t: Tensor, parts: Take = ones) -> Tensor:
    """`sum_j p_ij t_j / n_j` with `n_j = sum_i p_ij`: each `t_j` to the inputs of neuron j.

    The parts `p_ij` are made from the weight; with ones, they are equal, and n_j is the number of
    inputs. Padding is no input. Where n_j is 0, as where a neuron sees nothing but padding, `t_j`
    is dropped.
    """
    run, shape = context.run, context.run.shapes[node.inputs[0]]
    # A constant on the left may take what comes first for its rows, and not for the batch.
    examples = shape[0] if isinstance(node, MatrixProduct) else 1
    n = node.apply(run, t.new_ones(()).expand(examples, *shape[1:]), parts)
    part = torch.where(n == 0, 0, t / n)
    if context.ledger is not None:
        context.charge(node, dropped=torch.where(n == 0, t, 0))
    return node.transpose(run, part, shape, parts)
