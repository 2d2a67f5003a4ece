"""The part of a graph below a cut, tile by tile: up to the cut, and back to what the tile reads.

Images are tensors, or whatever gives windows of an image on demand. Weights are those of the one
snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from relprop.attribution.tiling.methods import Method
from relprop.graph.constants import Snapshot
from relprop.graph.cut import Body, Tile
from relprop.graph.intervals import Box, lengths
from relprop.graph.node import Graph, Run, Value
from relprop.graph.sweep import Sweep
from relprop.graph.window import Window, narrowed, surrounded
from relprop.rules.support import Rule


class Windowed(Protocol):
    """An image, or another activation, that is nowhere in memory as a whole."""

    def window(self, box: Box) -> Tensor:
        """A box of its last dimensions, whole in all others."""
        ...


Images = Mapping[Value, Tensor | Windowed]


@dataclass(frozen=True)
class Arrived:
    """Messages at the boxes that a tile reads, and the forward sweeps that they go with."""

    messages: Mapping[Value, Any]
    boxes: Mapping[Value, Box]
    runs: Sequence[Run]


@dataclass(frozen=True)
class Rules:
    """A method's rules on a graph, to be put on parts of it.

    Attributes:
        whole: the sweep of the whole graph, for its rules.
        method: whose rules they are.
        constants: the model's weights as they are now.
    """

    whole: Sweep
    method: Method[Any]
    constants: Snapshot

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
        return Sweep(graph, rules, stand_in, winograd=self.whole.winograd)


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
        return narrowed(run.values[self.body.cut], self._start(tile, box), lengths(box))

    def back(
        self, box: Box, images: Sequence[Images], messages: Sequence[Any]
    ) -> Iterator[Arrived]:
        """What each message becomes that arrived at a box of the cut; `images` are all sweeps'."""
        tile, method, constants = self.body.tile(box), self.rules.method, self.rules.constants
        sweep = self.rules.sweep(tile.graph, tile.boxes)
        runs = [sweep.forward(constants, _parts(tile, named)) for named in images]
        shape, start = runs[0].shapes[self.body.cut], self._start(tile, box)
        for i, message in enumerate(messages):
            whole = method.each(message, lambda t: surrounded(t, start, shape))
            context = method.context(tile.graph, sweep, runs)
            done = runs if i == len(messages) - 1 else ()
            yield Arrived(sweep.backward(context, runs, whole, done=done), tile.boxes, runs)

    def _start(self, tile: Tile, box: Box) -> list[int]:
        """Where a box begins in what the tile gives."""
        given = tile.boxes[self.body.cut]
        return [b[0] - g[0] for b, g in zip(box, given, strict=True)]


def boxed(t: Tensor, box: Box) -> Tensor:
    """A box of a tensor's last dimensions."""
    return narrowed(t, [start for start, _ in box], lengths(box))


def _parts(tile: Tile, images: Images) -> dict[Value, Tensor]:
    """The boxes of the images that a tile reads."""
    return {value: _window(images[value], tile.boxes[value]) for value in tile.graph.inputs}


def _window(image: Tensor | Windowed, box: Box) -> Tensor:
    return boxed(image, box) if isinstance(image, Tensor) else image.window(box)
