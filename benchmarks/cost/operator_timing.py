"""Each operator against its reference, that reference compiled, and its limit, taking turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from benchmarks.cost.fresh import Say
from benchmarks.cost.kernel_loop import KernelLoop, time_alone
from benchmarks.cost.limits import LIMITS
from benchmarks.cost.operators import OPERATORS, Operator, Shape, bytes_moved
from relprop.cli.loading import first_line
from relprop.ops.backends import backends

SAMPLE = 0.02
"""Seconds that a sample takes at least: short calls are repeated."""
ROUNDS = 9
LIMIT = "limit"


@dataclass
class OperatorTiming:
    """What came of one operator.

    Attributes:
        operator: its row's name.
        serves: "native" or "reference": what the dispatcher found.
        limit: the name of what it is held against.
        most: the goal in times of that.
        megabytes: that have to be moved.
        seconds: by "relprop", "reference", "compiled" and "limit", round by round.
        failures: of these, where something was raised.
        alone: its kernel in a loop in C++; None where plain torch serves.
    """

    operator: str
    serves: str
    limit: str
    most: float | None
    megabytes: float
    seconds: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    alone: KernelLoop | None = None

    def times_of_limit(self, who: str) -> float:
        """The median over rounds of what it took over what the limit took."""
        pairs = zip(self.seconds[who], self.seconds[LIMIT], strict=True)
        return statistics.median(a / b for a, b in pairs)

    def bandwidth(self, who: str) -> float:
        """Gigabytes a second of what has to be moved."""
        return self.megabytes / 1e3 / statistics.median(self.seconds[who])


def time_operators(chosen: Sequence[str], rounds: int, say: Say) -> list[dict[str, Any]]:
    """Every operator, or those of these names; to be called in a fresh process."""
    rows = [row for row in OPERATORS if not chosen or row.name in chosen]
    return [asdict(timing) for timing in measured(rows, rounds or ROUNDS, say)]


def measured(rows: Sequence[Operator], rounds: int, say: Say) -> Iterator[OperatorTiming]:
    """One row after the other."""
    for operator in rows:
        say(f"timing {operator}")
        with torch.no_grad():
            yield time_operator(operator, operator.shape, rounds)


def time_operator(operator: Operator, shape: Shape, rounds: int) -> OperatorTiming:
    """One row, for arguments of this shape."""
    arguments = operator.arguments(shape)
    results = operator.call(arguments)
    found = OperatorTiming(
        str(operator),
        backends().serving(operator.name, "cpu").serves,
        operator.limit,
        operator.most,
        bytes_moved(arguments, results) / 1e6,
    )
    limit = LIMITS[operator.limit](arguments, results)
    torch.compiler.reset()  # else, after some recompilations, it would run uncompiled
    compiled = torch.compile(operator.plain, dynamic=False)
    calls: dict[str, Callable[[], Any]] = {
        LIMIT: torch.enable_grad()(limit),
        "relprop": lambda: operator.call(arguments),
        "reference": lambda: operator.reference(arguments),
        "compiled": lambda: compiled(*arguments),
    }
    repeats = {}
    for name, call in calls.items():
        try:
            call()
            repeats[name] = max(1, round(SAMPLE / max(_seconds(call, 1), 1e-7)))
            found.seconds[name] = []
        except Exception as fault:  # compiling can fail in many ways
            found.failures[name] = first_line(fault)
    for _ in range(rounds):
        for name, times in repeats.items():
            found.seconds[name].append(_seconds(calls[name], times))
    found.alone = time_alone(operator, arguments, rounds)
    return found


def restored(one: dict[str, Any]) -> OperatorTiming:
    """What `dataclasses.asdict` made a dictionary of, also after JSON."""
    alone = one.get("alone")
    return OperatorTiming(**{**one, "alone": KernelLoop(**alone) if alone else None})


def _seconds(call: Callable[[], Any], times: int) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begin) / times
