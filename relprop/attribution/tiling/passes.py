"""An explanation by tiles in memory: the images to the cut, the head, and back to the images.

The body's forward sweep runs twice, once to fill the cut and once to send relevance back; of a
tile nothing outlives it but what it adds to the result. Weights are those of the one snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from relprop.attribution.tiling.bodies import BodyPass, Rules, boxed
from relprop.attribution.tiling.methods import Method
from relprop.attribution.tiling.tiling import Tiling
from relprop.graph.constants import Snapshot
from relprop.graph.cut import Cut
from relprop.graph.intervals import Box
from relprop.graph.layout import channels_last
from relprop.graph.node import Run, Value
from relprop.graph.sweep import Sweep

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
        rules = Rules(whole, method, constants)
        self.body, self.tiling, self.method = cut.body, tiling, method
        self.graph, self.constants = whole.graph, constants
        self.tiles = BodyPass(cut.body, rules)
        self.head = rules.sweep(cut.head, {})

    def fill(self, arguments: Named) -> Tensor:
        """The activation at the cut, computed tile by tile."""
        filled: Tensor | None = None
        for box in self.tiling.boxes:
            part = self.tiles.forward(box, arguments)
            if filled is None:
                other = part.shape[: -len(box)]
                filled = channels_last(part.new_empty(*other, *self.tiling.space))
            boxed(filled, box).copy_(part)
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
        parts = [(method.each(m, lambda t: boxed(t, box)), sums) for m, sums in parts]
        parts = [(m, sums) for m, sums in parts if method.flows(m)]
        if not parts:
            return
        arriving = self.tiles.back(box, arguments, [m for m, _ in parts])
        for arrived, (_, sums) in zip(arriving, parts, strict=True):
            for value, message in arrived.messages.items():
                here = boxed(sums[value], arrived.boxes[value])
                here += method.arrived(message, arrived.runs, value)
