"""Which rule of DeepLIFT goes on which node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from relprop.errors import InvalidInputError
from relprop.graph.convolution import Convolution
from relprop.graph.linear import Affine, Beside, Dense, Fixed, MatrixProduct, Rearrange
from relprop.graph.node import Graph, Node, Value, is_scalar
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
from relprop.rules.deeplift import linear, nonlinear
from relprop.rules.deeplift.multiplier import DifferenceRule, InParts
from relprop.rules.support import Rule, choose

#: What a user may say of activation functions: a name for all; names by pattern; or a function.
RuleChoice = str | Mapping[str, str] | Callable[[Node], str]

RULES: dict[type[Node], DifferenceRule] = {
    Convolution: linear.Linear(),
    Dense: linear.Linear(),
    MatrixProduct: linear.Linear(),
    Affine: linear.Scale(),
    Fixed: linear.Through(),
    Rearrange: linear.Through(),
    Beside: linear.Through(),
    Sum: linear.Add(),
    Cat: linear.Part(),
    **dict.fromkeys((Product, InnerProducts), linear.Midpoint()),
    Opaque: nonlinear.Gradient(),
}
ACTIVATION_RULES: dict[str, DifferenceRule] = {
    "rescale": nonlinear.Rescale(),
    "reveal_cancel": nonlinear.RevealCancel(),
}
#: What `rule=` may name: a rule for all activation functions, or a preset that chooses.
RULE_NAMES = (*ACTIVATION_RULES, "genomics")
MAX_POOL_RULES: dict[str, DifferenceRule] = {
    "winner": nonlinear.Winner(),
    "shapley": nonlinear.Shapley(),
}


def check_rule(rule: RuleChoice) -> RuleChoice:
    """`rule`, if it is something that `difference_rules` can take."""
    if callable(rule):
        return rule
    if isinstance(rule, Mapping):
        for name in rule.values():
            choose(ACTIVATION_RULES, name, "a layer's rule")
        return rule
    choose(dict.fromkeys(RULE_NAMES), rule, "rule")
    return rule


def difference_rules(graph: Graph, rule: RuleChoice, max_pool: str) -> list[Rule | None]:
    """A rule of DeepLIFT for every node; None for scalars."""
    pool = choose(MAX_POOL_RULES, max_pool, "max_pool")
    producers = graph.producers()

    def rule_of(node: Node) -> DifferenceRule | None:
        if is_scalar(node):
            return None
        if isinstance(node, Activation):
            return activation_rule(node, rule, producers)
        if isinstance(node, (MaxPool, AdaptiveMaxPool)):
            chosen: DifferenceRule = pool
            return chosen
        if isinstance(node, Fixed) and "cubic" in node.label:
            return linear.Unsigned()
        return RULES[type(node)]

    rules = [rule_of(node) for node in graph.nodes]
    wanted = _wanted_in_parts(graph, rules)
    return [
        InParts(made) if made is not None and node.output in wanted else made
        for node, made in zip(graph.nodes, rules, strict=True)
    ]


def activation_rule(
    node: Activation, rule: RuleChoice, producers: Mapping[Value, Node]
) -> DifferenceRule:
    """The rule that the user chose for one activation function; Rescale where no pattern fits."""
    if callable(rule):
        name = rule(node)
    elif isinstance(rule, Mapping):
        named = (n for pattern, n in rule.items() if _fits(pattern, node))
        name = next(named, "rescale")
    elif rule == "genomics":
        name = "reveal_cancel" if _follows_dense(node, producers) else "rescale"
    else:
        name = rule
    if name not in ACTIVATION_RULES:
        raise InvalidInputError(
            f"the rule for '{node.label}' in {node.where} must be one of "
            f"{', '.join(map(repr, ACTIVATION_RULES))}; got {name!r}"
        )
    return ACTIVATION_RULES[name]


def _fits(pattern: str, node: Node) -> bool:
    """Whether a pattern such as `classifier.*`, or `relu`, means the node."""
    return fnmatchcase(node.where.module, pattern) or fnmatchcase(node.label, pattern)


def _follows_dense(node: Node, producers: Mapping[Value, Node]) -> bool:
    """Whether the layer under an activation, looking through batch norm and views, is dense."""
    below = producers.get(node.inputs[0])
    while isinstance(below, (Affine, Rearrange)):
        below = producers.get(below.inputs[0])
    return isinstance(below, (Dense, MatrixProduct))


def _wanted_in_parts(graph: Graph, rules: list[DifferenceRule | None]) -> set[Value]:
    """The activations whose parts a RevealCancel reads, itself or through other rules."""
    wanted: set[Value] = set()
    for node, rule in zip(reversed(graph.nodes), reversed(rules), strict=True):
        passes = rule is not None and rule.passes_parts and node.output in wanted
        if isinstance(rule, nonlinear.RevealCancel) or passes:
            wanted.update(node.inputs)
    return wanted
