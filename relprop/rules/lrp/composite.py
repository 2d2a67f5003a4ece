"""Which rule of LRP goes on which node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from relprop.errors import InvalidInputError, InvalidTypeError
from relprop.graph.convolution import Convolution
from relprop.graph.linear import WEIGHTED, Affine, Beside, Fixed, Rearrange
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
from relprop.rules.lrp import structure
from relprop.rules.lrp.epsilon import Epsilon
from relprop.rules.lrp.input_layers import ZBox
from relprop.rules.lrp.pools import AsTold
from relprop.rules.lrp.selectors import (
    KINDS,
    SOFTMAX,
    SOFTMAX_STEPS,
    NodeTypes,
    Places,
    Selector,
    as_selector,
)
from relprop.rules.lrp.structure import StructureRule
from relprop.rules.lrp.weighted import LinearRule, Settings, WeightedRule
from relprop.rules.support import Rule

AnyRule = LinearRule | StructureRule

#: LRP's rules for nodes that no pair of a composite is for.
DEFAULTS: dict[type[Node], AnyRule] = {
    **dict.fromkeys(WEIGHTED, Epsilon()),
    Affine: Epsilon(),
    Fixed: Epsilon(),
    Sum: structure.Proportional(),
    Rearrange: structure.Move(),
    Beside: structure.Move(),
    Activation: structure.Pass(),
    MaxPool: AsTold(),
    AdaptiveMaxPool: AsTold(),
    Product: structure.Halves(),
    InnerProducts: structure.HalvesOfSums(),
    Cat: structure.Part(),
    Opaque: structure.Gradient(),
}
#: And for the steps of an operator that is crossed as a whole, whatever a composite says.
STEPS: dict[str, Mapping[type[Node], AnyRule]] = {
    **{name: dict.fromkeys(SOFTMAX_STEPS, structure.Expansion()) for name in SOFTMAX},
    **{
        f"{kind}_norm": {Product: structure.Identity(), Activation: structure.Stopped()}
        for kind in ("layer", "rms", "group", "instance")
    },
}


@dataclass(frozen=True, init=False)
class Composite:
    """Pairs of a selector and a rule: a node gets the rule of the first pair that is for it.

    A pair is for a node if its selector selects the node and its rule fits such nodes: so a module
    pattern with a rule for layers with weights leaves the activation functions of the module alone.
    What no pair is for has a default: epsilon for linear maps and branches that are added, for
    max pools what `LRP` is told, and activation functions hand their relevance down. The steps of a
    softmax and of a normalisation have the rules of Achtibat et al. (2024), whatever a pair says.

    Args:
        pairs: each a selector and a rule of `relprop.rules.lrp`. A selector is the name of a kind
            (`"convolution"`, `"dense"`, `"batch_norm"`, `"max_pool"`, `"average_pool"`, `"add"`,
            `"mul"`, `"matmul"`, `"activation"`), a pattern of module paths such as `"features.*"`,
            a function from a node to a bool, `first()`, `last()`, or `depth(start, stop)`.

    Raises:
        InvalidInputError, InvalidTypeError: what is given is no list of such pairs, or a rule can
            fit no node that its selector selects, such as `AlphaBeta` on `"add"`.

    Example:
        >>> from relprop.rules import lrp
        >>> Composite([(lrp.first(), lrp.Flat()), ("convolution", lrp.Gamma(0.25))])
    """

    pairs: tuple[tuple[Selector, AnyRule], ...]

    def __init__(
        self,
        pairs: Iterable[tuple[str | Callable[[Node], bool] | Selector, object]],
    ) -> None:
        object.__setattr__(self, "pairs", tuple(map(_checked, pairs)))

    @property
    def needs_bounds(self) -> bool:
        """Whether a z^B rule has no bounds of its own, so that `LRP` must be told them."""
        return any(isinstance(rule, ZBox) and rule.lacks_bounds for _, rule in self.pairs)

    def rule(self, node: Node, places: Places) -> AnyRule:
        """The rule for a node, as it was declared."""
        if node.output in places.scores and isinstance(node, Affine):
            return structure.Expansion()
        if type(node) not in STEPS.get(node.part_of, ()):
            for selector, rule in self.pairs:
                if selector.selects(node, places) and rule.fits(node):
                    return rule
        return default_rule(node)


def default_rule(node: Node) -> AnyRule:
    """The rule of a step of its operator, or that of its kind."""
    return STEPS.get(node.part_of, DEFAULTS).get(type(node), DEFAULTS[type(node)])


def _checked(pair: object) -> tuple[Selector, AnyRule]:
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise InvalidInputError(f"a composite must be a list of (selector, rule); got {pair!r}")
    selector, rule = pair
    if isinstance(rule, type) or not isinstance(rule, AnyRule):
        hint = (
            f"{rule.__name__}, a class: write {rule.__name__}()"
            if (isinstance(rule, type))
            else repr(rule)
        )
        raise InvalidTypeError(f"a rule must be one of those in relprop.rules.lrp; got {hint}")
    chosen = as_selector(selector)
    if not _meet(chosen.nodes, rule.nodes):
        kinds = ", ".join(
            repr(name) for name, kind in KINDS.items() if _meet(kind.nodes, rule.nodes)
        )
        raise InvalidInputError(
            f"a rule must fit what its selector selects; got {type(rule).__name__} for "
            f"{selector!r}, but it can only fit {kinds}"
        )
    return chosen, rule


def _meet(selected: NodeTypes, fitting: NodeTypes) -> bool:
    """Whether a rule for nodes of the types `fitting` can be for a node that is selected."""
    return any(issubclass(a, b) or a is Node for a in selected for b in fitting)


def lrp_rules(graph: Graph, composite: Composite, settings: Settings) -> list[Rule | None]:
    """A rule of LRP for every node; None for scalars."""
    places = Places(graph)
    rules: list[Rule | None] = [
        None if is_scalar(node) else composite.rule(node, places).placed(node, settings)
        for node in graph.nodes
    ]
    _write_out_passes(graph, rules)
    return rules


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


def stand_ins(
    graph: Graph, rules: Sequence[Rule | None], amount_at_output: bool = False
) -> dict[Value, Value]:
    """Activations for which a ReLU's output may be kept in their place.

    Where it is positive it equals its input, and elsewhere no relevance arrives: so the output
    alone is enough, unless relevance comes in amounts, which do not vanish with it, or the rule
    below reads the rest too. `amount_at_output` says whether it begins as one.
    """
    amount = {graph.output: amount_at_output}
    found: dict[Value, Value] = {}
    makers = {node.output: rule for node, rule in zip(graph.nodes, rules, strict=True)}
    for node, rule in zip(reversed(graph.nodes), reversed(rules), strict=True):
        arriving = amount.get(node.output, False)
        if rule is None:
            continue
        if isinstance(rule, structure.Pass) and not arriving and _is_relu(node):
            (z,) = node.inputs
            if not getattr(makers.get(z), "reads_whole_output", False):
                found[z] = node.output
        for value in node.inputs:
            amount[value] = amount.get(value, False) or rule.gives_amount(arriving)
    return found


def bounds_ratios(graph: Graph, rules: Sequence[Rule | None]) -> bool:
    """Whether no convolution's output, minus its bias, is a denominator of its relevance.

    Without its bias, a neuron may have a denominator of 0, and relevance. Rounded by the tile, 0 is
    a small number, and what is divided by it large enough to be seen all over the tile.
    """
    return all(
        rule.bias == "absorb" or (rule.bias == "ignore" and rule.sums_by_itself)
        for node, rule in zip(graph.nodes, rules, strict=True)
        if isinstance(node, Convolution) and isinstance(rule, WeightedRule)
    )


def _is_relu(node: Node) -> bool:
    return isinstance(node, Activation) and node.name == "relu"
