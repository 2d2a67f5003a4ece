"""Which rule of LRP goes on which node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relprop.graph.linear import (
    Affine,
    Convolution,
    Dense,
    Fixed,
    LinearMap,
    MatrixProduct,
    Rearrange,
)
from relprop.graph.node import Graph, Node, Value, is_scalar
from relprop.graph.nonlinear import (
    Activation,
    AdaptiveMaxPool,
    Cat,
    MaxPool,
    Opaque,
    Product,
    Sum,
)
from relprop.rules.lrp import structure
from relprop.rules.lrp.weighted import Epsilon, Flat, Settings, WeightedRule, ZBox, ZPlus
from relprop.rules.support import Rule


@dataclass(frozen=True)
class Composite:
    """The rules of LRP for layers with weights; for what has none, `WEIGHTLESS` says.

    Attributes:
        dense: for dense layers, and other products with a constant matrix.
        convolution: for convolutions.
        first: for the layers that read the model's input, in place of the two; None for no
            exception.
    """

    dense: type[WeightedRule]
    convolution: type[WeightedRule]
    first: type[WeightedRule] | None = None


COMPOSITES: dict[str, Composite] = {
    "epsilon": Composite(dense=Epsilon, convolution=Epsilon),
    "epsilon_plus": Composite(dense=Epsilon, convolution=ZPlus),
    "epsilon_plus_flat": Composite(dense=Epsilon, convolution=ZPlus, first=Flat),
    "epsilon_plus_box": Composite(dense=Epsilon, convolution=ZPlus, first=ZBox),
}

#: Layers with weights; all but convolutions have the rule of dense ones.
WEIGHTED = (Convolution, Dense, MatrixProduct)

#: LRP's rules for nodes without weights.
WEIGHTLESS: dict[type[Node], Callable[[Settings], Rule]] = {
    Affine: lambda settings: Epsilon(settings.stabilizer, settings.bias),
    Fixed: lambda settings: Epsilon(settings.stabilizer, settings.bias),
    Sum: structure.Proportional.of,
    Rearrange: lambda settings: structure.Move(),
    Activation: lambda settings: structure.Pass(),
    MaxPool: lambda settings: structure.Winner(),
    AdaptiveMaxPool: lambda settings: structure.Winner(),
    Product: lambda settings: structure.Halves(),
    Cat: lambda settings: structure.Part(),
    Opaque: lambda settings: structure.Gradient(),
}


def lrp_rules(graph: Graph, composite: Composite, settings: Settings) -> list[Rule | None]:
    """A rule of LRP for every node; None for scalars."""
    first = first_layers(graph) if composite.first else set()

    def rule(node: Node) -> Rule | None:
        if is_scalar(node):
            return None
        if not isinstance(node, WEIGHTED):
            return WEIGHTLESS[type(node)](settings)
        if node.output in first and composite.first is not None:
            return composite.first.of(settings)
        convolution = isinstance(node, Convolution)
        chosen = composite.convolution if convolution else composite.dense
        return chosen.of(settings)

    rules = [rule(node) for node in graph.nodes]
    _write_out_passes(graph, rules)
    return rules


def first_layers(graph: Graph) -> set[Value]:
    """The outputs of the layers with weights that see the model's input, perhaps rearranged."""
    seen, first = set(graph.inputs), set()
    for node in graph.nodes:
        if seen.isdisjoint(node.inputs):
            continue
        if isinstance(node, WEIGHTED):
            first.add(node.output)
        elif isinstance(node, (LinearMap, Cat)):
            seen.add(node.output)
    return first


def _write_out_passes(graph: Graph, rules: list[Rule | None]) -> None:
    """`Pass` leaves f(z) to the rule below; write it out where that rule cannot take it."""
    readers = graph.consumers()
    makers = {node.output: rule for node, rule in zip(graph.nodes, rules, strict=True)}
    for index, node in enumerate(graph.nodes):
        if isinstance(rules[index], structure.Pass):
            (z,) = node.inputs
            below = makers.get(z)
            shared = len(readers[z]) > 1 or z == graph.output
            if shared or not getattr(below, "takes_activation", False):
                rules[index] = structure.PassAmount()


def stand_ins(graph: Graph, rules: Sequence[Rule | None]) -> dict[Value, Value]:
    """Activations for which a ReLU's output may be kept in their place.

    Where it is positive it equals its input, and elsewhere no relevance arrives: so the output
    alone is enough, unless relevance comes in amounts, which do not vanish with it.
    """
    amount: dict[Value, bool] = {}
    found: dict[Value, Value] = {}
    for node, rule in zip(reversed(graph.nodes), reversed(rules), strict=True):
        arriving = amount.get(node.output, False)
        if rule is None:
            continue
        if isinstance(rule, structure.Pass) and not arriving and _is_relu(node):
            found[node.inputs[0]] = node.output
        for value in node.inputs:
            amount[value] = amount.get(value, False) or rule.gives_amount(arriving)
    return found


def _is_relu(node: Node) -> bool:
    return isinstance(node, Activation) and node.name == "relu"
