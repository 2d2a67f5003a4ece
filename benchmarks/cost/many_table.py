"""Many targets and many baselines, as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.cost.many import Task
from benchmarks.cost.rounds import GRADIENT
from benchmarks.cost.tables import (
    NONE,
    Footnotes,
    failed_cell,
    fastest_cell,
    judged,
    peer_cell,
    spelled,
    table,
)
from benchmarks.cost.timing import ratio


def many_table(measured: Iterable[dict[str, Any]], notes: Footnotes) -> list[str]:
    """A row for each task."""
    header = (
        *("task", "G", "goal", "sweeps forward", "times as fast as the fastest peer"),
        *("peers, G", "their sweeps", "MiB at the peak", "memory_budget, MiB"),
    )
    return table(header, [_row(one, notes) for one in measured])


def _row(one: dict[str, Any], notes: Footnotes) -> list[str]:
    task = Task(**one["task"])
    entries = {entry["name"]: entry for entry in one["entries"]}
    ours = entries.get(task.method, {"name": task.method, "failure": one["failure"]})
    if ours["failure"]:
        return [str(task), failed_cell(ours, notes), f"<= {task.goal:.2f}", *[NONE] * 6]
    unit = entries[GRADIENT]["seconds"]
    times = ratio(ours["seconds"], unit)
    peers = [e for e in one["entries"] if e["name"] not in (GRADIENT, task.method)]
    sweeps = one["swept"]
    counted = [f"{e['name']} {sweeps[e['name']]}" for e in peers if e["name"] in sweeps]
    return [
        str(task),
        judged(spelled(times), times.median <= task.goal),
        f"<= {task.goal:.2f}",
        judged(str(sweeps[task.method]), sweeps[task.method] <= task.least),
        fastest_cell(ours, peers),
        ", ".join(peer_cell(e, unit, notes) for e in peers) or NONE,
        ", ".join(counted) or NONE,
        *_memory(one["peak"], task.budget),
    ]


def _memory(peak: int, budget: int) -> list[str]:
    if not peak:
        return [NONE] * 2
    return [judged(f"{peak / 2**20:.0f}", peak <= budget), f"{budget / 2**20:.0f}"]
