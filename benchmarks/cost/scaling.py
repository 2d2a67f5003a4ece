"""How cost grows with the size of a picture, with the batch, and with threads."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.cost import memory
from benchmarks.cost.forecast import NOT_RUN, Forecast
from benchmarks.cost.fresh import Ended, Say, available_memory, in_fresh_process
from benchmarks.cost.memory import Memory
from benchmarks.cost.networks import Case
from benchmarks.cost.rounds import GRADIENT, Budget
from benchmarks.cost.timing import Timing, time_ours

SAFE = 0.85
"""The share of the memory at hand that something may be expected to take."""
MOST_MEMORY = 16 * 2**30
"""Bytes that it may be expected to take in any case."""
MEMORY_THREADS = 2
"""Threads with which memory is measured, which hardly depends on them."""


@dataclass(frozen=True)
class Sizes:
    """Inputs of one network.

    Attributes:
        pixels: sides of single pictures. batches: of pictures with the first of these sides.
        threads: of torch.
    """

    network: str
    pixels: tuple[int, ...]
    batches: tuple[int, ...] = ()
    threads: int = MEMORY_THREADS

    def cases(self) -> Iterator[Case]:
        """Small ones first, for they say what larger ones will take."""
        for pixels in self.pixels:
            yield Case(self.network, 1, pixels, self.threads)
        for batch in self.batches:
            yield Case(self.network, batch, self.pixels[0], self.threads)


@dataclass(frozen=True)
class Scale:
    """What is measured.

    Attributes:
        sizes: of inputs. methods: by their names.
        seconds: that a case may be expected to take; else it is left out.
        rounds: of timing at most; one where a gradient takes seconds.
    """

    sizes: tuple[Sizes, ...]
    methods: tuple[str, ...]
    seconds: float
    rounds: int = 3

    def cases(self) -> Iterator[Case]:
        """In the order in which they are measured."""
        return (case for sizes in self.sizes for case in sizes.cases())

    @property
    def networks(self) -> tuple[str, ...]:
        """Each once."""
        return tuple(dict.fromkeys(sizes.network for sizes in self.sizes))


METHODS = ("LRP epsilon", "LRP epsilon_plus_flat", "DeepLIFT RevealCancel")
LITE0, VGG16 = "EfficientNet-Lite0", "VGG16"
QUICK = Scale(
    (Sizes(LITE0, (224, 448, 896), (4,)), Sizes(LITE0, (224, 448), threads=1)),
    METHODS,
    seconds=60,
)
# From 0.05 to 7.9 megapixels.
FULL = Scale(
    (
        Sizes(LITE0, (224, 512, 1184, 2816), (4, 32)),
        Sizes(LITE0, (224, 512, 1184), (4,), threads=1),
        Sizes(VGG16, (224, 448, 896, 1792, 2816), (8, 32)),
        Sizes(VGG16, (224, 448), threads=1),
    ),
    METHODS,
    seconds=160,
)


@dataclass
class Outlook:
    """What is to be expected of a case, by smaller ones."""

    memory: Forecast = field(default_factory=Forecast)
    time: Forecast = field(default_factory=Forecast)

    def learn(self, measured: dict[str, Any]) -> None:
        """Take note of a case."""
        case = Case(**measured["timing"]["case"])
        for one in measured["memory"]:
            if not one["failure"]:
                self.memory.learn(_for_memory(case), one["name"], one["rise"])
        for entry in measured["timing"]["entries"]:
            if entry["seconds"]:
                self.time.learn(case, entry["name"], statistics.median(entry["seconds"]))

    def obstacle(self, case: Case, name: str, available: int) -> str:
        """Why memory forbids to try a method; empty if it does not."""
        expected = self.memory.of(_for_memory(case), name)
        if not available or expected <= min(SAFE * available, MOST_MEMORY):
            return ""
        return (
            f"{NOT_RUN}it was forecast to take {expected / 2**30:.1f} GiB, where "
            f"{available / 2**30:.1f} GiB are available and {MOST_MEMORY / 2**30:.0f} allowed"
        )

    def too_long(self, case: Case, names: Sequence[str], seconds: float) -> str:
        """Why time forbids to try the case; empty if it does not."""
        calls = 3 if case.threads == MEMORY_THREADS else 2  # for memory, to warm up, and a round
        expected = calls * sum(self.time.of(case, name) for name in names)
        if expected <= seconds:
            return ""
        return (
            f"{NOT_RUN}its explanations were forecast to take {expected:.0f} s, where "
            f"{seconds:.0f} s are allowed"
        )


def _for_memory(case: Case) -> Case:
    return replace(case, threads=MEMORY_THREADS)


def measure(case: Case, scale: Scale, outlook: Outlook, say: Say) -> dict[str, Any]:
    """Peak memory and time of one case, without peers; what would not fit is left out."""
    everyone = (GRADIENT, *scale.methods)
    available = available_memory()
    obstacles = {name: outlook.obstacle(case, name, available) for name in everyone}
    fitting = [name for name in everyone if not obstacles[name]]
    whole = obstacles[GRADIENT] or outlook.too_long(case, fitting, scale.seconds)
    if whole:
        return _left_out(case, {name: obstacles[name] or whole for name in everyone})
    found = []
    if case.threads == MEMORY_THREADS:
        found = list(memory.measure(case, fitting[1:], None, say))
        fitting = [one.name for one in found if not one.failure]
    found += [
        Memory(case.as_dict(), name, name, failure=why) for name, why in obstacles.items() if why
    ]
    measured = {
        "timing": timed(case, [name for name in fitting if name != GRADIENT], scale, say),
        "memory": [one.as_dict() for one in found],
    }
    outlook.learn(measured)
    return measured


def timed(case: Case, names: Sequence[str], scale: Scale, say: Say) -> dict[str, Any]:
    """Time without peers and floors, in a fresh process."""
    budget = Budget(scale.seconds, scale.rounds)
    try:
        found: dict[str, Any] = in_fresh_process(time_ours, case, tuple(names), budget, say=say)
    except Ended as ended:
        return Timing(case.as_dict(), failure=str(ended)).as_dict()
    return found


def _left_out(case: Case, obstacles: dict[str, str]) -> dict[str, Any]:
    return {
        "timing": Timing(case.as_dict(), failure=obstacles[GRADIENT]).as_dict(),
        "memory": [
            Memory(case.as_dict(), name, name, failure=why).as_dict()
            for name, why in obstacles.items()
        ],
    }


def restricted(scale: Scale, networks: Sequence[str], pixels: Sequence[int]) -> Scale:
    """The scale, with these networks and sides in place of its own, where there are any."""
    sizes = scale.sizes
    if networks:
        found = [[s for s in sizes if s.network == network] for network in networks]
        first = replace(sizes[0], threads=MEMORY_THREADS)
        sizes = tuple(
            one
            for network, own in zip(networks, found, strict=True)
            for one in own or [replace(first, network=network)]
        )
    if pixels:
        sizes = tuple(replace(one, pixels=tuple(pixels)) for one in sizes)
    return replace(scale, sizes=sizes)


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
