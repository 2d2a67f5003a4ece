"""How throughput should grow with machines: a computation from what was measured on one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

MACHINES = (1, 2, 4, 10, 100, 1000)
CORES = 16
"""Of each machine that is reckoned with."""


@dataclass(frozen=True)
class Costs:
    """What a picture costs, in seconds of processor time and in bytes.

    Attributes:
        work: what was measured.
        core: seconds of a worker's core, t.
        driver_writes: seconds of the command's process, for all it does about a picture that a
            worker gives back, d; `workers_write`: the same where workers write the relevance.
        read, written: bytes.
    """

    work: str
    core: float
    driver_writes: float
    workers_write: float
    read: float
    written: float

    def as_dict(self) -> dict[str, Any]:
        """Its fields, as JSON has them."""
        return asdict(self)


def rate(cores: int, core: float, driver: float) -> float:
    """Pictures a second, `min(C / t, 1 / d)`: the cores' or the driver's, whichever is less."""
    return min(cores / core, 1 / driver)


def table(costs: Costs) -> list[str]:
    """Lines of Markdown: the formula, the measured parts, and what comes of them."""
    return [
        "C cores like these explain `min(C / t, 1 / d)` pictures a second: t is what a picture "
        "takes a core, and d what it takes the one process that records it, which is taken to "
        f"have one core's worth. Measured here, in processor time ({costs.work}): t = "
        f"{1000 * costs.core:.0f} ms; d = {1000 * costs.driver_writes:.1f} ms where the driver "
        f"writes relevance, {1000 * costs.workers_write:.1f} ms where workers do "
        f"(`--workers-write`); {costs.read / 1e3:.0f} kB read and {costs.written / 1e3:.0f} kB "
        "written. Storage and network are taken to keep up.",
        "",
        f"| machines of {CORES} cores | cores alone, pictures/s | driver writes | workers write "
        "| storage for all cores, MB/s |",
        "|--:|--:|--:|--:|--:|",
        *_lines(costs),
        "",
        f"So one driver keeps up with {costs.core / costs.driver_writes:,.0f} cores where it "
        f"writes, and with {costs.core / costs.workers_write:,.0f} where it does not. More of them "
        "take several commands, each with a part of the data set and an output of its own.",
    ]


def _lines(costs: Costs) -> Iterator[str]:
    for machines in MACHINES:
        cores = machines * CORES
        free = cores / costs.core
        writes = rate(cores, costs.core, costs.driver_writes)
        spared = rate(cores, costs.core, costs.workers_write)
        storage = free * (costs.read + costs.written) / 1e6
        cells = [f"{value:,.0f}" for value in (machines, free, writes, spared, storage)]
        yield f"| {' | '.join(cells)} |"
