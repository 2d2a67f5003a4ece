"""How cost grows with the size of a picture, with the batch, and with threads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.cost import memory
from benchmarks.cost.fresh import Ended, Say, available_memory, in_fresh_process
from benchmarks.cost.memory import Memory
from benchmarks.cost.networks import Case
from benchmarks.cost.timing import GRADIENT, Timing, time_case

SAFE = 0.85
"""The share of the memory at hand that something may be expected to take."""


@dataclass(frozen=True)
class Scale:
    """What is measured.

    Attributes:
        networks, methods: by their names.
        pixels: sides of single pictures. batches: of pictures with the first of these sides.
        threads: each with all of the above.
        rounds: of timing.
    """

    networks: tuple[str, ...]
    methods: tuple[str, ...]
    pixels: tuple[int, ...]
    batches: tuple[int, ...]
    threads: tuple[int, ...]
    rounds: int = 3

    def cases(self) -> Iterator[Case]:
        """Small ones first, for they say what larger ones will take."""
        side = self.pixels[0]
        sizes = [(1, pixels) for pixels in self.pixels]
        sizes += [(batch, side) for batch in self.batches if batch > 1]
        for network in self.networks:
            for threads in self.threads:
                for batch, pixels in sizes:
                    yield Case(network, batch, pixels, threads)


METHODS = ("LRP epsilon", "LRP epsilon_plus_flat", "DeepLIFT RevealCancel")
QUICK = Scale(("EfficientNet-Lite0",), METHODS, (224, 448), (2,), (1, 2))
# From 0.05 to 7.9 megapixels.
FULL = Scale(
    ("VGG16", "EfficientNet-Lite0"),
    METHODS,
    (224, 448, 896, 1792, 2816),
    (2, 4, 8, 16, 32),
    (1, 2),
)


@dataclass
class Forecast:
    """What explanations will take at their peak, by what smaller ones took for each megapixel."""

    rates: dict[tuple[str, str], float] = field(default_factory=dict)

    def learn(self, case: Case, found: Memory) -> None:
        """Take note of a measurement."""
        if not found.failure:
            self.rates[case.network, found.name] = found.rise / case.megapixels

    def obstacle(self, case: Case, name: str, available: int) -> str:
        """Why the case is better not tried; empty if it may be."""
        expected = self.rates.get((case.network, name), 0.0) * case.megapixels
        if not available or expected <= SAFE * available:
            return ""
        return (
            f"left out: it would take about {expected / 2**30:.1f} GiB, "
            f"and {available / 2**30:.1f} GiB are available"
        )


def measure(case: Case, scale: Scale, forecast: Forecast, say: Say) -> dict[str, Any]:
    """Peak memory and time of one case, without peers; what would not fit is left out."""
    obstacles = {
        name: forecast.obstacle(case, name, available_memory())
        for name in (GRADIENT, *scale.methods)
    }
    if obstacles[GRADIENT]:
        return _left_out(case, obstacles)
    names = [name for name in scale.methods if not obstacles[name]]
    found = []
    for one in memory.measure(case, names, False, say):
        forecast.learn(case, one)
        found.append(one)
    found += [
        Memory(case.as_dict(), name, name, failure=why) for name, why in obstacles.items() if why
    ]
    fitting = [one.name for one in found if not one.failure and one.name != GRADIENT]
    return {
        "timing": timed(case, fitting, scale.rounds, say),
        "memory": [one.as_dict() for one in found],
    }


def timed(case: Case, names: Sequence[str], rounds: int, say: Say) -> dict[str, Any]:
    """Time without peers, in a fresh process."""
    try:
        found: dict[str, Any] = in_fresh_process(
            time_case, case, tuple(names), 0.0, rounds, False, say=say
        )
    except Ended as ended:
        return Timing(case.as_dict(), failure=str(ended)).as_dict()
    return found


def _left_out(case: Case, obstacles: dict[str, str]) -> dict[str, Any]:
    why = obstacles[GRADIENT]
    return {
        "timing": Timing(case.as_dict(), failure=why).as_dict(),
        "memory": [
            Memory(case.as_dict(), name, name, failure=obstacles[name] or why).as_dict()
            for name in obstacles
        ],
    }


def restricted(scale: Scale, networks: Sequence[str], pixels: Sequence[int]) -> Scale:
    """The scale, with these networks and sides in place of its own, where there are any."""
    return replace(
        scale,
        networks=tuple(networks) or scale.networks,
        pixels=tuple(pixels) or scale.pixels,
    )


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """The p for which y is most nearly a multiple of x to the p: the slope of a line through logs.

    Raises:
        ValueError: there are fewer than two different x, or something is not positive.
    """
    if len(set(x)) < 2 or min(*x, *y) <= 0:
        raise ValueError(
            f"an exponent takes two different sizes or more, all values positive; got {x} and {y}"
        )
    u, v = [math.log(a) for a in x], [math.log(a) for a in y]
    mean_u, mean_v = sum(u) / len(u), sum(v) / len(v)
    rise = sum((a - mean_u) * (b - mean_v) for a, b in zip(u, v, strict=True))
    return rise / sum((a - mean_u) ** 2 for a in u)
