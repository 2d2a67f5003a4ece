"""How throughput should grow with machines: a computation from what was measured on one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

MACHINES = (1, 2, 10, 30, 100, 300, 1000)


@dataclass(frozen=True)
class Costs:
    """What a picture costs, in seconds and in bytes.

    Attributes:
        work: what was measured.
        machine: seconds of a machine like this one, t.
        driver_writes: seconds of the command's process, for all it does about a picture that a
            worker gives back, d; `workers_write`: the same where workers write the relevance.
        read, written: bytes.
    """

    work: str
    machine: float
    driver_writes: float
    workers_write: float
    read: float
    written: float

    def as_dict(self) -> dict[str, Any]:
        """Its fields, as JSON has them."""
        return asdict(self)


def rate(machines: int, machine: float, driver: float) -> float:
    """Pictures a second, `min(W / t, 1 / d)`: the machines' or the driver's, whichever is less."""
    return min(machines / machine, 1 / driver)


def table(costs: Costs) -> list[str]:
    """Lines of Markdown: the formula, the measured parts, and what comes of them."""
    return [
        "W machines like this one explain `min(W / t, 1 / d)` pictures a second: t is what a "
        "picture takes a machine, and d what it takes the one process that records it, which uses "
        f"one core. Measured here ({costs.work}): t = {1000 * costs.machine:.1f} ms; d = "
        f"{1000 * costs.driver_writes:.2f} ms where the driver writes relevance, "
        f"{1000 * costs.workers_write:.3f} ms where workers do (`--workers-write`); "
        f"{costs.read / 1e3:.0f} kB read and {costs.written / 1e3:.0f} kB written. Storage and "
        "network are taken to keep up: the last column says with what.",
        "",
        "| machines | machines alone, pictures/s | driver writes | workers write | storage, MB/s |",
        "|--:|--:|--:|--:|--:|",
        *_lines(costs),
        "",
        f"So the driver is the limit from {_limit(costs.machine, costs.driver_writes)} machines on "
        f"where it writes, and from {_limit(costs.machine, costs.workers_write)} where it does "
        "not. A machine that is k times as fast counts as k.",
    ]


def _lines(costs: Costs) -> Iterator[str]:
    for machines in MACHINES:
        free = machines / costs.machine
        writes = rate(machines, costs.machine, costs.driver_writes)
        spared = rate(machines, costs.machine, costs.workers_write)
        storage = spared * (costs.read + costs.written) / 1e6
        cells = [f"{value:,.0f}" for value in (machines, free, writes, spared, storage)]
        yield f"| {' | '.join(cells)} |"


def _limit(machine: float, driver: float) -> str:
    return f"{max(1.0, machine / driver):,.0f}"
