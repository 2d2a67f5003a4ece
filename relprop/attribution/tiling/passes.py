"""An explanation by tiles in memory: the images to the cuts, the head, and back to the images.

The forward sweep below the last cut runs twice, once to fill the cuts and once to send relevance
back; of a tile nothing outlives it but what it adds to a whole. Weights are those of the one
snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Size, Tensor

from relprop.attribution.tiling.bodies import Arrived, BodyPass, Rules, boxed
from relprop.attribution.tiling.methods import Method, Packed
from relprop.attribution.tiling.tiling import Part, Tiling
from relprop.graph.cut import Cut
from relprop.graph.intervals import Box
from relprop.graph.layout import channels_last
from relprop.graph.node import Run, Value

Named = Mapping[Value, Tensor]
Sums = dict[Value, Tensor]
"""Wholes by name, to which tiles add their parts."""


@dataclass(frozen=True)
class _Stage:
    """A part that runs by tiles: its sweeps, and where its tiles are."""

    tiles: BodyPass
    part: Part

    @property
    def cut(self) -> Value:
        """What it ends at."""
        return self.tiles.body.cut

    @property
    def source(self) -> Value:
        """What it begins with, if that is another cut."""
        return self.tiles.body.inputs[0]


class TiledPass:
    """The sweeps of one explanation by tiles.

    Args:
        cuts, tiling: where the graph is cut, from the images on, and into which tiles.
        rules: the method's, on the whole graph.
        shapes: of all activations.
        layers: the activations to attribute to besides, by the layers' names.
    """

    def __init__(
        self,
        cuts: Sequence[Cut],
        tiling: Tiling,
        rules: Rules,
        shapes: Mapping[Value, Size],
        layers: Mapping[str, Value],
    ) -> None:
        self._stages = [
            _Stage(BodyPass(cut.body, rules), part)
            for cut, part in zip(cuts, tiling.parts, strict=True)
        ]
        self._rules, self._shapes, self._layers = rules, shapes, layers
        self._method: Method[Any] = rules.method
        self._head = rules.sweep(cuts[-1].head, {})
        self.graph = rules.whole.graph

    def fill(self, arguments: Named) -> Sums:
        """The arguments, and the activations at all cuts, computed tile by tile."""
        known = dict(arguments)
        for stage in self._stages:
            filled: Tensor | None = None
            for box in stage.part.boxes:
                part = stage.tiles.forward(box, known)
                if filled is None:
                    other = part.shape[: -len(box)]
                    filled = channels_last(part.new_empty(*other, *stage.part.space))
                boxed(filled, box).copy_(part)
            assert filled is not None
            known[stage.cut] = filled
        return known

    def through_head(self, filled: Named) -> Run:
        """The head's forward sweep."""
        read = {value: filled[value] for value in self._head.graph.inputs}
        return self._head.forward(self._rules.constants, read)

    def back(
        self, runs: Sequence[Run], filled: Sequence[Named], seeds: Sequence[Tensor]
    ) -> list[Sums]:
        """For every seed what reaches each input and layer; lets the head's `runs` go.

        What nothing has reached is missing.
        """
        messages, found = [], []
        for seed in seeds:
            done = runs if seed is seeds[-1] else ()
            arrived, layers = self._rules.back(self._head, runs, self._method.start(seed), done)
            messages.append(arrived.pop(self._stages[-1].cut, None))
            reached = {v: self._method.arrived(m, runs, v) for v, m in arrived.items()}
            found.append({**layers, **reached})
        for run in runs:
            run.values.clear()
        for stage in reversed(self._stages[1:]):
            messages = self._to_cut(stage, filled, messages, found)
        self._to_images(self._stages[0], filled, messages, found)
        return found

    def of_inputs(self, sums: Sums, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What reached the first inputs of the model, which are `inputs`."""
        return tuple(
            sums[name] if name in sums else torch.zeros_like(x)
            for name, x in zip(self.graph.inputs, inputs, strict=False)
        )

    def of_layers(self, sums: Sums, like: Tensor) -> dict[str, Tensor]:
        """What is attributed to layers, by their names, in the type of a tensor."""
        return {
            name: sums[v] if v in sums else like.new_zeros(()).expand(self._shapes[v])
            for name, v in self._layers.items()
        }

    def _to_images(
        self, stage: _Stage, filled: Sequence[Named], messages: Sequence[Any], found: list[Sums]
    ) -> None:
        """Add what reaches the images to what was found."""
        for k, arrived in self._arriving(stage, filled, messages, found):
            for value, message in arrived.messages.items():
                part = self._method.arrived(message, arrived.runs, value)
                _add(found[k], value, part, arrived.boxes[value], self._shapes[value])

    def _to_cut(
        self, stage: _Stage, filled: Sequence[Named], messages: Sequence[Any], found: list[Sums]
    ) -> list[Any]:
        """What the messages at a part's cut become at the cut that the part begins with."""
        source, makers = stage.source, self.graph.producers()
        forms: dict[int, str] = {}
        wholes: list[Sums] = [{} for _ in messages]
        for k, arrived in self._arriving(stage, filled, messages, found):
            message = arrived.messages.get(source)
            if message is not None:
                packed = self._method.packed(message)
                forms[k] = packed.form
                for name, part in packed.tensors.items():
                    _add(wholes[k], name, part, arrived.boxes[source], self._shapes[source])
        return [
            self._method.unpacked(Packed(forms[k], whole), makers) if whole else None
            for k, whole in enumerate(wholes)
        ]

    def _arriving(
        self, stage: _Stage, filled: Sequence[Named], messages: Sequence[Any], found: list[Sums]
    ) -> Iterator[tuple[int, Arrived]]:
        """What every tile sends back, and for which seed; what it attributes to layers is added."""
        for box in stage.part.boxes:
            flowing = list(self._flowing(box, messages))
            if not flowing:
                continue
            arriving = stage.tiles.back(box, filled, [part for _, part in flowing])
            for arrived, (k, _) in zip(arriving, flowing, strict=True):
                for value, (own, part) in arrived.layers.items():
                    _add(found[k], value, part, own, self._shapes[value])
                yield k, arrived

    def _flowing(self, box: Box, messages: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """The messages at a box that there is something in."""
        for k, message in enumerate(messages):
            if message is not None:
                part = self._method.each(message, lambda t: boxed(t, box))
                if self._method.flows(part):
                    yield k, part


def _add(sums: Sums, name: str, part: Tensor, box: Box, shape: Size) -> None:
    """Add a part at a box to a whole, which is zero at first."""
    if name not in sums:
        sums[name] = part.new_zeros(*part.shape[: -len(box)], *shape[-len(box) :])
    here = boxed(sums[name], box)
    here += part
