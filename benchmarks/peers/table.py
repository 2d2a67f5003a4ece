"""Markdown tables of outcomes: a network a row, a package a column."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version

from benchmarks.peers.outcome import Outcome, deviation


class Footnotes:
    """Messages too long for a table, each with its number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def mark(self, text: str) -> str:
        return f"[^{self.numbers.setdefault(text, len(self.numbers) + 1)}]"

    def lines(self) -> list[str]:
        return [f"[^{number}]: `{text}`" for text, number in self.numbers.items()]


def amount(error: float) -> str:
    """Per cent where that is a number to read, else the error itself, to one digit."""
    if error == 0:
        return "0"
    if error < 0.001 or error >= 1000:
        return f"{error:.0e}"
    return f"{100 * error:,.0f} %" if error >= 0.1 else f"{100 * error:.1f} %"


def cell(one: Outcome, ours: Outcome | None, tolerance: float, notes: Footnotes) -> str:
    """What the table says of a package on a network; `ours` is what to compare with, if any."""
    if one.absence:
        return one.absence
    if one.shares is None:
        return f"**{one.failure.split(':')[0]}** {notes.mark(one.failure)}"
    said = amount(one.error) if one.error <= tolerance else f"**{amount(one.error)}**"
    if ours is None or ours.shares is None:
        return said
    return f"{said} ({amount(deviation(one.shares, ours.shares))})"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def versions(packages: Iterable[str]) -> str:
    """Of Python, torch, and all packages that take part, in words."""
    found = [f"Python {platform.python_version()}"]
    for name in dict.fromkeys(["torch", *packages]):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return f"{', '.join(found[:-1])} and {found[-1]}"
