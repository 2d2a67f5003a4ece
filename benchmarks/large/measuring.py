"""What an explanation takes, in a process of its own."""

from __future__ import annotations

import re
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cost import networks
from benchmarks.cost.fresh import Say
from benchmarks.cost.memory import peak, reset_peak, resident
from benchmarks.large.cases import Case
from benchmarks.large.explaining import WAYS, Made
from benchmarks.large.scene import Scene
from relprop import LRP
from relprop.attribution.attributor import corner_size
from relprop.large.meter import Watch

ROUNDS, ENOUGH = 5, 15.0
"""An explanation is made again until there are so many, or so many seconds have been spent."""
STEP = 5
"""Percent between two lines of progress."""
POINTS = 256
"""Along each side of an image, at which ways are compared."""
PLACE = re.compile(r" \([^()]+\.py:\d+\)")
"""Where in which file a node comes from, which is another on every machine."""


@dataclass
class Measured:
    """What one way took.

    Attributes:
        network, image, megapixels, way: what was explained, and how.
        seconds: of every round.
        rise: bytes at the peak over what was there when the model had explained a tiny scene, so
            with the image and the relevance, as far as they are in memory. how: it was found.
        planned: bytes, by the plan. work: multiplications, in those of the whole. plan: its text.
        deviation: of the relevance from that of the first way, the largest over the largest.
        failure: why there is nothing, if so.
    """

    network: str
    image: str
    megapixels: float
    way: str
    seconds: list[float] = field(default_factory=list)
    rise: int = 0
    how: str = ""
    planned: int | None = None
    work: float | None = None
    plan: str = ""
    deviation: float | None = None
    failure: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from others."""
        return self.network, self.image, self.way

    @property
    def rate(self) -> float:
        """Seconds a megapixel, median."""
        return statistics.median(self.seconds) / self.megapixels

    def as_dict(self) -> dict[str, Any]:
        """Its fields, as JSON has them."""
        return asdict(self)


def measure(
    case: Case, way: str, budget: int, folder: str, say: Say
) -> tuple[dict[str, Any], NDArray[Any]]:
    """What is measured, by the names of `Measured`, and relevance at some points.

    To be called in a fresh process.
    """
    method, explain, watch = LRP(networks.build(case.network)), WAYS[way], _progress(say)
    # Load libraries, start threads, capture the model, derive what is kept of its weights.
    explain(method, Scene(corner_size(512)), budget, Path(folder) / "tiny", lambda _: None)
    seconds: list[float] = []
    before, how = resident(), reset_peak()
    while True:
        begun = time.monotonic()
        made = explain(method, case.image, budget, Path(folder) / str(len(seconds)), watch)
        seconds.append(time.monotonic() - begun)
        if len(seconds) == ROUNDS or sum(seconds) >= ENOUGH:
            break
        del made
    found = {"seconds": seconds, "rise": peak(how) - before, "how": how}
    return found | _planned(made), points(made.relevance)


def points(relevance: Any) -> NDArray[Any]:
    """Relevance at so many points a side, or fewer, evenly apart."""
    step = max(1, max(relevance.shape[1:]) // POINTS)
    return np.array(relevance[:, ::step, ::step])


def _planned(made: Made) -> dict[str, Any]:
    plan = made.plan()
    if plan is None:
        return {}
    return {"planned": plan.peak, "work": plan.work, "plan": PLACE.sub("", str(plan))}


def _progress(say: Say) -> Watch:
    """Say a line every few percent, and again from the start if the share has fallen."""
    said = 0

    def watch(share: float) -> None:
        nonlocal said
        percent = STEP * int(100 * share / STEP)
        if percent != said:
            said = percent
            say(f"{percent} %")

    return watch
