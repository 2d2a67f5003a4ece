"""What was measured, part by part, as JSON; all parts that there are, as one page and its plots."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.cost import plots
from benchmarks.cost.fresh import ENVIRONMENT
from benchmarks.cost.many_table import many_table
from benchmarks.cost.networks import Case
from benchmarks.cost.rounds import LONG
from benchmarks.cost.scaling import MEMORY_THREADS
from benchmarks.cost.series import lines
from benchmarks.cost.tables import (
    Footnotes,
    exponents_table,
    memory_table,
    methods_table,
    operators_table,
)
from benchmarks.stamp import stamp

PARTS = ("methods", "many", "memory", "operators", "scaling")
PACKAGES = ("torchvision", "captum", "zennit")
PAGE = "results.md"

TITLE = "# What explanations cost, beside a gradient"
BEFORE = {
    "methods": (
        "## Time\n\n"
        "In G: one forward pass and one pass back to the input of the same model on the same "
        "input, parameters frozen. The gradient, ours and the peers take turns in one process, in "
        "another order every round, each with one call that is not timed before the one that is, "
        f"unless a gradient takes {LONG:.0f} s or more. There are as many rounds as fit into the "
        "time of a case, at least one; peers that it does not suffice for are not run; "
        "figures are medians and quartiles of what a method took over "
        "what the gradient took in the same round. **Bold** is a goal met: for ours at most the "
        "goal, and at least three times as fast as the fastest peer that computes the same. The "
        "floor is what the convolutions and dense layers alone take that a method cannot do "
        "without, each timed by itself in the same process.\n"
    ),
    "many": (
        "## Many targets, many baselines\n\n"
        "In G of the same batch for one target, measured in the same rounds. Many targets are to "
        "cost one way forward and one back for each, (1 + T)/2 G; K baselines common to N examples "
        "one way forward for each baseline and one back for each pair, (1 + K + K/N)/2 G. Peers "
        "explain one target after the other, and captum's DeepLiftShap every pair. Sweeps are "
        "counted at the first convolution, in examples and baselines that go through it. Baselines "
        "are swept as many at a time as `memory_budget` allows. **Bold** is a goal met.\n"
    ),
    "memory": (
        "## Peak memory\n\n"
        "Each in a process of its own: by how much the peak of resident memory rises over what is "
        "there when model and input are, and a tiny input has been explained. **Bold** is a goal "
        "met: at most the goal, and at most a third of the leanest peer that computes the same. "
        f"All run with {', '.join(f'`{name}={value}`' for name, value in ENVIRONMENT.items())}, so "
        "that what is freed goes back to the system; the peak is the kernel's {how}.\n"
    ),
    "operators": (
        "## Operators\n\n"
        "Each against its limit, measured in the same rounds: a copy of as many bytes as it has to "
        "move; `F.linear` with the same weight; torch's own max pool, forward and backward. "
        "GB/s counts each argument and result once. **Bold** is a goal met. The C++ loop times the "
        "kernel alone, on one thread, with its operands and results in place, so without torch's "
        "dispatcher and without new memory; its limit there is a copy on one thread in the same "
        "loop (what reads more than it writes may exceed it), and for convolutions torch's own on "
        "one thread. GFLOP/s counts the operations of direct summation.\n"
    ),
    "scaling": (
        "## Growth\n\n"
        "Time of an explanation, and its peak memory, against the size of a picture and of a "
        "batch. The exponent p is that of the power law that fits best: 1 is in proportion. What "
        "would take too much memory or time, by what smaller inputs took, is not run, and listed "
        f"below. Memory is measured with {MEMORY_THREADS} threads.\n"
    ),
}


def facts() -> dict[str, str]:
    """What figures depend on, with the versions of the packages that they are compared with."""
    found = stamp()
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def save(part: str, measured: list[dict[str, Any]], folder: Path) -> Path:
    """Write what has been measured of one part so far, and say to which file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{part}.json"
    content = {"facts": facts(), "measured": measured}
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return file


def write(part: str, measured: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Write one part, and the page of all parts in the folder anew; which files these are."""
    file = save(part, measured, folder)
    page = folder / PAGE
    page.write_text(markdown(load(folder)), encoding="utf-8")
    drawn = []
    if part in plots.PLOTS:
        drawn = [folder / f"{part}.png"]
        plots.PLOTS[part](measured).savefig(drawn[0], dpi=150)
    return [file, page, *drawn]


def load(folder: Path) -> dict[str, Any]:
    """The parts that have been measured, by name."""
    files = {part: folder / f"{part}.json" for part in PARTS}
    return {
        part: json.loads(file.read_text(encoding="utf-8"))
        for part, file in files.items()
        if file.is_file()
    }


def markdown(parts: dict[str, Any]) -> str:
    """The page."""
    notes = Footnotes()
    page = [TITLE, ""]
    for part, content in parts.items():
        measured = content["measured"]
        hows = {one["how"] for one in measured if one.get("how")}
        page += [BEFORE[part].replace("{how}", " or ".join(sorted(hows)) or "figure")]
        page += [*(f"- {name}: {fact}" for name, fact in content["facts"].items()), ""]
        page += _body(part, measured, notes)
        if part in plots.PLOTS:
            page += [f"![{part}]({part}.png)", ""]
    return "\n".join([*page, *notes.lines()]).rstrip() + "\n"


def _body(part: str, measured: list[dict[str, Any]], notes: Footnotes) -> list[str]:
    if part == "operators":
        return [*operators_table(measured, notes), ""]
    if part == "many":
        return [*many_table(measured, notes), ""]
    if part == "scaling":
        return [*exponents_table(lines(measured)), "", *_left_out(measured), ""]
    if part == "memory":
        return [line for group in by_case(measured) for line in memory_table(group, notes)]
    return [line for timing in measured for line in methods_table(timing, notes)]


def by_case(found: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Measurements of memory, the gradient's first in each case."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        groups.setdefault(json.dumps(one["case"]), []).append(one)
    return list(groups.values())


def _left_out(measured: list[dict[str, Any]]) -> list[str]:
    """What has no figures, and why."""
    said = []
    for one in measured:
        case = Case(**one["timing"]["case"])
        whole = one["timing"]["failure"]
        failures = [("all", whole)]
        failures += [(entry["name"], entry["failure"]) for entry in one["timing"]["entries"]]
        failures += [
            (f"memory of {m['name']}", m["failure"]) for m in one["memory"] if m["failure"] != whole
        ]
        said += [f"- {case}, {name}: {why}" for name, why in failures if why]
    return said
