"""Heads that read a cut through one mean over all of space, and through nothing else.

A mean over space is a sum over tiles, so such a head runs without there ever being all of the cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from relprop.graph.constants import Snapshot
from relprop.graph.cut import Cut, known_above
from relprop.graph.geometry import Place
from relprop.graph.linear import Fixed
from relprop.graph.node import Extent, Graph, Node
from relprop.graph.sizes import Sizes


@dataclass(frozen=True)
class Pooled:
    """A head without its `mean`, which is its first input."""

    mean: Fixed
    head: Graph


def find_pooled(cut: Cut, sizes: Sizes, constants: Snapshot) -> Pooled | None:
    """The head of a cut without the mean that it begins with, if it does."""
    value, dims = cut.body.cut, cut.body.dims
    readers = [node for node in cut.head.nodes if value in node.inputs]
    if len(readers) != 1 or not isinstance(readers[0], Fixed):
        return None
    mean = readers[0]
    if not _is_mean_of_space(Place(mean, sizes, constants, dims)):
        return None
    below = frozenset([value])
    nodes = [
        known_above(node, mean.output, below, sizes) if isinstance(node, Extent) else node
        for node in cut.head.nodes
        if node is not mean
    ]
    inputs = (mean.output, *cut.head.inputs[1:])
    return Pooled(mean, replace(cut.head, inputs=inputs, nodes=nodes))


def _is_mean_of_space(place: Place) -> bool:
    node: Node = place.node
    if node.label.startswith("adaptive_avg_pool"):
        return all(n == 1 for n in place.made[-place.dims :])
    if node.label != "mean" or place.argument("dtype") is not None:
        return False
    over = place.argument("dim")
    return isinstance(over, Sequence) and _all_of_space(over, place)


def _all_of_space(over: Sequence[int], place: Place) -> bool:
    ndim = len(place.given)
    return {dim % ndim for dim in over} == set(range(ndim - place.dims, ndim))
