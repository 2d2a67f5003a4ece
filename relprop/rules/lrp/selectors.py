"""Which nodes a rule is for: by kind, by module, by a function, by position."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar, NamedTuple

from relprop.errors import InvalidInputError, InvalidTypeError
from relprop.graph.convolution import Convolution
from relprop.graph.linear import WEIGHTED, Affine, Dense, Fixed, MatrixProduct, Rearrange
from relprop.graph.linear_map import LinearMap
from relprop.graph.node import Graph, Node, Value
from relprop.graph.nonlinear import (
    Activation,
    AdaptiveMaxPool,
    Cat,
    InnerProducts,
    MaxPool,
    Product,
    Sum,
)

NodeTypes = tuple[type[Node], ...]


class _Kind(NamedTuple):
    """Nodes of some types, or those among them of which something holds."""

    nodes: NodeTypes
    holds: Callable[[Any], bool] = lambda node: True


KINDS: dict[str, _Kind] = {
    "convolution": _Kind((Convolution,)),
    "dense": _Kind((Dense, MatrixProduct)),
    "batch_norm": _Kind((Affine,), lambda node: node.origin == "batch_norm"),
    "max_pool": _Kind((MaxPool, AdaptiveMaxPool)),
    "average_pool": _Kind((Fixed,), lambda node: "avg_pool" in node.label),
    "add": _Kind((Sum,)),
    "mul": _Kind((Product,)),
    "matmul": _Kind((InnerProducts,)),
    "activation": _Kind((Activation,)),
}


#: Operators that have a softmax among their steps, and the nodes that its steps are.
SOFTMAX = (
    *("softmax", "_softmax", "log_softmax", "_log_softmax"),
    "scaled_dot_product_attention",
)
SOFTMAX_STEPS: NodeTypes = (Activation, Affine, Fixed, Sum, Product, AdaptiveMaxPool)


class Places:
    """Where in a graph the layers with weights are, and the scores that a softmax alone reads."""

    def __init__(self, graph: Graph) -> None:
        self.order = [n.output for n in graph.nodes if _has_weights(n)]
        self.first = _first_layers(graph)
        self.last = _last_layers(graph)
        self.scores = _scores(graph)
        self.modules = {node.where.module for node in graph.nodes}


@dataclass(frozen=True)
class Kind:
    """All nodes of one of the `KINDS`."""

    name: str

    @property
    def nodes(self) -> NodeTypes:
        """The types of node that a kind consists of."""
        return KINDS[self.name].nodes

    def selects(self, node: Node, places: Places) -> bool:
        """Whether the node is of the kind."""
        return isinstance(node, self.nodes) and KINDS[self.name].holds(node)


@dataclass(frozen=True)
class Module:
    """The nodes of modules whose path matches a pattern of `fnmatch`, or lies within one."""

    nodes: ClassVar[NodeTypes] = (Node,)
    pattern: str

    def matches(self, path: str) -> bool:
        """Whether a module's path does."""
        return fnmatchcase(path, self.pattern) or fnmatchcase(path, f"{self.pattern}.*")

    def selects(self, node: Node, places: Places) -> bool:
        """Whether the node's module does; an error if that of no node does."""
        if not any(map(self.matches, places.modules)):
            known = ", ".join(map(repr, sorted(places.modules - {""})[:8]))
            raise InvalidInputError(
                f"a selector must be a kind ({', '.join(KINDS)}) or match a module of the model; "
                f"got {self.pattern!r}, while modules are {known or 'without names'}"
            )
        return self.matches(node.where.module)


@dataclass(frozen=True)
class Chosen:
    """The nodes for which a function of the user's says so."""

    nodes: ClassVar[NodeTypes] = (Node,)
    function: Callable[[Node], bool]

    def selects(self, node: Node, places: Places) -> bool:
        """What the function says."""
        return bool(self.function(node))


@dataclass(frozen=True)
class First:
    """The layers with weights that read the model's input, perhaps rearranged."""

    nodes: ClassVar[NodeTypes] = WEIGHTED

    def selects(self, node: Node, places: Places) -> bool:
        """Whether the node is one of them."""
        return node.output in places.first


@dataclass(frozen=True)
class Last:
    """The layers with weights that no other layer with weights comes after."""

    nodes: ClassVar[NodeTypes] = WEIGHTED

    def selects(self, node: Node, places: Places) -> bool:
        """Whether the node is one of them."""
        return node.output in places.last


@dataclass(frozen=True)
class Depth:
    """Layer k of n with weights, counted from 0 in the order they run, if start <= k/n < stop."""

    nodes: ClassVar[NodeTypes] = WEIGHTED
    start: float
    stop: float

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop <= 1:
            raise InvalidInputError(
                "depth must go from a start to a larger stop, both between 0 and 1; got "
                f"start={self.start!r}, stop={self.stop!r}"
            )

    def selects(self, node: Node, places: Places) -> bool:
        """Whether the node is one of them."""
        if node.output not in places.order:
            return False
        return self.start <= places.order.index(node.output) / len(places.order) < self.stop


Selector = Kind | Module | Chosen | First | Last | Depth


def first() -> First:
    """The layers with weights that read the model's input, perhaps rearranged."""
    return First()


def last() -> Last:
    """The layers with weights that no other layer with weights comes after."""
    return Last()


def depth(start: float, stop: float) -> Depth:
    """The layers with weights between two fractions of the network's depth.

    Args:
        start, stop: of n layers with weights, layer k (from 0) is meant if `start <= k/n < stop`.

    Raises:
        InvalidInputError: the fractions are not in order, or not between 0 and 1.
    """
    return Depth(start, stop)


def as_selector(given: object) -> Selector:
    """A selector from what the user wrote: a selector, a kind, a pattern, or a function."""
    if isinstance(given, Selector):
        return given
    if isinstance(given, str):
        return Kind(given) if given in KINDS else Module(given)
    if callable(given):
        return Chosen(given)
    raise InvalidTypeError(
        "a selector must be the name of a kind, a module pattern, a function of a node, first(), "
        f"last() or depth(start, stop); got {type(given).__name__}"
    )


def _has_weights(node: Node) -> bool:
    return isinstance(node, WEIGHTED)


def _first_layers(graph: Graph) -> set[Value]:
    seen, found = set(graph.inputs), set()
    for node in graph.nodes:
        if seen.isdisjoint(node.inputs):
            continue
        if _has_weights(node):
            found.add(node.output)
        elif isinstance(node, (LinearMap, Cat)):
            seen.add(node.output)
    return found


def _last_layers(graph: Graph) -> set[Value]:
    followed: set[Value] = set()
    found = set()
    for node in reversed(graph.nodes):
        if _has_weights(node) and node.output not in followed:
            found.add(node.output)
        if _has_weights(node) or node.output in followed:
            followed.update(node.inputs)
    return found


def _scores(graph: Graph) -> set[Value]:
    """What a softmax alone reads, perhaps after constants are added to it or multiply it."""
    readers = graph.consumers()
    found: set[Value] = set()
    for node in reversed(graph.nodes):
        after = readers.get(node.output, [])
        if after and all(_leads_to_softmax(reader, found) for reader in after):
            found.add(node.output)
    return found - {graph.output}


def _leads_to_softmax(node: Node, scores: set[Value]) -> bool:
    if isinstance(node, (Affine, Rearrange)) and node.output in scores:
        return True
    return node.part_of in SOFTMAX and type(node) in SOFTMAX_STEPS
