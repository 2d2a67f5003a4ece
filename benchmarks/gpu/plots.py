"""What was measured, as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.gpu.report import GRADIENT, ratios

OURS, OTHERS = "#c1432e", "#8a97a6"
COLUMNS = 3


def draw(found: dict[str, Any], folder: Path) -> list[Path]:
    """A picture for each part that has figures; which files these are."""
    drawn = []
    for part, picture in (("networks", _networks), ("operators", _operators)):
        figure = picture(found) if found.get(part) else None
        if figure is not None:
            drawn.append(folder / f"{part}.png")
            figure.savefig(drawn[-1], dpi=110)
    return drawn


def _networks(found: dict[str, Any]) -> Figure | None:
    """A panel a case: what each method takes, in gradients."""
    cases = [case for case in found["networks"] if any(e["seconds"] for e in case["entries"])]
    if not cases:
        return None
    columns, rows = min(COLUMNS, len(cases)), -(-len(cases) // COLUMNS)
    figure = Figure(figsize=(5.5 * columns, 0.5 + 3.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(cases) :]:
        axis.set_visible(False)
    for axis, case in zip(axes.flat, cases, strict=False):
        _bars(axis, case)
    return figure


def _bars(axis: Axes, case: dict[str, Any]) -> None:
    unit = next(entry["seconds"] for entry in case["entries"] if entry["name"] == GRADIENT)
    timed = [entry for entry in case["entries"] if entry["seconds"]]
    places = range(len(timed), 0, -1)
    for place, entry in zip(places, timed, strict=True):
        middle, low, high = ratios(entry["seconds"], unit)
        color = OURS if entry["name"].startswith(entry["computes"]) else OTHERS
        axis.barh(place, middle, xerr=[[middle - low], [high - middle]], color=color)
    axis.set_yticks(list(places), [entry["name"] for entry in timed], fontsize=7)
    axis.set_title(case["case"], fontsize=9)
    axis.set_xlabel("G")
    _plain(axis)


def _operators(found: dict[str, Any]) -> Figure | None:
    """How much of a copy's rate each operator moves its bytes at."""
    timed = [one for one in found["operators"] if one["rate"]]
    copy = found.get("machine", {}).get("copy")
    if not timed or not copy:
        return None
    figure = Figure(figsize=(8, 1 + 0.2 * len(timed)), layout="constrained")
    axis = figure.subplots()
    places = range(len(timed), 0, -1)
    axis.barh(places, [one["rate"] / copy for one in timed], color=OURS)
    axis.set_yticks(list(places), [f"{o['operator']}, {o['dtype']}" for o in timed], fontsize=6)
    axis.set_xlabel("bytes a second, of a copy's")
    _plain(axis)
    return figure


def _plain(axis: Axes) -> None:
    axis.grid(axis="x", linewidth=0.4, alpha=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
