"""Each operator that has a kernel, against the rate of a copy, its limit, and its reference."""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.cost.limits import LIMITS
from benchmarks.cost.operators import Operator, bytes_moved
from benchmarks.gpu import convolutions, report
from benchmarks.gpu.clock import Clock, first_line
from benchmarks.gpu.exercise import cast, rows

ROUNDS = {"cuda": 15, "cpu": 2}
DTYPES = (torch.float32, torch.bfloat16)
BATCH = 32
"""Examples of every shape, so that no cache holds an operand."""
REFERENCE_ROUNDS = 3
"""Of the reference, which is slow."""


@dataclass
class Timing:
    """What came of one operator in one type.

    Attributes:
        operator: its row's name. dtype: of its tensors.
        megabytes: that it has to move.
        limit: the name of what it is held against. most: the goal in times of that, or None.
        seconds: by "relprop", "limit" and "reference", round by round.
        failures: of these, where something was raised.
    """

    operator: str
    dtype: str
    megabytes: float
    limit: str
    most: float | None
    seconds: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def rate(self) -> float | None:
        """Bytes a second, of those that have to be moved."""
        seconds = self.seconds.get("relprop")
        return 1e6 * self.megabytes / statistics.median(seconds) if seconds else None


def timings(device: torch.device, small: bool) -> Iterator[Timing]:
    """One after the other; `small` ones only show that it runs."""
    for row in (*rows(device.type), *convolutions.convolutions(device.type)):
        shape = row.small if small else (BATCH, *row.shape[1:])
        for dtype in DTYPES:
            with torch.device(device):
                yield time_one(replace(row, shape=shape), dtype, Clock(device))


def time_one(row: Operator, dtype: torch.dtype, clock: Clock) -> Timing:
    """One operator in one type, on the device that torch is set to."""
    order = torch.channels_last if row.limit.startswith("conv") else torch.contiguous_format
    arguments = tuple(cast(a, dtype, order) for a in row.arguments(row.shape))
    timing = Timing(str(row), str(dtype).removeprefix("torch."), 0.0, row.limit, row.most)
    count = ROUNDS[clock.device.type]
    try:
        results = row.call(arguments)
    except Exception as fault:  # of whatever type: it is the finding
        timing.failures["relprop"] = first_line(fault)
        return timing
    timing.megabytes = bytes_moved(arguments, results) / 1e6
    sets = copies(arguments, clock.cache)
    calls: dict[str, tuple[Callable[[], object], int]] = {
        "relprop": (rotating(row.call, sets), count),
        "reference": (rotating(row.reference, sets), min(count, REFERENCE_ROUNDS)),
    }
    try:
        limit = {**LIMITS, **convolutions.LIMITS}[row.limit]
        calls["limit"] = (torch.enable_grad()(limit(arguments, results)), count)
    except Exception as fault:
        timing.failures["limit"] = first_line(fault)
    del results
    for name, (call, times) in calls.items():
        try:
            call()
            timing.seconds[name] = clock.rounds(call, times)
        except Exception as fault:
            timing.failures[name] = first_line(fault)
    return timing


def copies(arguments: tuple[Any, ...], cache: int) -> list[tuple[Any, ...]]:
    """The arguments, so many times that twice the cache lies between two uses of one."""
    size = max(1, sum(a.nbytes for a in arguments if isinstance(a, torch.Tensor)))
    more = math.ceil(2 * cache / size)
    return [arguments] + [
        tuple(a.clone() if isinstance(a, torch.Tensor) else a for a in arguments)
        for _ in range(more if more > 1 else 0)
    ]


def rotating(call: Callable[[Any], object], sets: list[tuple[Any, ...]]) -> Callable[[], object]:
    """A call with one set of arguments after the other."""
    turn = iter(range(1_000_000_000))
    return lambda: call(sets[next(turn) % len(sets)])


def main() -> None:
    """Time them all, and write after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    device, found = torch.device(given.device), []
    for timing in timings(device, small=device.type == "cpu"):
        found.append(asdict(timing) | {"rate": timing.rate})
        report.save("operators", found, given.folder)
    wrong = [one for one in found if "relprop" in one["failures"]]
    failed = [f"{one['operator']} in {one['dtype']}" for one in wrong]
    if failed or not found:
        raise SystemExit(f"{len(failed)} of {len(found)} failed: {'; '.join(failed)}")
    print(f"{len(found)} timed")


if __name__ == "__main__":
    with torch.no_grad():
        main()
