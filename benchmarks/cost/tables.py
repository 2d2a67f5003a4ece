"""What was measured, as Markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.cost.forecast import NOT_RUN
from benchmarks.cost.methods import AGAINST_PEERS, BY_NAME
from benchmarks.cost.networks import Case
from benchmarks.cost.operator_timing import LIMIT, OperatorTiming, restored
from benchmarks.cost.rounds import GRADIENT
from benchmarks.cost.series import AXES, QUANTITIES, Line
from benchmarks.cost.timing import Ratio, ratio

WRONG = 0.1
"""A peer whose result is further from ours than this computes something else."""
NONE = "-"


class Footnotes:
    """Messages too long for a table, each with its number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def mark(self, text: str) -> str:
        """Where it is referred to."""
        return f"[^{self.numbers.setdefault(text, len(self.numbers) + 1)}]"

    def lines(self) -> list[str]:
        """All of them, each once."""
        return [f"[^{number}]: {text}" for text, number in self.numbers.items()]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Names to the left, figures to the right."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "--:|" * (len(header) - 1)]
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return [*lines, *("| " + " | ".join(row) + " |" for row in escaped)]


def judged(text: str, holds: bool) -> str:
    """Bold where a goal is met."""
    return f"**{text}**" if holds else text


def methods_table(timing: dict[str, Any], notes: Footnotes) -> list[str]:
    """A row for each of our methods in one case."""
    title = [f"### {Case(**timing['case'])}", ""]
    if timing["failure"]:
        return [*title, f"Nothing was measured: {timing['failure']}", ""]
    entries = {entry["name"]: entry for entry in timing["entries"]}
    unit = entries[GRADIENT]["seconds"]
    seconds = statistics.median(unit)
    lengths = _lengths(timing["entries"])
    said = f"1 G is {1000 * seconds:,.0f} ms; median and quartiles of {lengths}."
    rows = [
        _method_row(entry, timing, unit, seconds, notes)
        for entry in timing["entries"]
        if entry["name"] in BY_NAME
    ]
    header = ("method", "G", "goal", "floor, G", "times as fast as the fastest peer", "peers, G")
    return [*title, said, "", *table(header, rows), ""]


def _method_row(
    entry: dict[str, Any],
    timing: dict[str, Any],
    unit: list[float],
    seconds: float,
    notes: Footnotes,
) -> list[str]:
    name = entry["name"]
    floor = f"{timing['floors'][name] / seconds:.2f}"
    goal = BY_NAME[name].goal.time
    peers = [peer for peer in timing["entries"] if peer["computes"] == name and peer is not entry]
    told = ", ".join(peer_cell(peer, unit, notes) for peer in peers) or NONE
    if entry["failure"]:
        return [name, failed_cell(entry, notes), f"<= {goal:.1f}", floor, NONE, told]
    ours = ratio(entry["seconds"], unit)
    return [
        name,
        judged(spelled(ours), ours.median <= goal),
        f"<= {goal:.1f}",
        floor,
        fastest_cell(entry, peers),
        told,
    ]


def fastest_cell(entry: dict[str, Any], peers: list[dict[str, Any]]) -> str:
    """How many times what ours takes the fastest peer does; a wrong one is out of the race."""
    rivals = [peer for peer in peers if not peer["failure"] and is_right(peer)]
    if not rivals:
        return NONE
    fastest = min(rivals, key=lambda peer: statistics.median(peer["seconds"]))
    times = ratio(fastest["seconds"], entry["seconds"]).median
    return judged(f"{times:.1f}", times >= AGAINST_PEERS.time)


def peer_cell(peer: dict[str, Any], unit: list[float], notes: Footnotes) -> str:
    """What a peer took, or why there is nothing to say."""
    if peer["failure"]:
        return f"{peer['name']} {failed_cell(peer, notes)}"
    said = f"{peer['name']} {spelled(ratio(peer['seconds'], unit))}"
    if is_right(peer):
        return said
    off = f"its result is off ours by {peer['deviation']:.1g} of the largest value"
    return said + " " + notes.mark(f"{peer['name']}: {off}, so it is out of the race.")


def is_right(peer: dict[str, Any]) -> bool:
    """Whether a peer's result is ours; where ours failed, nobody can tell."""
    return peer["deviation"] is None or peer["deviation"] <= WRONG


def rounds(count: int) -> str:
    """So many."""
    return f"{count} round{'s'[: count != 1]}"


def _lengths(entries: list[dict[str, Any]]) -> str:
    """How many rounds there were, and in how many of them peers took part."""
    unit, peers = entries[0], [e for e in entries if e["name"] != e["computes"] and e["seconds"]]
    said = rounds(len(unit["seconds"]))
    least = min((len(peer["seconds"]) for peer in peers), default=len(unit["seconds"]))
    return said if least == len(unit["seconds"]) else f"{said}, of which {least} with peers"


def failed_cell(entry: dict[str, Any], notes: Footnotes) -> str:
    """That it failed or was not run; a footnote says why."""
    failure = entry["failure"]
    if failure.startswith(NOT_RUN):
        return "not run " + notes.mark(f"{entry['name']}: {failure}.")
    return "failed " + notes.mark(f"{entry['name']}: `{failure}`")


def spelled(one: Ratio) -> str:
    """Median and quartiles."""
    return f"{one.median:.2f} [{one.low:.2f}, {one.high:.2f}]"


def memory_table(found: list[dict[str, Any]], notes: Footnotes) -> list[str]:
    """A row for each of our methods in one case."""
    case, unit = Case(**found[0]["case"]), found[0]
    title = [f"### {case}", ""]
    if unit["failure"]:
        return [*title, f"The gradient failed: {unit['failure']}", ""]
    per_megapixel = unit["rise"] / 2**20 / case.megapixels
    said = (
        f"The gradient takes {unit['rise'] / 2**20:,.0f} MiB at its peak, "
        f"{per_megapixel:,.0f} a megapixel."
    )
    header = (
        *("method", "times the gradient's", "goal", "MiB", "MiB held between explanations"),
        *("share of the leanest peer's", "peers, times the gradient's"),
    )
    rows = [_memory_row(one, unit, found, notes) for one in found if one["name"] in BY_NAME]
    return [*title, said, "", *table(header, rows), ""]


def _memory_row(
    one: dict[str, Any], unit: dict[str, Any], found: list[dict[str, Any]], notes: Footnotes
) -> list[str]:
    goal = BY_NAME[one["name"]].goal.memory
    peers = [peer for peer in found if peer["computes"] == one["name"] and peer is not one]
    told = ", ".join(
        f"{peer['name']} "
        + (failed_cell(peer, notes) if peer["failure"] else f"{peer['rise'] / unit['rise']:.2f}")
        for peer in peers
    )
    if one["failure"]:
        return [one["name"], failed_cell(one, notes), f"<= {goal:.1f}", *[NONE] * 3, told or NONE]
    times = one["rise"] / unit["rise"]
    rivals = [peer["rise"] for peer in peers if not peer["failure"]]
    share = one["rise"] / min(rivals) if rivals else None
    return [
        one["name"],
        judged(f"{times:.2f}", times <= goal),
        f"<= {goal:.1f}",
        f"{one['rise'] / 2**20:,.0f}",
        f"{one['held'] / 2**20:,.0f}",
        NONE if share is None else judged(f"{share:.2f}", share <= 1 / AGAINST_PEERS.memory),
        told or NONE,
    ]


def operators_table(timings: list[dict[str, Any]], notes: Footnotes) -> list[str]:
    """A row for each operator."""
    header = (
        *("operator", "ms", "GB/s", "times its limit", "goal", "limit", "served by"),
        *("reference, times ours", "compiled reference, times ours"),
        *("C++ loop, ms", "its rate", "share of its limit"),
    )
    return table(header, [_operator_row(restored(one), notes) for one in timings])


def _operator_row(one: OperatorTiming, notes: Footnotes) -> list[str]:
    if "relprop" not in one.seconds or LIMIT not in one.seconds:
        failed = notes.mark("; ".join(f"{who}: `{why}`" for who, why in one.failures.items()))
        return [one.operator, f"failed {failed}", *[NONE] * 10]
    ours = statistics.median(one.seconds["relprop"])
    times = one.times_of_limit("relprop")
    others = [
        f"{ratio(one.seconds[who], one.seconds['relprop']).median:.1f}"
        if who in one.seconds
        else "failed " + notes.mark(f"{one.operator}, {who}: `{one.failures[who]}`")
        for who in ("reference", "compiled")
    ]
    return [
        one.operator,
        f"{1000 * ours:.3f}",
        f"{one.bandwidth('relprop'):.1f}",
        judged(f"{times:.2f}", one.most is not None and times <= one.most),
        NONE if one.most is None else f"<= {one.most:.2f}",
        f"{one.limit}, {one.bandwidth(LIMIT):.1f} GB/s" if one.limit == "copy" else one.limit,
        one.serves,
        *others,
        *_loop_cells(one),
    ]


def _loop_cells(one: OperatorTiming) -> list[str]:
    if one.alone is None:
        return [NONE] * 3
    milliseconds = 1000 * statistics.median(one.alone.seconds)
    rate = f"{one.alone.rate:.1f} {one.alone.unit}"
    return [f"{milliseconds:.3f}", rate, f"{one.alone.share:.0%}"]


def exponents_table(lines: list[Line]) -> list[str]:
    """A row for each line, but for those that are points."""
    rows = [
        [
            f"{line.network}, {line.method}",
            f"{line.threads}",
            line.quantity,
            AXES[line.axis],
            f"{line.points[0][1]:.3g} to {line.points[-1][1]:.3g} {QUANTITIES[line.quantity]}",
            f"{line.exponent:.2f}",
        ]
        for line in lines
        if line.exponent is not None
    ]
    header = ("network, method", "threads", "quantity", "against", "from, to", "exponent")
    return table(header, rows)
