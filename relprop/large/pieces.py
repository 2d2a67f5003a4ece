"""What tiles give, in files: a file a tile, which is there as a whole or not at all.

Tiles may overlap: what lies in a box is the sum over all tiles that reach into it, in their order,
so it is the same to the last bit however often the work is interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relprop.attribution.tiling.bodies import boxed
from relprop.attribution.tiling.methods import Packed
from relprop.graph.intervals import Box, lengths
from relprop.storage.disk import write_whole

NOTHING = Packed("nothing", {})
"""The piece of a tile that nothing arrived at."""


class Pieces:
    """Tensors of tiles, the last dimensions of which are the tiles' boxes.

    Attributes:
        there: the tiles that have been written.
    """

    def __init__(self, folder: Path, boxes: Sequence[Box]) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._boxes = folder, boxes
        self._starts, self._stops = np.array(boxes).transpose(2, 0, 1)
        self.there = {int(path.stem) for path in folder.glob("*.pt") if path.name[0] != "."}

    def write(self, tile: int, piece: Packed) -> None:
        """Keep what a tile gave; on return it is on disk."""
        # Views would be written with all that they are views of.
        tensors = {name: t.cpu().clone(memory_format=FLAT) for name, t in piece.tensors.items()}
        content = {"form": piece.form, "tensors": tensors}
        write_whole(self._path(tile), lambda file: torch.save(content, file))
        self.there.add(tile)

    def read(self, tile: int) -> Packed:
        """What a tile gave; of the file only what is looked at is read."""
        content: Mapping[str, Any] = torch.load(self._path(tile), mmap=True, weights_only=True)
        return Packed(content["form"], content["tensors"])

    def drop(self, tile: int) -> None:
        """Let a tile's piece go."""
        self._path(tile).unlink(missing_ok=True)
        self.there.discard(tile)

    def overlapping(self, box: Box) -> Iterator[int]:
        """The tiles that reach into a box."""
        starts, stops = np.array(box).T
        meets = (self._starts < stops) & (starts < self._stops)
        yield from map(int, np.flatnonzero(meets.all(axis=1)))

    def sum(self, box: Box) -> Packed:
        """What lies in a box."""
        sums: dict[str, Tensor] = {}
        form = NOTHING.form
        for tile in self.overlapping(box):
            piece = self.read(tile)
            if piece.form == NOTHING.form:
                continue
            assert form in (NOTHING.form, piece.form)
            form, own = piece.form, self._boxes[tile]
            both = tuple((max(a[0], b[0]), min(a[1], b[1])) for a, b in zip(own, box, strict=True))
            for name, t in piece.tensors.items():
                if name not in sums:
                    sums[name] = t.new_zeros(*t.shape[: -len(box)], *lengths(box))
                part = boxed(sums[name], _within(both, box))
                part += boxed(t, _within(both, own))
        return Packed(form, sums)

    def _path(self, tile: int) -> Path:
        return self._folder / f"{tile}.pt"


FLAT = torch.contiguous_format


def _within(box: Box, whole: Box) -> Box:
    """A box in the coordinates of one that it lies in."""
    return tuple((b[0] - w[0], b[1] - w[0]) for b, w in zip(box, whole, strict=True))


class PieceWindows:
    """An activation of which there are pieces, as an image to read windows of."""

    def __init__(self, pieces: Pieces, device: torch.device) -> None:
        self._pieces, self._device = pieces, device

    def window(self, box: Box) -> Tensor:
        """A box of it."""
        (activation,) = self._pieces.sum(box).tensors.values()
        return activation.to(self._device)


class SumOfPieces:
    """What pieces of no extent in space add up to, in place of a whole."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces

    def window(self, box: Box) -> Tensor:
        """The sum of all, whatever the box."""
        total: Tensor | None = None
        for tile in sorted(self._pieces.there):
            (part,) = self._pieces.read(tile).tensors.values()
            total = part.clone() if total is None else total.add_(part)
        assert total is not None
        return total
