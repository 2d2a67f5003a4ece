"""An explanation by tiles: the images to the cut, the head, and back to the images.

The body's forward sweep runs twice, once to fill the cut and once to send relevance back; of a
tile nothing outlives it but what it adds to the result. Weights are those of the one snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from relprop.attribution.tiling.methods import Method
from relprop.attribution.tiling.tiling import Tiling
from relprop.graph.constants import Snapshot
from relprop.graph.cut import Cut, Tile
from relprop.graph.intervals import Box, lengths
from relprop.graph.layout import channels_last
from relprop.graph.node import Graph, Run, Value
from relprop.graph.sweep import Sweep
from relprop.graph.window import Window, narrowed, surrounded
from relprop.rules.support import Rule

Named = Mapping[Value, Tensor]


class TiledPass:
    """The sweeps of one explanation by tiles.

    Args:
        cut, tiling: where the graph is cut, and into which tiles.
        whole: the sweep of the whole graph, for its rules.
        method: whose rules they are.
        constants: the model's weights as they are now.
    """

    def __init__(
        self, cut: Cut, tiling: Tiling, whole: Sweep, method: Method[Any], constants: Snapshot
    ) -> None:
        self.body, self.tiling, self.method = cut.body, tiling, method
        self.graph = whole.graph
        self.constants, self.winograd = constants, whole.winograd
        pairs = zip(whole.graph.nodes, whole.crossings, strict=True)
        self.rules: dict[Value, Rule] = {node.output: rule for node, rule in pairs}
        self.stand_in = whole.stand_in
        self.head = self._sweep(cut.head, {})

    def fill(self, arguments: Named) -> Tensor:
        """The activation at the cut, computed tile by tile."""
        filled: Tensor | None = None
        for box in self.tiling.boxes:
            tile = self.body.tile(box)
            sweep = Sweep(tile.graph, [None] * len(tile.graph.nodes), winograd=self.winograd)
            run = sweep.forward(self.constants, _parts(tile, arguments))
            given = tile.boxes[self.body.cut]
            start = [b[0] - g[0] for b, g in zip(box, given, strict=True)]
            part = narrowed(run.values[self.body.cut], start, lengths(box))
            if filled is None:
                other = part.shape[: -len(box)]
                filled = channels_last(part.new_empty(*other, *self.tiling.space))
            _box(filled, box).copy_(part)
        assert filled is not None
        return filled

    def through_head(self, filled: Tensor, arguments: Named) -> Run:
        """The head's forward sweep."""
        inputs = {value: arguments[value] for value in self.head.graph.inputs[1:]}
        return self.head.forward(self.constants, {self.body.cut: filled, **inputs})

    def back(
        self, runs: Sequence[Run], arguments: Sequence[Named], seeds: Sequence[Tensor]
    ) -> list[dict[Value, Tensor]]:
        """For every seed what reaches each input; lets the head's `runs` go on the way."""
        messages, found = [], []
        for seed in seeds:
            context = self.method.context(self.head.graph, self.head, runs)
            start = self.method.start(seed)
            done = runs if seed is seeds[-1] else ()
            arrived = self.head.backward(context, runs, start, done=done)
            messages.append(arrived.pop(self.body.cut, None))
            found.append({v: self.method.arrived(m, runs, v) for v, m in arrived.items()})
        for run in runs:
            run.values.clear()
        for sums in found:
            sums.update((v, torch.zeros_like(arguments[0][v])) for v in self.body.inputs)
        for box in self.tiling.boxes:
            self._add(box, arguments, messages, found)
        return found

    def _add(
        self,
        box: Box,
        arguments: Sequence[Named],
        messages: Sequence[Any],
        found: Sequence[dict[Value, Tensor]],
    ) -> None:
        """Send back what arrived at one box of the cut, and add it to what was found."""
        method = self.method
        parts = [(m, sums) for m, sums in zip(messages, found, strict=True) if m is not None]
        parts = [(method.each(m, lambda t: _box(t, box)), sums) for m, sums in parts]
        parts = [(m, sums) for m, sums in parts if method.flows(m)]
        if not parts:
            return
        tile = self.body.tile(box)
        sweep = self._sweep(tile.graph, tile.boxes)
        runs = [sweep.forward(self.constants, _parts(tile, named)) for named in arguments]
        shape, given = runs[0].shapes[self.body.cut], tile.boxes[self.body.cut]
        start = [b[0] - g[0] for b, g in zip(box, given, strict=True)]
        for i, (m, sums) in enumerate(parts):
            whole = method.each(m, lambda t: surrounded(t, start, shape))
            context = method.context(tile.graph, sweep, runs)
            done = runs if i == len(parts) - 1 else ()
            arrived = sweep.backward(context, runs, whole, done=done)
            for value, message in arrived.items():
                here = _box(sums[value], tile.boxes[value])
                here += method.arrived(message, runs, value)

    def _sweep(self, graph: Graph, boxes: Mapping[Value, Box]) -> Sweep:
        """The method's rules on a part of the graph, of which there are boxes."""
        made = {node.output for node in graph.nodes}
        rules = [
            self.method.window
            if isinstance(node, Window)
            else self._placed(node.output, [boxes[v] for v in node.inputs if v in boxes])
            for node in graph.nodes
        ]
        stand_in = {a: b for a, b in self.stand_in.items() if b in made}
        return Sweep(graph, rules, stand_in, winograd=self.winograd)

    def _placed(self, value: Value, boxes: Sequence[Box]) -> Rule:
        rule = self.rules[value]
        return self.method.placed(rule, boxes[0]) if boxes else rule


def _parts(tile: Tile, arguments: Named) -> dict[Value, Tensor]:
    """The boxes of the images that a tile reads."""
    return {value: _box(arguments[value], tile.boxes[value]) for value in tile.graph.inputs}


def _box(t: Tensor, box: Box) -> Tensor:
    """A box of a tensor's last dimensions."""
    return narrowed(t, [start for start, _ in box], lengths(box))
