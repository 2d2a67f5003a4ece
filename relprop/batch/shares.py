"""Dividing a data set: shares that workers explain by themselves, each small to send.

Which items share a batch depends on the order of the items alone, where all have one shape: an item
that cannot be read, or was explained before, leaves its place empty. So it does not matter which
worker gets which share, nor how often.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from relprop.batch.items import Item, Shape
from relprop.batch.sources import Source

BATCHES = 8
"""How many batches of one shape a share holds at most: what a worker's end may cost again."""
SHARES = 4
"""How many shares a worker has to get at least, if there are as many batches, so that all end
at about the same time."""
ITEMS = 64
"""How many items a share holds where shapes differ, or are not known."""


class Divisible(Source, Protocol):
    """A data set that can be sent to workers in parts."""

    def part(self, items: list[Item]) -> Source:
        """The same, of these items alone; it is pickled, and read in another process."""
        ...


@dataclass(frozen=True)
class Share:
    """A part of a data set; items that were explained before have a shape in `explained`.

    `sizes` says how many of a shape go together, as far as that is settled.
    """

    source: Source
    explained: Mapping[int, Shape]
    sizes: Mapping[Shape, int]


def divide(
    source: Divisible, explained: Mapping[int, Shape], sizes: Mapping[Shape, int], workers: int
) -> Iterator[Share]:
    """The shares in which there is something to do, in the order of their items.

    Args:
        source: the data set; if all its items have one shape, that one must have a size.
        explained: the shapes of items that are done, by their index.
        sizes: how many of a shape go together.
        workers: how many will explain.
    """
    items = source.items
    length = ITEMS
    if source.shape is not None:
        size = sizes[source.shape]
        batches = -(-len(items) // size)
        length = size * min(BATCHES, max(1, batches // (SHARES * workers)))
    for start in range(0, len(items), length):
        members = list(items[start : start + length])
        done = {item.index: explained[item.index] for item in members if item.index in explained}
        if len(done) < len(members):
            yield Share(source.part(members), done, sizes)
