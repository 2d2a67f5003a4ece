"""LRP through what has no weights: sums, products, pools, views, activation functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from relprop.errors import InvalidInputError
from relprop.graph.linear import Beside, Rearrange
from relprop.graph.linear_map import LinearMap
from relprop.graph.node import Call, Node, Run, Value, sum_to
from relprop.graph.nonlinear import (
    Activation,
    AdaptiveMaxPool,
    Cat,
    InnerProducts,
    MaxPool,
    Opaque,
    Product,
    Sum,
)
from relprop.rules.gradient import RULES
from relprop.rules.lrp.relevance import LrpContext, Relevance, booked
from relprop.rules.lrp.weighted import Settings, WeightedRule
from relprop.rules.support import transposed_jacobian, winner


@dataclass(frozen=True)
class StructureRule:
    """A rule that only moves relevance: it arrives as it leaves, in multipliers or amounts."""

    takes_activation = False
    #: The nodes that the rule is for.
    nodes: ClassVar[tuple[type[Node], ...]] = ()

    @property
    def name(self) -> str:
        """The rule's name in tables."""
        return type(self).__name__.lower()

    def fits(self, node: Node) -> bool:
        """Whether the rule is for such nodes."""
        return isinstance(node, self.nodes)

    def placed(self, node: Node, settings: Settings) -> StructureRule | WeightedRule:
        """The rule as it runs on this node; most have nothing to set."""
        return self

    def keeps(self, node: Node) -> Sequence[Value]:
        """Nothing, unless a rule says otherwise."""
        return ()

    def gives_amount(self, arriving: bool) -> bool:
        """What arrives as an amount leaves as one."""
        return arriving


def each(R: Relevance, move: Callable[[Tensor], Tensor]) -> Relevance:
    """`move` applied to the multiplier and to the amount, whichever there is."""
    return Relevance(
        None if R.multiplier is None else move(R.multiplier),
        None if R.amount is None else move(R.amount),
    )


class Pass(StructureRule):
    """An activation function hands its relevance down as it is (Bach et al. 2015, sec. 2).

    So does any other node with one input, if a composite says so and the shape stays the same.
    """

    nodes = (LinearMap, Activation, MaxPool, AdaptiveMaxPool, Cat, Opaque)

    def fits(self, node: Node) -> bool:
        """Nodes with one input."""
        return isinstance(node, self.nodes) and len(node.inputs) == 1

    def placed(self, node: Node, settings: Settings) -> StructureRule:
        """Written out, unless the node is an activation function."""
        return self if isinstance(node, Activation) else PassAmount()

    def backward(self, node: Activation, context: LrpContext, R: Relevance) -> tuple[Relevance]:
        """No pass over any tensor: the rule below computes f(z) when it reads z."""
        return (R.below(node),)


class PassAmount(StructureRule):
    """`Pass` above a rule, or beside a reader, that cannot take f(z) along; or on other nodes."""

    @property
    def name(self) -> str:
        """As `Pass`: the same rule, written out."""
        return "pass"

    def keeps(self, node: Node) -> Sequence[Value]:
        """The node's output."""
        return (node.output,)

    def gives_amount(self, arriving: bool) -> bool:
        """Always."""
        return True

    def backward(self, node: Node, context: LrpContext, R: Relevance) -> tuple[Relevance]:
        """One product."""
        arrives, leaves = context.run.shapes[node.output], context.run.shapes[node.inputs[0]]
        if arrives != leaves:
            raise InvalidInputError(
                f"the pass rule needs nodes that keep the shape; '{node.label}' in {node.where} "
                f"turns {tuple(leaves)} into {tuple(arrives)}: choose another rule for it"
            )
        return (Relevance(amount=R.total(context.run, context[node.output])),)


class Move(StructureRule):
    """Views, slices, padding, permutations: relevance goes where the element came from."""

    nodes = (Rearrange,)

    def backward(self, node: Rearrange, context: LrpContext, R: Relevance) -> tuple[Relevance]:
        """The transpose of the rearrangement."""
        run, shape = context.run, context.run.shapes[node.inputs[0]]
        if context.ledger is not None:
            R_out = R.total(run, context[node.output])
            copied = node.apply(run, R_out.new_ones(()).expand(*shape))
            lost = torch.where(copied == 0, R_out, 0)
            # The share of constants; or what the rule above gave to padding.
            context.charge(node, **{"bias" if isinstance(node, Beside) else "dropped": lost})
        return (each(R, lambda t: node.transpose(run, t, shape)),)


class Part(StructureRule):
    """A concatenation: each part keeps its own."""

    nodes = (Cat,)

    def backward(self, node: Cat, context: LrpContext, R: Relevance) -> tuple[Relevance, ...]:
        """Slices of what arrived."""
        sizes = [context.run.shapes[value][node.dim] for value in node.inputs]
        starts = [sum(sizes[:i]) for i in range(len(sizes))]

        def part(start: int, size: int) -> Relevance:
            return each(R, lambda t: t.narrow(node.dim, start, size))

        return tuple(part(start, size) for start, size in zip(starts, sizes, strict=True))


class Winner(StructureRule):
    """A max pool: the maximum of a window takes all (torch's own choice among equals)."""

    nodes = (MaxPool, AdaptiveMaxPool)

    def keeps(self, node: Node) -> Sequence[Value]:
        """The pool's input."""
        return (node.inputs[0],)

    def backward(
        self, node: MaxPool | AdaptiveMaxPool, context: LrpContext, R: Relevance
    ) -> tuple[Relevance]:
        """The winner's value is the output's: multipliers pass unchanged."""
        x = context[node.inputs[0]]
        return (each(R, lambda t: winner(node, t, x)),)


class Proportional(WeightedRule):
    """A sum of two branches `z = a + alpha b`: each gets its share of z, as by the epsilon rule."""

    nodes = (Sum,)

    def fits(self, node: Node) -> bool:
        """Sums."""
        return isinstance(node, self.nodes)

    def keeps(self, node: Node) -> Sequence[Value]:
        """The sum."""
        return (node.output,)

    def backward(self, node: Sum, context: LrpContext, R: Relevance) -> tuple[Relevance, ...]:
        """`R_a = a R / stab(z)`, `R_b = alpha b R / stab(z)`."""
        s = self.ratio(node, context, R)
        shapes = [context.run.shapes[value] for value in node.inputs]
        a, b = (sum_to(s, shape) for shape in shapes)
        if node.alpha != 1:
            b = b * node.alpha
        if not self.settles(context):
            return Relevance(a), Relevance(b)
        stabilizer = self.division.added(context[node.output]) * s
        if self.bias == "redistribute":
            half = stabilizer / 2
            return Relevance(a, sum_to(half, shapes[0])), Relevance(b, sum_to(half, shapes[1]))
        context.charge(node, stabilizer=stabilizer)
        return Relevance(a), Relevance(b)


class Halves(StructureRule):
    """A product of two activations: the Shapley value of two players, against absence as 0."""

    nodes = (Product,)

    def keeps(self, node: Node) -> Sequence[Value]:
        """Both factors."""
        return node.inputs

    def backward(self, node: Product, context: LrpContext, R: Relevance) -> tuple[Relevance, ...]:
        """`R_a = R_b = R / 2`: `m_a = m b / 2`, `m_b = m a / 2`."""
        factors = [context[value] for value in node.inputs]

        def half(own: Tensor, other: Tensor) -> Relevance:
            m = None if R.multiplier is None else sum_to(R.multiplier * other / 2, own.shape)
            return Relevance(m, None if R.amount is None else sum_to(R.amount / 2, own.shape))

        return half(factors[0], factors[1]), half(factors[1], factors[0])


class Identity(StructureRule):
    """A product whose second factor counts as a constant: the first one gets all.

    So Achtibat et al. (2024), prop. 3.4, cross a normalisation, `(x - mean) / sqrt(var + eps)`:
    what it divides by is no evidence.
    """

    nodes = (Product,)

    def keeps(self, node: Node) -> tuple[Value]:
        """The second factor."""
        return (node.inputs[1],)

    def backward(
        self, node: Product, context: LrpContext, R: Relevance
    ) -> tuple[Relevance, Relevance | None]:
        """`R_a = R`: `m_a = m b`."""
        shape, b = context.run.shapes[node.inputs[0]], context[node.inputs[1]]
        m = None if R.multiplier is None else sum_to(R.multiplier * b, shape)
        return Relevance(m, None if R.amount is None else sum_to(R.amount, shape)), None


class Stopped(StructureRule):
    """A step that no relevance comes to."""

    nodes = (Activation,)

    def backward(self, node: Node, context: LrpContext, R: Relevance) -> tuple[None, ...]:
        """Nothing."""
        return (None,) * len(node.inputs)


class HalvesOfSums(WeightedRule):
    """A product of matrices: every `a_ik b_kj` in a sum gets its share, and each factor half of it.

    So `R_ik = a_ik sum_j b_kj R_ij / (2 stab(z_ij))` (Achtibat et al., AttnLRP, 2024).
    """

    nodes = (InnerProducts,)

    def fits(self, node: Node) -> bool:
        """Products of matrices."""
        return isinstance(node, self.nodes)

    def keeps(self, node: InnerProducts) -> tuple[Value, ...]:
        """Both factors, and the product."""
        return (*node.inputs, node.output)

    def backward(
        self, node: InnerProducts, context: LrpContext, R: Relevance
    ) -> tuple[Relevance, ...]:
        """`s = R / stab(z)`, `m_a = s b^T / 2`, `m_b = a^T s / 2`."""
        s = self.ratio(node, context, R)
        a, b = (context[value] for value in node.inputs)
        m_a, m_b = self._halves(node, s, a, b)
        if not self.settles(context):
            return Relevance(m_a), Relevance(m_b)
        stabilizer = self.division.added(context[node.output]) * s
        if self.bias == "redistribute":
            part = stabilizer / node.multiply(torch.ones_like(a), torch.ones_like(b))
            amounts = self._halves(node, part, torch.ones_like(a), torch.ones_like(b))
            return Relevance(m_a, amounts[0]), Relevance(m_b, amounts[1])
        context.charge(node, stabilizer=stabilizer)
        return Relevance(m_a), Relevance(m_b)

    def _halves(
        self, node: InnerProducts, s: Tensor, a: Tensor, b: Tensor
    ) -> tuple[Tensor, Tensor]:
        half = s / 2
        return node.transpose_first(half, b, a.shape), node.transpose_second(half, a, b.shape)


class Gradient(StructureRule):
    """An operator without a rule, crossed by its gradient: `R = x * (J^T m)`; conserves nothing."""

    nodes = (Call,)
    #: The column of the books that what is not passed on is entered in.
    account: ClassVar[str] = "dropped"

    def keeps(self, node: Node) -> Sequence[Value]:
        """The operator's inputs and output."""
        return (*node.inputs, node.output)

    def gives_amount(self, arriving: bool) -> bool:
        """Multipliers only."""
        return False

    def backward(self, node: Node, context: LrpContext, R: Relevance) -> tuple[Relevance, ...]:
        """One vector-Jacobian product; an amount is turned into a multiplier first."""
        y = context[node.output]
        m = R.multiplier if R.multiplier is not None else torch.zeros_like(y)
        if R.amount is not None:
            m = m + torch.where(y == 0, 0, R.amount / y)
        inputs = [context[value] for value in node.inputs]
        gradients = self.gradients(node, context.run, inputs, m)
        if context.ledger is not None:
            passed = sum(
                (booked(x * g, x).sum() for x, g in zip(inputs, gradients, strict=True)),
                m.new_zeros(()),
            )
            arrived = booked(R.total(context.run, y), y).sum()
            context.charge(node, **{self.account: arrived - passed})
        return tuple(Relevance(g) for g in gradients)

    def gradients(
        self, node: Node, run: Run, inputs: Sequence[Tensor], m: Tensor
    ) -> tuple[Tensor, ...]:
        """`J^T m`, by torch's autograd."""
        return transposed_jacobian(node, run, inputs, m)


class Expansion(Gradient):
    """A step of a softmax `s`, which as a whole is crossed by its expansion to first order.

    `R_i = x_i (R'_i - s_i sum_j R'_j)` for the relevance R' of its output (Achtibat et al. 2024,
    prop. 3.1): that is `x_i (J^T m)_i` with `R' = s m`. What the expansion does not get by x is the
    share of its constant, and is booked as a bias's.
    """

    account = "bias"

    def gradients(
        self, node: Node, run: Run, inputs: Sequence[Tensor], m: Tensor
    ) -> tuple[Tensor, ...]:
        """`J^T m`, by the node's own rule."""
        return RULES[type(node)].backward(node, run, m)
