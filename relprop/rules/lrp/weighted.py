"""LRP through linear maps (`z = W x + b`): one class a rule.

Letters as in the papers: `x_i` a layer's input, `w_ij` its weight, `z_j` its output before the
activation function, `R_j` the relevance that arrives, `s_j` relevance per unit of the denominator.
Every rule gives `x_i` the share `R_i`; `stab(z) = z + eps * sign(z)` with `sign(0) = +1`.

What becomes of the bias is a policy of its own, for every rule with a bias in its formula:

* `absorb`: the bias stays in the denominator and takes its share `b_j s_j` with it;
* `ignore`: the bias is left out of the denominator;
* `redistribute`: its share, and the stabilizer's, go to the layer's inputs in equal parts, as
  Bach et al. (2015), eq. 60, write it with `(eps * sign(z_j) + b_j) / n`, n inputs of neuron j.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from relprop import ops
from relprop.graph.linear import LinearMap, MatrixProduct
from relprop.graph.node import Node, Value
from relprop.rules.lrp.relevance import LrpContext, Relevance

if TYPE_CHECKING:
    from typing_extensions import Self

BIAS_POLICIES = ("absorb", "ignore", "redistribute")
Bound = float | Tensor


def positive(w: Tensor) -> Tensor:
    """`W+`, the weight's positive part."""
    return w.clamp(min=0)


def negative(w: Tensor) -> Tensor:
    """`W-`, the weight's negative part."""
    return w.clamp(max=0)


def ones(w: Tensor) -> Tensor:
    """A weight of ones: who is connected with whom."""
    return torch.ones_like(w)


def sign(z: Tensor) -> Tensor:
    """The sign, with `sign(0) = +1`."""
    return torch.where(z < 0, -1.0, 1.0).to(z.dtype)


@dataclass(frozen=True)
class Settings:
    """What a user says once for all rules of LRP; `LRP` describes each."""

    epsilon: float = 1e-6
    stabilizer: float = 1e-6
    bias: str = "absorb"
    low: Bound | None = None
    high: Bound | None = None


@dataclass(frozen=True)
class WeightedRule:
    """What the rules of linear maps have in common."""

    epsilon: float = 1e-6
    bias: str = "absorb"

    #: Whether the rule can take relevance that still has an activation function on it.
    takes_activation = True

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The rule as the user set it."""
        return cls(settings.stabilizer, settings.bias)

    @property
    def name(self) -> str:
        """The rule's name in tables."""
        return type(self).__name__.lower()

    def gives_amount(self, arriving: bool) -> bool:
        """Whether relevance leaves as an amount, given whether any arrives as one."""
        return self.bias == "redistribute"

    def ratio(
        self,
        node: Node,
        context: LrpContext,
        R: Relevance,
        denominator: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """`s_j = R_j / stab(z_j)`, or with another denominator; `bias` is taken off it."""
        z = context[node.output]
        channel_dim = node.channel_dim if isinstance(node, LinearMap) else 1
        if bias is not None and (channel_dim is None or bias.dim() != 1):
            denominator, bias = (z - bias).expand_as(z), None
        if self.epsilon == 0 and context.ledger is not None:
            d = z if denominator is None else denominator
            if bias is not None and isinstance(node, LinearMap):
                d = d - node.broadcast(bias, d.dim())
            # Where nothing stabilizes a denominator of 0, nobody can be given a share.
            context.charge(node, dropped=R.total(context.run, z) * (d == 0))
        f = R.activation
        return ops.lrp_ratio(
            R.multiplier,
            R.amount,
            z,
            denominator,
            bias,
            epsilon=self.epsilon,
            channel_dim=1 if channel_dim is None else channel_dim,
            activation=f.name if f else "identity",
            parameters=f.parameters if f else (),
        )

    def leftover(
        self, node: LinearMap, context: LrpContext, s: Tensor, z: Tensor, b: Tensor | None
    ) -> Tensor | None:
        """What bias and stabilizer took, as the bias policy has it: the amount for the inputs.

        `z` is the denominator before it was stabilized, `b` the bias in it.
        """
        if self.bias != "redistribute" and context.ledger is None:
            return None
        stabilizer = self.epsilon * sign(z) * s
        share = None if b is None else node.broadcast(b, s.dim()) * s
        if self.bias == "redistribute":
            return spread(node, context, stabilizer if share is None else stabilizer + share)
        context.charge(node, stabilizer=stabilizer)
        if share is not None:
            context.charge(node, bias=share)
        return None


def spread(node: LinearMap, context: LrpContext, t: Tensor) -> Tensor:
    """`sum_j t_j / n_j` for every input: each `t_j` in equal parts to the n_j inputs of neuron j.

    Padding is no input. Where a neuron sees nothing but padding, `t_j` is dropped.
    """
    run, weight = context.run, node.weight
    shape = run.shapes[node.inputs[0]]
    w = None if weight is None else run.constants.derive(weight, ones)
    # A constant on the left may take what comes first for its rows, and not for the batch.
    examples = shape[0] if isinstance(node, MatrixProduct) else 1
    n = node.apply(run, t.new_ones(()).expand(examples, *shape[1:]), w)
    part = torch.where(n == 0, 0, t / n)
    if context.ledger is not None:
        context.charge(node, dropped=torch.where(n == 0, t, 0))
    return node.transpose(run, part, shape, w)


class Epsilon(WeightedRule):
    """`R_i = x_i sum_j w_ij R_j / stab(z_j)` (Bach et al. 2015, eq. 60); eps = 0: z rule."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """With the user's epsilon rather than the stabilizer."""
        return cls(settings.epsilon, settings.bias)

    def keeps(self, node: Node) -> Sequence[Value]:
        """The layer's output z."""
        return (node.output,)

    def backward(self, node: LinearMap, context: LrpContext, R: Relevance) -> tuple[Relevance, ...]:
        """1F + 1B, the model's own forward among them."""
        b = context.run.constant(node.bias)
        left_out = b if self.bias == "ignore" else None
        s = self.ratio(node, context, R, bias=left_out)
        c = node.transpose(context.run, s, context.run.shapes[node.inputs[0]], context.weight(node))
        z = context[node.output]
        if left_out is not None:
            z = z - node.broadcast(left_out, z.dim())
        return (
            Relevance(c, self.leftover(node, context, s, z, None if left_out is not None else b)),
        )


class ZPlus(WeightedRule):
    """`R_i = x_i sum_j w+_ij R_j / z+_j` for x >= 0 (Montavon et al. 2017), `z+ = W+ x + b+`.

    For signed x only the positive contributions count: `z+ = W+ x+ + W- x- + b+`.
    """

    def keeps(self, node: Node) -> Sequence[Value]:
        """The layer's input x, and its output z for the relevance that arrives."""
        return (node.inputs[0], node.output)

    def backward(self, node: LinearMap, context: LrpContext, R: Relevance) -> tuple[Relevance, ...]:
        """2F + 1B for x known to be >= 0, else 3F + 2B."""
        run, x = context.run, context[node.inputs[0]]
        assert node.weight is not None
        w_p = run.constants.derive(node.weight, positive)
        w_n = None
        if node.inputs[0] not in context.nonnegative:
            w_n = run.constants.derive(node.weight, negative)
        z_p = node.apply(run, x if w_n is None else x.clamp(min=0), w_p)
        if w_n is not None:
            z_p = z_p + node.apply(run, x.clamp(max=0), w_n)
        b = None if node.bias is None or self.bias == "ignore" else run.constants[node.bias]
        if b is not None:
            b = b.clamp(min=0)
            z_p = z_p + node.broadcast(b, z_p.dim())
        s = self.ratio(node, context, R, denominator=z_p)
        c = node.transpose(run, s, x.shape, w_p)
        if w_n is not None:
            c = torch.where(x < 0, node.transpose(run, s, x.shape, w_n), c)
        return (Relevance(c, self.leftover(node, context, s, z_p, b)),)


@dataclass(frozen=True)
class ZBox(WeightedRule):
    """The z^B rule, for inputs in the box `low <= x <= high` (Montavon et al. 2017, eq. 15).

    `R_i = sum_j (x_i w_ij - l_i w+_ij - h_i w-_ij) R_j / stab(sum_i …)`, which is
    `(x - h) W^T s + (h - l) W+^T s`. The bias has no part in it. `low` and `high` are numbers or
    tensors that broadcast to x, such as (C, 1, 1) for bounds by channel.
    """

    low: Bound = 0.0
    high: Bound = 1.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """With the user's bounds."""
        assert settings.low is not None and settings.high is not None
        return cls(settings.stabilizer, settings.bias, settings.low, settings.high)

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
        run, x = context.run, context[node.inputs[0]]
        assert node.weight is not None
        w = run.constants[node.weight]
        w_p = run.constants.derive(node.weight, positive)
        low = torch.as_tensor(self.low, dtype=x.dtype, device=x.device)
        high = torch.as_tensor(self.high, dtype=x.dtype, device=x.device)
        below, width = x - high, (high - low).expand_as(x)
        z = node.apply(run, below, w) + node.apply(run, width, w_p)
        s = self.ratio(node, context, R, denominator=z)
        amount = below * node.transpose(run, s, x.shape, w)
        amount = amount + width * node.transpose(run, s, x.shape, w_p)
        rest = self.leftover(node, context, s, z, None)
        return (Relevance(amount=amount if rest is None else amount + rest),)


class Flat(WeightedRule):
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
        """2F + 1B with a weight of ones."""
        total = R.total(context.run, context[node.output])
        return (Relevance(amount=spread(node, context, total)),)
