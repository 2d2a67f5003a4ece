"""What a page says: plain data, which the templates put into words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Answer:
    """A class as the model sees it: its name, its number, and its probability, 0 to 1."""

    name: str
    number: int
    probability: float


@dataclass(frozen=True)
class Chapter:
    """What the page says of one method.

    Attributes:
        title: the method, such as a heading has it.
        settings: what was chosen, by the name of the option.
        sums: the sum that the relevance is a part of: words, and an amount in units of the model's
            output, line by line.
        relevance: of the picture's pixels, shape (C, H, W).
        layers: relevance at inner layers by their names, each of shape (C, h, w).
        books: what `Report.as_dict` gives; None for methods that keep no books.
    """

    title: str
    settings: Mapping[str, str]
    sums: Sequence[tuple[str, float]]
    relevance: Tensor
    layers: Mapping[str, Tensor] = field(default_factory=dict)
    books: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Page:
    """One explained picture.

    Attributes:
        name: the picture's name.
        model: what the user calls the model.
        picture: what the model saw, shape (H, W, 3), as large as the relevance.
        answers: the likeliest classes, the likeliest first.
        target: the class that is explained.
        score: the model's output for it.
        chapters: one for each method.
        versions: what made the page, and in which version.
    """

    name: str
    model: str
    picture: NDArray[np.uint8]
    answers: Sequence[Answer]
    target: Answer
    score: float
    chapters: Sequence[Chapter]
    versions: Mapping[str, str]
