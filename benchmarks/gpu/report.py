"""What a run found: one JSON file, one page, and its plots where matplotlib is."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DATA, PAGE = "results.json", "results.md"
NONE = "-"
GRADIENT = "gradient"
TITLE = "# On a GPU"


def save(part: str, found: Any, folder: Path) -> None:
    """Put what one part found beside what the others did."""
    everything = load(folder)
    everything[part] = found
    file = folder / DATA
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(file)  # a part that is stopped at its limit leaves the last whole one


def load(folder: Path) -> dict[str, Any]:
    """What the parts found, by name."""
    file = folder / DATA
    found: dict[str, Any] = {}
    if file.is_file():
        found = json.loads(file.read_text(encoding="utf-8"))
    return found


def write(folder: Path) -> list[Path]:
    """The page and its plots; which files these are."""
    found = load(folder)
    pictures = _draw(found, folder)
    page = folder / PAGE
    page.write_text(markdown(found, [file.name for file in pictures]), encoding="utf-8")
    return [folder / DATA, page, *pictures]


def _draw(found: dict[str, Any], folder: Path) -> list[Path]:
    try:
        from benchmarks.gpu import plots
    except ImportError:
        return []
    return plots.draw(found, folder)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Names to the left, figures to the right."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "--:|" * (len(header) - 1)]
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return [*lines, *("| " + " | ".join(row) + " |" for row in escaped), ""]


def markdown(found: dict[str, Any], pictures: Sequence[str] = ()) -> str:
    """The page."""
    lines = [TITLE, ""]
    machine = found.get("machine", {})
    lines += [*(f"- {name}: {fact}" for name, fact in machine.get("facts", {}).items()), ""]
    lines += _parts(found.get("parts", []))
    lines += _machine(machine) if machine else []
    if "networks" in found:
        lines += ["## Networks", "", NETWORKS, ""]
        lines += [line for case in found["networks"] for line in _case(case)]
    if "operators" in found:
        lines += ["## Operators", "", OPERATORS, ""]
        lines += _operators(found["operators"], machine.get("copy"))
    lines += [f"![{name}]({name})\n" for name in pictures]
    return "\n".join(lines).rstrip() + "\n"


NETWORKS = (
    "In G: the time of one forward pass and one pass back to the input of the same model on the "
    "same input, parameters frozen. Median and quartiles of a method's time over the gradient's in "
    "the same round, each from an idle GPU to an idle GPU, the CPU's part included. MiB are the "
    "peak beyond what was taken before. Off is by how much a result differs from ours, the largest "
    "over the largest of ours; for a CUDA graph, from ours without one."
)
OPERATORS = (
    "Medians by the GPU's own clock, with more operands than its cache holds. GB/s counts each "
    "argument and result once; the share is that of the measured copy."
)


def _parts(parts: Sequence[dict[str, Any]]) -> list[str]:
    if not parts:
        return []
    rows = [[one["name"], one["status"], f"{one['seconds']:.0f}", one["said"]] for one in parts]
    return ["## What was run", "", *table(("part", "outcome", "s", "last line"), rows)]


def _machine(machine: dict[str, Any]) -> list[str]:
    rows = [["copy, read and written", f"{machine['copy'] / 1e9:,.0f} GB/s"]]
    for name, rate in machine["matrix"].items():
        rows.append([f"matrix product, {name}", f"{rate / 1e12:,.1f} TFLOP/s"])
    return ["## The machine", "", *table(("measured", "rate"), rows)]


def ratios(seconds: Sequence[float], unit: Sequence[float]) -> tuple[float, float, float]:
    """Median and quartiles of what was measured in the same rounds, one over the other."""
    paired = sorted(a / b for a, b in zip(seconds, unit, strict=False))
    quarter = len(paired) // 4
    return statistics.median(paired), paired[quarter], paired[-1 - quarter]


def _case(case: dict[str, Any]) -> list[str]:
    lines = [f"### {case['case']}", ""]
    if case["failure"]:
        return [*lines, f"Not measured: {case['failure']}", ""]
    unit = next(e["seconds"] for e in case["entries"] if e["name"] == GRADIENT)
    rows = [_entry(entry, unit) for entry in case["entries"]]
    if unit:
        said = f"1 G is {1e3 * statistics.median(unit):.2f} ms, of {len(unit)} rounds."
        lines += [said, ""]
    return [*lines, *table(("method", "G", "ms", "MiB", "off"), rows)]


def _entry(entry: dict[str, Any], unit: Sequence[float]) -> list[str]:
    if entry["failure"] or not entry["seconds"]:
        return [entry["name"], f"failed: {entry['failure']}", *[NONE] * 3]
    figures = NONE
    if unit:
        figures = "{:.2f} [{:.2f}, {:.2f}]".format(*ratios(entry["seconds"], unit))
    off = entry["deviation"]
    return [
        entry["name"],
        figures,
        f"{1e3 * statistics.median(entry['seconds']):.2f}",
        f"{entry['peak'] / 2**20:,.0f}",
        NONE if off is None else f"{off:.1g}",
    ]


def _operators(timings: Sequence[dict[str, Any]], copy: float | None) -> list[str]:
    header = (
        *("operator", "dtype", "ms", "GB/s", "of a copy", "times its limit", "limit"),
        "reference, times ours",
    )
    return table(header, [_operator(one, copy) for one in timings])


def _operator(one: dict[str, Any], copy: float | None) -> list[str]:
    ours = one["seconds"].get("relprop")
    if not ours:
        return [one["operator"], one["dtype"], f"failed: {one['failures']['relprop']}", *[NONE] * 5]
    middle = {who: statistics.median(seconds) for who, seconds in one["seconds"].items()}
    return [
        one["operator"],
        one["dtype"],
        f"{1e3 * middle['relprop']:.3f}",
        f"{one['rate'] / 1e9:,.0f}",
        f"{one['rate'] / copy:.0%}" if copy else NONE,
        f"{middle['relprop'] / middle['limit']:.2f}" if "limit" in middle else NONE,
        one["limit"],
        f"{middle['reference'] / middle['relprop']:.1f}" if "reference" in middle else NONE,
    ]
