"""The epsilon rule: every input gets what it contributed to `z`, in proportion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from relprop.graph.linear import WEIGHTED, Affine, Fixed, Rearrange
from relprop.graph.linear_map import LinearMap
from relprop.graph.node import Node, Value
from relprop.rules.lrp.relevance import LrpContext, Relevance
from relprop.rules.lrp.stabilizer import Stabilizer, as_stabilizer
from relprop.rules.lrp.weighted import Settings, WeightedRule

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Epsilon(WeightedRule):
    """`R_i = x_i sum_j w_ij R_j / stab(z_j)` (Bach et al. 2015, eq. 58); eps = 0: z rule.

    Attributes:
        epsilon: the stabilizer, which here is more than a safeguard; None for what `LRP` was told.
    """

    nodes: ClassVar[tuple[type[Node], ...]] = (*WEIGHTED, Affine, Fixed)
    epsilon: float | Stabilizer | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        as_stabilizer("epsilon", self.epsilon)

    def fits(self, node: Node) -> bool:
        """All linear maps that calculate anything."""
        return isinstance(node, LinearMap) and not isinstance(node, Rearrange)

    def placed(self, node: Node, settings: Settings) -> Self:
        """With the user's epsilon on layers with weights, the stabilizer on what has none."""
        default = settings.epsilon
        if not isinstance(node, WEIGHTED):
            default = settings.stabilizer
        chosen = self.stabilizer if self.epsilon is None else self.epsilon
        chosen = default if chosen is None else as_stabilizer("epsilon", chosen)
        return replace(self, epsilon=chosen, stabilizer=chosen, bias=self.bias or settings.bias)

    def keeps(self, node: Node) -> Sequence[Value]:
        """The layer's output z."""
        return (node.output,)

    def backward(self, node: LinearMap, context: LrpContext, R: Relevance) -> tuple[Relevance, ...]:
        """1F + 1B, the model's own forward among them."""
        b = context.run.constant(node.bias)
        left_out = b if self.bias == "ignore" else None
        s = self.ratio(node, context, R, bias=left_out)
        c = node.transpose(context.run, s, context.run.shapes[node.inputs[0]])
        if not self.settles(context):
            return (Relevance(c),)
        z = context[node.output]
        if left_out is not None:
            z = z - node.broadcast(left_out, z.dim())
        return (Relevance(c, self.leftover(node, context, s, z, self.bias_of(node, context))),)
