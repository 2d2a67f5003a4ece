"""LRP through max pools, where it is not the maximum alone that takes a window's relevance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from relprop import ops
from relprop.graph.node import Node, Value
from relprop.graph.nonlinear import AdaptiveMaxPool, MaxPool
from relprop.ops.pool_windows import PoolWindows
from relprop.rules.lrp.relevance import LrpContext, Relevance
from relprop.rules.lrp.structure import StructureRule, Winner, each
from relprop.rules.lrp.weighted import Settings, WeightedRule
from relprop.rules.support import windows

Pool = MaxPool | AdaptiveMaxPool


class Shared(StructureRule):
    """A max pool: those that are equal to the maximum share, `R_i = R_j / n_j`."""

    nodes = (MaxPool, AdaptiveMaxPool)

    def keeps(self, node: Node) -> Sequence[Value]:
        """The pool's input."""
        return (node.inputs[0],)

    def backward(self, node: Pool, context: LrpContext, R: Relevance) -> tuple[Relevance]:
        """The value of each is the output's: multipliers pass in equal parts."""
        x = context[node.inputs[0]]

        def share(t: Tensor) -> Tensor:
            if isinstance(node, AdaptiveMaxPool):
                return ops.adaptive_max_pool_shared(t, x)
            return ops.max_pool_shared(t, x, **windows(node))

        return (each(R, share),)


class ProportionalPool(WeightedRule):
    """A max pool as if it were a sum: `R_i = x_i R_j / stab(sum_i' x_i')` over a window."""

    nodes: ClassVar[tuple[type[Node], ...]] = (MaxPool, AdaptiveMaxPool)

    @property
    def name(self) -> str:
        """By what it does."""
        return "proportional"

    def fits(self, node: Node) -> bool:
        """Max pools."""
        return isinstance(node, self.nodes)

    def keeps(self, node: Node) -> Sequence[Value]:
        """The pool's input and output."""
        return (node.inputs[0], node.output)

    def backward(self, node: Pool, context: LrpContext, R: Relevance) -> tuple[Relevance]:
        """One multiplier for every window."""
        if not self.is_plain(context):
            return (self._written_out(node, context, R),)
        x = context[node.inputs[0]]
        if R.activation is not None:
            R = Relevance(amount=R.total(context.run, context[node.output]))
        epsilon = self.division.size(x.dtype)
        if isinstance(node, AdaptiveMaxPool):
            c = ops.adaptive_max_pool_proportional(R.multiplier, R.amount, x, epsilon=epsilon)
        else:
            c = ops.max_pool_proportional(
                R.multiplier, R.amount, x, **windows(node), epsilon=epsilon
            )
        return (Relevance(c),)

    def _written_out(self, node: Pool, context: LrpContext, R: Relevance) -> Relevance:
        """The same window by window, for other stabilizers and where shares are accounted for."""
        x, shape = context[node.inputs[0]], context.run.shapes[node.output]
        if isinstance(node, AdaptiveMaxPool):
            pool = PoolWindows.adaptive(x, shape[2:])
        else:
            pool = PoolWindows.fixed(x, **windows(node))
        z = pool.of(x, 0).sum(-1).reshape(shape)
        s = self.ratio(node, context, R, denominator=z)
        inside = pool.present.to(x.dtype)
        c = pool.added_up(s.flatten(2).unsqueeze(-1) * inside, x)
        if not self.settles(context):
            return Relevance(c)
        stabilizer = self.division.added(z) * s
        if self.bias == "redistribute":
            equal = inside / inside.sum(-1, keepdim=True)
            return Relevance(c, pool.added_up(stabilizer.flatten(2).unsqueeze(-1) * equal, x))
        context.charge(node, stabilizer=stabilizer)
        return Relevance(c)


MAX_POOLS: dict[str, StructureRule | WeightedRule] = {
    "winner": Winner(),
    "shared": Shared(),
    "proportional": ProportionalPool(),
}


class AsTold(StructureRule):
    """The rule for max pools that `LRP` was told, where a composite has none."""

    nodes = (MaxPool, AdaptiveMaxPool)

    def placed(self, node: Node, settings: Settings) -> StructureRule | WeightedRule:
        """One of `MAX_POOLS`."""
        return MAX_POOLS[settings.max_pool].placed(node, settings)
