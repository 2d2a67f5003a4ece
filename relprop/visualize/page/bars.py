"""The books of an explanation as bars, each a few rectangles on one axis for all nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PARTS = ("passed", "bias", "stabilizer", "dropped")


@dataclass(frozen=True)
class Bar:
    """A part of what a node received: where it starts and how long it is, in % of the axis."""

    part: str
    start: float
    length: float


def bars(nodes: Sequence[Mapping[str, Any]]) -> tuple[list[list[Bar]], float]:
    """For every node its parts, those above zero stacked rightwards and those below it leftwards.

    And where zero is on the axis, in %.
    """
    below = min((_sum(node, -1) for node in nodes), default=0.0)
    above = max((_sum(node, 1) for node in nodes), default=0.0)
    unit = 100 / ((above - below) or 1.0)
    return [_stack(node, -below, unit) for node in nodes], -below * unit


def _sum(node: Mapping[str, Any], sign: int) -> float:
    return sign * sum(max(0.0, sign * float(node[part])) for part in PARTS)


def _stack(node: Mapping[str, Any], zero: float, unit: float) -> list[Bar]:
    left = right = zero
    stacked = []
    for part in PARTS:
        amount = float(node[part])
        start = right if amount >= 0 else left + amount
        if amount:
            stacked.append(Bar(part, start * unit, abs(amount) * unit))
        right += max(amount, 0.0)
        left += min(amount, 0.0)
    return stacked
