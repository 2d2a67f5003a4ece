"""What was measured, as a table, as JSON and as a picture; and what it says of many machines."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.throughput.fleet import Costs, table
from benchmarks.throughput.measure import ALONE, BATCH, COMMAND, PROCESSOR, READERS, Measured

COLORS = {ALONE: "#444444", BATCH: "#c1432e", COMMAND: "#e0937f"}
OTHERS = "#8a97a6"
HEADINGS = {
    "work": "---",
    "attribution alone": "--:",
    "relprop batch": "--:",
    "over attribution alone": "--:",
    "the same in processor time": "--:",
    "as a command": "--:",
    "other package, DataLoader": "--:",
    "times as fast": "--:",
    "the same in processor time ": "--:",
}
PARTS = {
    "work": "---",
    "attribution": "--:",
    "the rest": "--:",
    "reading, in threads": "--:",
    "relevance to disk, in threads": "--:",
    "journal, in a thread": "--:",
    "loop: attribution": "--:",
    "loop: waiting for pictures": "--:",
    "loop: writing": "--:",
}


def write(found: list[Measured], costs: Costs, facts: dict[str, str], folder: Path) -> list[Path]:
    """Write all three into `folder`, and say which files they are."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in ("results.md", "results.json", "throughput.png")]
    files[0].write_text(markdown(found, costs, facts), encoding="utf-8")
    data = {
        "facts": facts,
        "costs": costs.as_dict(),
        "works": [one.as_dict() for one in found],
    }
    files[1].write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    figure(found).savefig(files[2], dpi=110)
    return files


def overheads(one: Measured) -> tuple[list[float], list[float]]:
    """How much longer relprop batch takes than attribution alone, as a share of that, sorted.

    Round by round, by the clock and in processor time.
    """
    clock = zip(one.seconds[BATCH], one.seconds[ALONE], strict=True)
    work = zip(one.parts[BATCH][PROCESSOR], one.parts[ALONE][PROCESSOR], strict=True)
    return sorted(a / b - 1 for a, b in clock), sorted(a / b - 1 for a, b in work)


def gains(one: Measured) -> tuple[float, float]:
    """How many times as long the other package's loop takes, by the clock and in processor time."""
    clock = zip(one.seconds[one.peer], one.seconds[BATCH], strict=True)
    work = zip(one.parts[one.peer][PROCESSOR], one.parts[BATCH][PROCESSOR], strict=True)
    return statistics.median(a / b for a, b in clock), statistics.median(a / b for a, b in work)


def markdown(found: list[Measured], costs: Costs, facts: dict[str, str]) -> str:
    """What was measured, and what is needed to read it."""
    return "\n".join(
        [
            "# From files to relevance on disk",
            "",
            *(f"- {name}: {fact}" for name, fact in facts.items()),
            "",
            "Pictures a second: medians of rounds in which all took turns, in one process but for "
            "the command's.",
            "",
            *_rows(HEADINGS, [_speeds(one) for one in found]),
            "",
            "- attribution alone: batches that are in memory, relevance that is thrown away. The "
            "likeliest class is explained, which the attribution's own forward sweep says.",
            "- relprop batch: from JPEG files to a finished output, once the model is there: "
            "reading, explaining, sums, compressing, waiting for the disk, journal. `over "
            "attribution alone`: how much longer that takes, paired by rounds, median (least to "
            "most).",
            "- as a command: its whole process, once, from starting Python and building the "
            "network to the summary, on this few pictures.",
            f"- other package: a DataLoader with {READERS} processes, the same decoding, the "
            "package's attribution of the likeliest class, and `numpy.save` a picture, without "
            "compression or waiting for the disk. `times as fast`: relprop batch beside it, paired "
            "by rounds, median.",
            "- processor time: the seconds that all threads and processes compute, paired alike. "
            "Where others are at work on the machine, it is what can be relied on.",
            "",
            "Relevance of the first batch differs from the other package's by at most "
            + ", ".join(f"{one.deviation:.1e} ({one.work})" for one in found)
            + " of the largest.",
            "",
            "## Where the time goes",
            "",
            "Milliseconds a picture, medians.",
            "",
            *_rows(PARTS, [_parts(one) for one in found]),
            "",
            "`attribution` and `the rest` add up to what relprop batch takes: the rest is what the "
            "thread that explains does besides or waits for. What other threads do happens at the "
            "same time, on the same cores, and their seconds hold what they wait.",
            "",
            "## Many machines: computed, not measured",
            "",
            *table(costs),
            "",
            "![Pictures a second](throughput.png)",
            "",
        ]
    )


def _rows(headings: dict[str, str], rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(headings)} |", f"|{'|'.join(headings.values())}|"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def speed(one: Measured, contestant: str) -> float:
    """Pictures a second, median."""
    return one.pictures / statistics.median(one.seconds[contestant])


def processor(one: Measured, contestant: str) -> float:
    """Seconds of processors a picture, median."""
    return statistics.median(one.parts[contestant][PROCESSOR]) / one.pictures


def _speeds(one: Measured) -> list[str]:
    return [
        f"{one.work}, {one.pictures} pictures in batches of {one.batch}",
        f"{speed(one, ALONE):.3g}",
        f"{speed(one, BATCH):.3g}",
        *(f"{statistics.median(o):.1%} ({o[0]:.1%} to {o[-1]:.1%})" for o in overheads(one)),
        f"{speed(one, COMMAND):.3g}",
        f"{speed(one, one.peer):.3g} ({one.peer})",
        *(f"{gain:.2f}" for gain in gains(one)),
    ]


def _parts(one: Measured) -> list[str]:
    def part(contestant: str, name: str) -> float:
        return 1000 * statistics.median(one.parts[contestant][name]) / one.pictures

    attribution = part(BATCH, "attribution")
    rest = 1000 / speed(one, BATCH) - attribution
    threads = [part(BATCH, name) for name in ("reading", "relevance to disk", "journal")]
    loop = [part(one.peer, name) for name in ("attribution", "reading", "writing")]
    share = rest / (attribution + rest)
    return [
        one.work,
        f"{attribution:.1f}",
        f"{rest:.1f} ({share:.1%})",
        *(f"{value:.2f}" for value in (*threads, *loop)),
    ]


def figure(found: list[Measured]) -> Figure:
    """A panel a work: pictures a second of every contestant."""
    drawing = Figure(figsize=(4.4 * len(found), 2.6), layout="constrained")
    axes = drawing.subplots(1, len(found), squeeze=False)[0]
    for axis, one in zip(axes, found, strict=True):
        names = [ALONE, BATCH, COMMAND, one.peer]
        values = [speed(one, name) for name in names]
        labels = [*names[:3], f"{one.peer}, DataLoader"]
        colors = [COLORS.get(name, OTHERS) for name in names]
        bars = axis.barh(labels[::-1], values[::-1], color=colors[::-1])
        axis.bar_label(bars, fmt="%.3g", padding=3, fontsize=8)
        axis.set_title(one.work, fontsize=10, weight="bold")
        axis.set_xlabel("pictures a second")
        axis.margins(x=0.15)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    return drawing
