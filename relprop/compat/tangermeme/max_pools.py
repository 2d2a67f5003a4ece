"""DeepLIFT with tangermeme's multiplier where the input of a max pool is what it is in x0.

Contributions `m (x - x0)` do not ask for one there. What a letter would contribute that is not in
the sequence does.
"""

from __future__ import annotations

import torch

from relprop.compat.captum.comparison import Comparison
from relprop.graph.node import Graph
from relprop.graph.nonlinear import AdaptiveMaxPool, MaxPool
from relprop.graph.sweep import Sweep
from relprop.rules.deeplift.choice import difference_rules
from relprop.rules.deeplift.multiplier import DifferenceContext, Multiplier
from relprop.rules.deeplift.nonlinear import Winner
from relprop.rules.support import Rule, winner


class WinnerOrGradient(Winner):
    """`m_i = sum_j m_j D_ij / (x_i - x0_i)`, `D_ij` what input i is given of output j's difference.

    Where `x_i = x0_i`, the gradient at x: all m_j of the windows j that i wins. relprop's own rule
    gives 0 there, the limit of `D_ij / (x_i - x0_i)`, if the output differs by another input.
    """

    def backward(
        self, node: MaxPool | AdaptiveMaxPool, context: DifferenceContext, m: Multiplier
    ) -> tuple[Multiplier]:
        """Either, input by input."""
        (value,) = node.inputs
        x, x0 = context.x.values[value], context.x0.values[value]
        one = self.single(node, context, m)
        m_x = torch.where(x == x0, winner(node, one, x), winner(node, one, x, x0))
        return (Multiplier(m_x),)


class SequenceComparison(Comparison):
    """Multipliers against each reference, with the rule above at max pools.

    Args:
        model: the model.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__(model, layers=False)

    def _sweep(self, graph: Graph) -> Sweep:
        rules = difference_rules(graph, self.rule, self.max_pool)
        return Sweep(graph, list(map(_own, rules)))


def _own(rule: Rule | None) -> Rule | None:
    return WinnerOrGradient() if isinstance(rule, Winner) else rule
