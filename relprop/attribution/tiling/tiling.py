"""What was decided about an explanation by tiles, to be read by a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from relprop.graph.intervals import Box, lengths

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True)
class Part:
    """A part of the graph that runs by tiles, from the images or from a cut to the next cut.

    Attributes:
        layer: the node whose output the part ends at, and where it is.
        space: the size of that output.
        boxes: its tiles: for each dimension of space where one starts, and where it stops.
        reads: how many pixels of the images, or elements of the cut before, a tile in the middle
            reads in each dimension.
        halo: how many of them, on each side, other tiles read as well.
    """

    layer: str
    space: tuple[int, ...]
    boxes: tuple[Box, ...]
    reads: tuple[int, ...]
    halo: tuple[int, ...]

    def lines(self, read: str) -> Iterator[str]:
        """Two lines about it, where tiles read what is called so."""
        yield f"cut after {self.layer}, which gives {times(self.space)}"
        yield (
            f"tiles: {len(self.boxes)} of {times(lengths(self.boxes[0]))}, each made from up to "
            f"{times(self.reads)} {read}, with {times(self.halo)} on each side of its own"
        )


@dataclass(frozen=True)
class Tiling:
    """How an explanation is taken apart; `print` it.

    Attributes:
        budget: bytes that were allowed, beside the model, what is derived of its weights, and the
            inputs.
        untiled: bytes that the explanation takes as a whole.
        peak: bytes that it takes as it is made.
        parts: what runs by tiles, from the images on; none where the whole fits.
        work: how many times the multiplications of the untiled explanation are made, about.
    """

    budget: int
    untiled: int
    peak: int
    parts: tuple[Part, ...] = ()
    work: float = 1.0

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The tiles of the part that reads the images; none where the whole fits."""
        return self.parts[0].boxes if self.parts else ()

    def __str__(self) -> str:
        memory = f"memory: {in_units(self.peak)} of {in_units(self.budget)}"
        if not self.parts:
            return f"no tiles: all of it fits\n{memory}"
        read = ["pixels", *["elements of the cut before"] * (len(self.parts) - 1)]
        lines = [
            line for part, what in zip(self.parts, read, strict=True) for line in part.lines(what)
        ]
        return "\n".join(
            [
                *lines,
                f"{memory}; untiled {in_units(self.untiled)}",
                f"work: {self.work:.2f} times that of the untiled explanation",
            ]
        )


def in_units(size: int) -> str:
    """Bytes as a person reads them, such as `1.5 GiB`."""
    power = min(max(size.bit_length() - 1, 0) // 10, len(UNITS) - 1)
    return f"{size / 1024**power:.4g} {UNITS[power]}"


def times(sizes: Sequence[int]) -> str:
    """Sizes along several dimensions, such as `3 x 4`."""
    return " x ".join(map(str, sizes))
