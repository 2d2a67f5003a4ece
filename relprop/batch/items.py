"""What a data set consists of, and what becomes of each of its items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Item:
    """One example of a data set: its place, its name, and the class that is asked of it alone."""

    index: int
    name: str
    target: str | None = None


@dataclass(frozen=True)
class Row:
    """What became of one item; `error` is a sentence where it could not be explained, or empty.

    `score = sum + shortfall`, in units of the model's output. `score` is what was to be explained,
    `sum` adds the relevance of all inputs, and `shortfall` is what biases, stabilizers and rounding
    took of the score. `seconds` is the item's share of the time of its batch's attribution.
    """

    index: int
    item: str
    prediction: int | None = None
    target: int | None = None
    score: float | None = None
    sum: float | None = None
    shortfall: float | None = None
    seconds: float | None = None
    error: str = ""
    shape: Shape = ()

    @classmethod
    def failed(cls, item: Item, error: str) -> Row:
        """The row of an item that could not be explained."""
        return cls(item.index, item.name, error=error)


@dataclass(frozen=True)
class Loaded:
    """An item as it was read.

    `inputs` have shape (C, H, W). There are none if it could not be read, in which case `error`
    says why, or need not be, since the item was explained by an earlier run.
    """

    item: Item
    shape: Shape = ()
    inputs: Tensor | None = None
    error: str = ""


@dataclass(frozen=True)
class Batch:
    """Items of one shape, and their inputs, shape (N, C, H, W); `size` is how many there may be."""

    items: tuple[Item, ...]
    inputs: Tensor
    size: int


@dataclass(frozen=True)
class Explained:
    """A batch that was explained: the rows of all its items; `size` is the batch's.

    `relevance` is that of the items without an error, in their order, shape (K, C, H, W); or empty
    if it is `written` already.
    """

    rows: tuple[Row, ...]
    relevance: NDArray[Any]
    size: int = 0
    written: bool = False

    @classmethod
    def failed(cls, item: Item, error: str) -> Explained:
        """An item that could not be explained, by itself."""
        return cls((Row.failed(item, error),), np.empty(0))

    @property
    def done(self) -> list[Row]:
        """The rows that relevance belongs to."""
        return [row for row in self.rows if not row.error]
