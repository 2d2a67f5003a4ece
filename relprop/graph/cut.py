"""A graph cut in two at one activation: the body below it, which runs by tiles, and the head.

A cut is an activation that every way from the explained images to the output leads through, so
that nothing else passes from body to head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from relprop.graph.constants import Snapshot
from relprop.graph.geometry import Geometry, Pointwise, Untileable
from relprop.graph.intervals import Box, hull
from relprop.graph.node import Auxiliary, Extent, Graph, Node, Value, is_scalar
from relprop.graph.regions import at, geometry_of
from relprop.graph.sizes import Sizes
from relprop.graph.window import Window


@dataclass(frozen=True)
class Tile:
    """The part of a body that computes one box of the cut.

    Attributes:
        graph: from the images' boxes to the box of the cut, or to more than that.
        boxes: which box of every activation it holds.
    """

    graph: Graph
    boxes: Mapping[Value, Box]


@dataclass(frozen=True)
class Body:
    """The nodes below a cut, in `dims` dimensions of space; `inputs` are the images they read."""

    graph: Graph
    cut: Value
    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    geometries: Mapping[Value, Geometry]
    dims: int

    def wanted(self, out: Box) -> dict[Value, Box]:
        """The box of every activation that a box of the cut is made from."""
        wanted = {self.cut: out}
        for node in reversed(self.nodes):
            if node.output not in wanted:
                continue
            box = self.geometries[node.output].reads(wanted[node.output])
            for value in node.inputs:
                wanted[value] = hull(wanted[value], box) if value in wanted else box
        return wanted

    def tile(self, out: Box) -> Tile:
        """The part of the body that computes a box of the cut."""
        wanted = self.wanted(out)
        boxes = {value: wanted[value] for value in self.inputs}
        nodes: list[Node] = []
        for node in self.nodes:
            geometry, box = self.geometries[node.output], wanted[node.output]
            if isinstance(geometry, Pointwise) and len(node.inputs) == 1:
                box = boxes[node.inputs[0]]
            read, names = geometry.reads(box), []
            for value in node.inputs:
                names.append(value if boxes[value] == read else f"{value}{list(read)}")
                if boxes[value] != read and names[-1] not in boxes:
                    nodes.append(Window.of(value, names[-1], boxes[value], read, node.where))
                    boxes[names[-1]] = read
            nodes.append(at(node, geometry, box, names))
            boxes[node.output] = geometry.gives(box)
        graph = Graph(self.inputs, self.cut, nodes, channels_last=self.graph.channels_last)
        known = self.graph.nonnegative
        windows = (node for node in nodes if isinstance(node, Window))
        graph.nonnegative = known | {w.output for w in windows if w.inputs[0] in known}
        return Tile(graph, boxes)


@dataclass(frozen=True)
class Cut:
    """A body, and the head, which reads the cut and the inputs that no image is."""

    body: Body
    head: Graph


def find_cuts(
    graph: Graph, sizes: Sizes, constants: Snapshot, refuses: Callable[[Node], str]
) -> tuple[list[Cut], dict[Value, str]]:
    """Every cut there is, from the images on; and why some nodes cannot run by tiles.

    `refuses` says why one cannot that could by its geometry, or nothing.
    """
    dims = max(len(sizes.shapes[value]) for value in graph.inputs) - 2
    geometries: dict[Value, Geometry] = {}
    refused: dict[Value, str] = {}
    below: dict[Value, frozenset[Value]] = {value: frozenset([value]) for value in graph.inputs}
    cuts = []
    for node in graph.nodes:
        if is_scalar(node):
            continue
        below[node.output] = frozenset([node.output]).union(*(below[v] for v in node.inputs))
        try:
            if refuses(node):
                raise Untileable(refuses(node))
            geometries[node.output] = geometry_of(node, sizes, constants, dims)
        except Untileable as reason:
            refused[node.output] = str(reason)
        whole = {*geometries, *graph.inputs}
        if below[node.output] <= whole and _is_alone(graph, node.output, below[node.output]):
            cuts.append(_cut(graph, node.output, below[node.output], geometries, sizes, dims))
    return cuts, refused


def _is_alone(graph: Graph, cut: Value, below: frozenset[Value]) -> bool:
    """Whether nothing above the cut reads anything below it."""
    inside = below - {cut}
    return graph.output not in inside and all(
        node.output in below or inside.isdisjoint(node.inputs) for node in graph.nodes
    )


def _cut(
    graph: Graph,
    cut: Value,
    below: frozenset[Value],
    geometries: Mapping[Value, Geometry],
    sizes: Sizes,
    dims: int,
) -> Cut:
    images = tuple(value for value in graph.inputs if value in below)
    nodes = tuple(n for n in graph.nodes if n.output in below and not is_scalar(n))
    body = Body(graph, cut, images, nodes, {n.output: geometries[n.output] for n in nodes}, dims)
    others = tuple(value for value in graph.inputs if value not in below)
    above = [
        known_above(node, cut, below, sizes) if isinstance(node, Extent) else node
        for node in graph.nodes
        if is_scalar(node) or node.output not in below
    ]
    return Cut(body, replace(graph, inputs=(cut, *others), nodes=above))


def known_above(node: Extent, cut: Value, below: frozenset[Value], sizes: Sizes) -> Node:
    """A size for the head: that of a batch is the cut's, others below the cut are known."""
    if node.of == cut or node.of not in below:
        return node
    if node.dim == 0:
        return replace(node, of=cut)
    number = sizes.scalars[node.output]
    return Auxiliary(inputs=(), output=node.output, where=node.where, target=int, args=(number,))
