"""The sweeps of an explanation whose cuts are files: to the head, through it, and back.

Every tile is a step: what it gives is on disk before the next begins, and what is on disk is not
computed again. A chunk of relevance is written once all tiles that reach into it have been sent
back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Size, Tensor

from relprop.attribution.tiling.bodies import Arrived, BodyPass, Rules, Windowed
from relprop.attribution.tiling.chain import Chain, Stage
from relprop.attribution.tiling.methods import Packed
from relprop.errors import InvalidInputError
from relprop.graph.intervals import Box, lengths
from relprop.graph.node import Run
from relprop.graph.sizes import Sizes
from relprop.graph.sweep import Sweep
from relprop.large.chunks import Chunks
from relprop.large.describing import describe
from relprop.large.explained import Explained, Question
from relprop.large.messages import POINT, FromMean, FromPieces, Messages, Unpacking
from relprop.large.meter import Meter
from relprop.large.pieces import NOTHING, Pieces, PieceWindows, SumOfPieces
from relprop.large.record import Record
from relprop.large.sinks import Layout, Sink

ASKED, HEAD = "asked", "head"


@dataclass(frozen=True)
class Engine:
    """One explanation at work.

    Attributes:
        question: what is asked of the model's output, and how a window's relevance is made.
        chain: the stages.
        rules: the method's, on the whole graph.
        sizes: of all activations.
        images: the image, and the baseline of methods that have one.
        record: what is done, and where.
        meter: told of every tile.
        device: where the model computes.
    """

    question: Question
    chain: Chain
    rules: Rules
    sizes: Sizes
    images: Sequence[Windowed]
    record: Record
    meter: Meter
    device: torch.device

    def explain(self, sink: Sink, layout: Layout) -> Explained:
        """What is explained, when all chunks are in the sink."""
        if HEAD in self.record.done:
            self._check_target()
            self.meter.skip_forward()
        else:
            sources = [self._forward(j, image) for j, image in enumerate(self.images)]
            self._through_head(sources)
        explained = Explained(**self.record.done[HEAD])
        messages = self._arrived_at_last_cut()
        for k in range(len(self.chain.stages) - 1, 0, -1):
            messages = self._back(k, messages)
        return explained.summing(self._to_image(messages, sink, layout))

    def _check_target(self) -> None:
        """Refuse another target than the one that was sent back from; before, it may change."""
        before, now = self.record.done[ASKED], describe(self.question.target)
        if before != json.loads(json.dumps(now)):
            raise InvalidInputError(
                f"{self.record.folder}: cannot be continued, as it was begun with target "
                f"{before!r}, not {now!r}; ask for the same, or delete it"
            )

    def _forward(self, j: int, image: Windowed) -> Windowed:
        """The last cut of one of the images, or the mean over it."""
        source, last = image, len(self.chain.stages) - 1
        for k, stage in enumerate(self.chain.stages):
            pieces = Pieces(self._folder(f"forward-{j}-{k}"), stage.boxes)
            body = BodyPass(stage.cut.body, self.rules)
            summed = k == last and self.chain.pooled is not None
            for tile, box in enumerate(stage.boxes):
                if tile not in pieces.there:
                    part = body.forward(box, {stage.source: source})
                    if summed:
                        part = part.sum(dim=(-2, -1), dtype=torch.float64)
                    pieces.write(tile, Packed("activation", {"activation": part}))
                self.meter.forward(stage)
            source = SumOfPieces(pieces) if summed else PieceWindows(pieces, self.device)
        return source

    def _through_head(self, sources: Sequence[Windowed]) -> None:
        """Run the head there and back, and keep what arrives at the last cut."""
        chain, method, rules = self.chain, self.rules.method, self.rules
        (value, *_), last = chain.head.inputs, chain.stages[-1]
        head = rules.sweep(chain.head, {})
        whole = tuple((0, n) for n in self.sizes.shapes[last.cut.body.cut][-2:])
        runs = [head.forward(rules.constants, {value: self._read(s, whole)}) for s in sources]
        outputs = [run.values[chain.head.output] for run in runs]
        seed, explained = self.question.seed(outputs)
        context = method.context(chain.head, head, runs)
        message = head.backward(context, runs, method.start(seed)).get(value)
        if message is not None and chain.pooled:
            message = self._below_mean(head, runs, message)
        at = POINT if chain.pooled else whole
        Pieces(self._folder(HEAD), [at]).write(0, self._packed(message))
        self.record.add(ASKED, describe(self.question.target))
        self.record.add(HEAD, explained.as_dict())
        for j in range(len(self.images)):
            self.record.remove(f"forward-{j}-{len(chain.stages) - 1}")

    def _read(self, source: Windowed, whole: Box) -> Tensor:
        """What the head reads: all of the cut, or the mean over it."""
        read = source.window(whole)
        if self.chain.pooled is None:
            return read
        mean = self.chain.pooled.mean
        averaged = (read / math.prod(lengths(whole))).reshape(self.sizes.shapes[mean.output])
        return averaged.to(self.device, self.sizes.dtypes[mean.output])

    def _below_mean(self, head: Sweep, runs: Sequence[Run], message: Any) -> Any:
        """The message at every point of the cut, of the one at the mean over it.

        A mean over n points weighs each by 1/n. So each gets the nth part of what the only point
        of a space of one would.
        """
        assert self.chain.pooled is not None
        mean, method = self.chain.pooled.mean, self.rules.method
        (cut,) = mean.inputs
        points = math.prod(self.sizes.shapes[cut][-2:])
        for run in runs:
            run.shapes[cut] = Size([*self.sizes.shapes[cut][:-2], 1, 1])
            run.dtypes[cut] = self.sizes.dtypes[cut]
        context = method.context(head.graph, head, runs)
        (sent,) = self.rules.by_value[mean.output].backward(mean, context, message)
        return None if sent is None else method.each(sent, lambda t: t / points)

    def _arrived_at_last_cut(self) -> Messages:
        if self.chain.pooled:
            return FromMean(Pieces(self._folder(HEAD), [POINT]), self._unpacking)
        last = self.chain.stages[-1].cut.body.cut
        whole = tuple((0, n) for n in self.sizes.shapes[last][-2:])
        return FromPieces(Pieces(self._folder(HEAD), [whole]), self._unpacking)

    def _back(self, k: int, messages: Messages) -> Messages:
        """What arrives at the cut that a stage, not the first, begins with."""
        stage, step = self.chain.stages[k], f"back-{k}"
        pieces = Pieces(self._folder(step), self._read_by(stage))
        if step in self.record.done:
            self.meter.skip(stage)
            return FromPieces(pieces, self._unpacking)
        sources = [self._source(j, k) for j in range(len(self.images))]
        for tile, box in enumerate(stage.boxes):
            if tile not in pieces.there:
                piece = NOTHING
                for arrived in self._sent(stage, box, sources, messages):
                    piece = self._packed(arrived.messages.get(stage.source))
                pieces.write(tile, piece)
            self.meter.back(stage)
        self.record.add(step)
        above = f"back-{k + 1}" if k + 1 < len(self.chain.stages) else HEAD
        for name in (above, *(f"forward-{j}-{k - 1}" for j in range(len(self.images)))):
            self.record.remove(name)
        return FromPieces(pieces, self._unpacking)

    def _to_image(self, messages: Messages, sink: Sink, layout: Layout) -> list[float]:
        """Send relevance to the image, and write every chunk; the sums of all chunks."""
        stage, boxes = self.chain.stages[0], layout.boxes
        pieces = Pieces(self._folder("back-0"), self._read_by(stage))
        if "output" not in self.record.done:
            sink.create()
            self.record.add("output")
        sums = self.record.chunks
        chunks = Chunks([list(pieces.overlapping(box)) for box in boxes], sums)
        for tile, box in enumerate(stage.boxes):
            if tile not in pieces.there and chunks.need(tile):
                pieces.write(tile, self._relevance(stage, box, messages))
            for chunk in chunks.ready_after(tile):
                sums[chunk] = self._write(pieces, sink, boxes[chunk], layout)
                self.record.add_chunk(chunk, sums[chunk])
                for unneeded in chunks.finish(chunk):
                    pieces.drop(unneeded)
            self.meter.back(stage)
        return [sums[chunk] for chunk in range(len(boxes))]

    def _relevance(self, stage: Stage, box: Box, messages: Messages) -> Packed:
        """What a tile sends to the pixels that it reads."""
        for arrived in self._sent(stage, box, self.images, messages):
            message = arrived.messages.get(stage.source)
            if message is not None:
                part = self.rules.method.arrived(message, arrived.runs, stage.source)
                x = [run.values[stage.source] for run in arrived.runs]
                return Packed("relevance", {"relevance": self.question.share(part, x)})
        return NOTHING

    def _write(self, pieces: Pieces, sink: Sink, box: Box, layout: Layout) -> float:
        found = pieces.sum(box).tensors
        rows, columns = (stop - start for start, stop in box)
        nothing = torch.zeros(1, layout.shape[0], rows, columns)
        array = found.get("relevance", nothing)[0].to(layout.type).numpy()
        self.question.require_finite(array)
        sink.write(box, array)
        return float(array.sum(dtype=float))

    def _sent(
        self, stage: Stage, box: Box, sources: Sequence[Windowed], messages: Messages
    ) -> Iterator[Arrived]:
        """What a tile sends back, if anything has arrived at it."""
        message = messages.part(box)
        if message is not None:
            body = BodyPass(stage.cut.body, self.rules)
            yield from body.back(box, [{stage.source: s} for s in sources], [message])

    def _source(self, j: int, k: int) -> Windowed:
        """What a stage, not the first, reads of one of the images."""
        below = self.chain.stages[k - 1]
        return PieceWindows(Pieces(self._folder(f"forward-{j}-{k - 1}"), below.boxes), self.device)

    def _read_by(self, stage: Stage) -> list[Box]:
        """What each tile reads."""
        return [stage.cut.body.wanted(box)[stage.source] for box in stage.boxes]

    def _folder(self, name: str) -> Path:
        """A folder for pieces."""
        return self.record.folder / name

    def _packed(self, message: Any) -> Packed:
        return NOTHING if message is None else self.rules.method.packed(message)

    @property
    def _unpacking(self) -> Unpacking:
        return Unpacking(self.rules.method, self.rules.whole.graph.producers(), self.device)
