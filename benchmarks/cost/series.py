"""What scaling measured, as lines to draw and to fit."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.cost.networks import Case
from benchmarks.cost.scaling import exponent

QUANTITIES = {"time": "seconds", "memory": "MiB at the peak"}
AXES = {"pixels": "megapixels of a picture", "batch": "pictures in a batch"}


@dataclass(frozen=True)
class Line:
    """One method on one network with so many threads.

    Attributes:
        quantity, axis: names in `QUANTITIES` and `AXES`.
        points: pairs of size and amount, by size.
    """

    network: str
    method: str
    threads: int
    quantity: str
    axis: str
    points: tuple[tuple[float, float], ...]

    @property
    def exponent(self) -> float | None:
        """None where there are fewer than two points."""
        x, y = [a for a, _ in self.points], [b for _, b in self.points]
        return exponent(x, y) if len(set(x)) > 1 else None


def lines(measured: list[dict[str, Any]]) -> list[Line]:
    """All lines of what `scaling.measure` returned, case by case."""
    found: dict[tuple[str, str, int, str, str], list[tuple[float, float]]] = {}
    side = min((Case(**one["timing"]["case"]).pixels for one in measured), default=0)
    for one in measured:
        case = Case(**one["timing"]["case"])
        places = [("pixels", case.pixels**2 / 1e6)] if case.batch == 1 else []
        places += [("batch", float(case.batch))] if case.pixels == side else []
        for axis, size in places:
            for method, quantity, amount in _amounts(one):
                key = (case.network, method, case.threads, quantity, axis)
                found.setdefault(key, []).append((size, amount))
    return [Line(*key, tuple(sorted(points))) for key, points in found.items()]


def _amounts(one: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Method, quantity and amount of what did not fail."""
    for entry in one["timing"]["entries"]:
        if entry["seconds"]:
            yield entry["name"], "time", statistics.median(entry["seconds"])
    for entry in one["memory"]:
        if not entry["failure"] and entry["rise"]:
            yield entry["name"], "memory", entry["rise"] / 2**20
