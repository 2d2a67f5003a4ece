"""What was decided about an explanation by tiles, to be read by a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relprop.graph.intervals import Box, lengths

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True)
class Tiling:
    """How an explanation is taken apart; `print` it.

    Attributes:
        budget: bytes that were allowed, beside the model, what is derived of its weights, and the
            inputs.
        untiled: bytes that the explanation takes as a whole.
        peak: bytes that it takes as it is made.
        layer: the node whose output the graph is cut at, and where it is; `""` without a cut.
        space: the size of that output.
        boxes: its tiles: for each dimension of space where one starts, and where it stops.
        reads: how many pixels of the images a tile in the middle reads in each dimension.
        halo: how many of them, on each side, other tiles read as well.
        work: how many times the multiplications of the untiled explanation are made, about.
    """

    budget: int
    untiled: int
    peak: int
    layer: str = ""
    space: tuple[int, ...] = ()
    boxes: tuple[Box, ...] = ()
    reads: tuple[int, ...] = ()
    halo: tuple[int, ...] = ()
    work: float = 1.0

    def __str__(self) -> str:
        memory = f"memory: {in_units(self.peak)} of {in_units(self.budget)}"
        if not self.boxes:
            return f"no tiles: all of it fits\n{memory}"
        return (
            f"cut after {self.layer}, which gives {times(self.space)}\n"
            f"tiles: {len(self.boxes)} of {times(lengths(self.boxes[0]))}, each made from up to "
            f"{times(self.reads)} pixels, with {times(self.halo)} on each side of its own\n"
            f"{memory}; untiled {in_units(self.untiled)}\n"
            f"work: {self.work:.2f} times that of the untiled explanation"
        )


def in_units(size: int) -> str:
    """Bytes as a person reads them, such as `1.5 GiB`."""
    power = min(max(size.bit_length() - 1, 0) // 10, len(UNITS) - 1)
    return f"{size / 1024**power:.4g} {UNITS[power]}"


def times(sizes: Sequence[int]) -> str:
    """Sizes along several dimensions, such as `3 x 4`."""
    return " x ".join(map(str, sizes))
