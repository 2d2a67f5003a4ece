"""Class names: reading them, showing them, and finding the class that a user means."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from relprop.errors import RelpropError

CANDIDATES = 6
"""How many classes a sentence offers when a name fits several."""


class UnknownClassError(RelpropError, ValueError):
    """A user named a class that the model does not have, or that could be several."""


@dataclass(frozen=True)
class Classes:
    """What a model's outputs stand for.

    `names[i]` is the name of class `i`, which may hold synonyms separated by commas; `names` is
    empty where none are known.
    """

    names: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Classes:
        """The names in a text file, one line a class.

        Raises:
            UnknownClassError: the file cannot be read as text.
        """
        try:
            return cls(tuple(path.read_text(encoding="utf-8").splitlines()))
        except FileNotFoundError:
            raise UnknownClassError(f"{path}: there is no such file") from None
        except (OSError, UnicodeDecodeError):
            raise UnknownClassError(
                f"{path}: cannot be read as a text of class names, one a line"
            ) from None

    def label(self, number: int) -> str:
        """The first synonym of a class, or "class 7" where it has no name."""
        name = self.names[number].split(",")[0].strip() if number < len(self.names) else ""
        return name or f"class {number}"

    def find(self, wanted: str, count: int) -> int:
        """The class that `wanted` means, of a model with `count` outputs.

        `wanted` is a number, a synonym, or a part of one that fits one class only; case does not
        matter.

        Raises:
            UnknownClassError: no class, or more than one.
        """
        if wanted.lstrip("+-").isdigit():
            return _in_range(int(wanted), count)
        if not self.names:
            raise UnknownClassError(
                f"class names are not known for this model; give a number from 0 to {count - 1}"
            )
        matches = next(filter(None, (self._fitting(wanted, fits) for fits in FITS)), [])
        if not matches:
            raise UnknownClassError(
                f"there is no class {wanted!r} among the {len(self.names)} names of this model"
            )
        if len(matches) > 1:
            raise UnknownClassError(
                f"{wanted!r} could be {self._list(matches)}; give more of the name, or the number"
            )
        return _in_range(matches[0], count)

    def _fitting(self, wanted: str, fits: Callable[[str, str], bool]) -> list[int]:
        folded = wanted.strip().casefold()
        return [i for i, name in enumerate(self.names) if fits(folded, name.casefold())]

    def _list(self, matches: list[int]) -> str:
        shown = [f"{self.label(number)} ({number})" for number in matches[:CANDIDATES]]
        more = len(matches) - len(shown)
        return ", ".join(shown) + (f" or {more} more" if more else "")


def _synonyms(name: str) -> list[str]:
    return [synonym.strip() for synonym in name.split(",")]


def _holds_words(wanted: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", name) is not None


FITS: tuple[Callable[[str, str], bool], ...] = (
    lambda wanted, name: wanted in (name, *_synonyms(name)),
    _holds_words,
    lambda wanted, name: wanted in name,
)
"""How a name may be meant, the plainest way first; the next counts only where none fits so far."""


def _in_range(number: int, count: int) -> int:
    if not 0 <= number < count:
        raise UnknownClassError(
            f"there is no class {number}: the model has {count}, numbered 0 to {count - 1}"
        )
    return number
