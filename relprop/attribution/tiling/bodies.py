"""The part of a graph below a cut, tile by tile: up to the cut, and back to what the tile reads.

Images are tensors, or whatever gives windows of an image on demand. Weights are those of the one
snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from relprop.attribution.tiling.methods import Method
from relprop.graph.constants import Snapshot
from relprop.graph.cut import Body, Tile
from relprop.graph.intervals import Box, lengths
from relprop.graph.node import Graph, Node, Run, Value
from relprop.graph.sweep import Sweep
from relprop.graph.window import Window, narrowed, surrounded
from relprop.rules.support import Rule


class Windowed(Protocol):
    """An image, or another activation, that is nowhere in memory as a whole."""

    def window(self, box: Box) -> Tensor:
        """A box of its last dimensions, whole in all others."""
        ...


Images = Mapping[Value, Tensor | Windowed]
Books = Callable[[Any], Callable[[Node, Any, Any], None]]


@dataclass(frozen=True)
class Arrived:
    """Messages at the boxes that a tile reads, and the forward sweeps that they go with.

    `layers` has the boxes of layers that a tile is made from, and what it attributes to these.
    """

    messages: Mapping[Value, Any]
    boxes: Mapping[Value, Box]
    runs: Sequence[Run]
    layers: Mapping[Value, tuple[Box, Tensor]]


@dataclass(frozen=True)
class Rules:
    """A method's rules on a graph, to be put on parts of it.

    Attributes:
        whole: the sweep of the whole graph, for its rules.
        method: whose rules they are.
        constants: the model's weights as they are now.
        layers: the activations to attribute to besides the images.
        books: makes, of what the rules read, what is told of every node that a message crosses.
    """

    whole: Sweep
    method: Method[Any]
    constants: Snapshot
    layers: Collection[Value] = ()
    books: Books | None = None

    @property
    def by_value(self) -> dict[Value, Rule]:
        """The rule of the node that computes each activation."""
        pairs = zip(self.whole.graph.nodes, self.whole.crossings, strict=True)
        return {node.output: rule for node, rule in pairs}

    def sweep(self, graph: Graph, boxes: Mapping[Value, Box]) -> Sweep:
        """The rules on a part of the graph, of which there are boxes."""
        by_value = self.by_value
        made = {node.output for node in graph.nodes}

        def placed(value: Value, read: Sequence[Box]) -> Rule:
            rule = by_value[value]
            return self.method.placed(rule, read[0]) if read else rule

        rules = [
            self.method.window
            if isinstance(node, Window)
            else placed(node.output, [boxes[v] for v in node.inputs if v in boxes])
            for node in graph.nodes
        ]
        stand_in = {a: b for a, b in self.whole.stand_in.items() if b in made}
        whole = self.whole
        return Sweep(graph, rules, stand_in, whole.keep_all, self.layers, whole.winograd)

    def back(
        self, sweep: Sweep, runs: Sequence[Run], message: Any, done: Collection[Run]
    ) -> tuple[dict[Value, Any], dict[Value, Tensor]]:
        """Send a message back: what reaches the inputs, and what is attributed to layers."""
        context = self.method.context(sweep.graph, sweep, runs)
        enter = self.books(context) if self.books else None
        found: dict[Value, Tensor] = {}

        def watch(node: Node, arrived: Any, sent: Any) -> None:
            if node.output in self.layers:
                found[node.output] = self.method.attributed(arrived, context, node.output)
            if enter is not None:
                enter(node, arrived, sent)

        return sweep.backward(context, runs, message, watch, done), found


@dataclass(frozen=True)
class BodyPass:
    """The sweeps of a body, tile by tile."""

    body: Body
    rules: Rules

    def forward(self, box: Box, images: Images) -> Tensor:
        """A box of the cut."""
        tile = self.body.tile(box)
        nothing_kept = [None] * len(tile.graph.nodes)
        sweep = Sweep(tile.graph, nothing_kept, winograd=self.rules.whole.winograd)
        run = sweep.forward(self.rules.constants, _parts(tile, images))
        return _part(run.values[self.body.cut], box, tile.boxes[self.body.cut])

    def back(
        self, box: Box, images: Sequence[Images], messages: Sequence[Any]
    ) -> Iterator[Arrived]:
        """What each message becomes that arrived at a box of the cut; `images` are all sweeps'."""
        tile, method, constants = self.body.tile(box), self.rules.method, self.rules.constants
        sweep = self.rules.sweep(tile.graph, tile.boxes)
        runs = [sweep.forward(constants, _parts(tile, named)) for named in images]
        cut = self.body.cut
        shape, start = runs[0].shapes[cut], _begin(box, tile.boxes[cut])
        for i, message in enumerate(messages):
            whole = method.each(message, lambda t: surrounded(t, start, shape))
            done = runs if i == len(messages) - 1 else ()
            arrived, found = self.rules.back(sweep, runs, whole, done)
            yield Arrived(arrived, tile.boxes, runs, self._of_layers(tile, box, found))

    def _of_layers(
        self, tile: Tile, box: Box, found: Mapping[Value, Tensor]
    ) -> dict[Value, tuple[Box, Tensor]]:
        """What is attributed to the boxes of layers that a box of the cut is made from."""
        wanted = self.body.wanted(box) if found else {}
        return {v: (wanted[v], _part(t, wanted[v], tile.boxes[v])) for v, t in found.items()}


def boxed(t: Tensor, box: Box) -> Tensor:
    """A box of a tensor's last dimensions."""
    return narrowed(t, [start for start, _ in box], lengths(box))


def _begin(box: Box, whole: Box) -> list[int]:
    """Where a box begins in one that it lies in."""
    return [b[0] - w[0] for b, w in zip(box, whole, strict=True)]


def _part(t: Tensor, box: Box, whole: Box) -> Tensor:
    """A box of an activation, of a tensor that holds the box `whole` of it."""
    return narrowed(t, _begin(box, whole), lengths(box))


def _parts(tile: Tile, images: Images) -> dict[Value, Tensor]:
    """The boxes of the images that a tile reads."""
    return {value: _window(images[value], tile.boxes[value]) for value in tile.graph.inputs}


def _window(image: Tensor | Windowed, box: Box) -> Tensor:
    return boxed(image, box) if isinstance(image, Tensor) else image.window(box)
