"""What was measured, as pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, StrMethodFormatter

from benchmarks.cost.methods import BY_NAME
from benchmarks.cost.networks import Case
from benchmarks.cost.rounds import GRADIENT
from benchmarks.cost.series import AXES, QUANTITIES, Line, lines
from benchmarks.cost.tables import is_right
from benchmarks.cost.timing import ratio

OURS, OTHERS, GOAL = "#c1432e", "#8a97a6", "black"
COLUMNS = 3
"""Panels side by side, at most."""
PALETTE = ("#444444", "#c1432e", "#2e6fc1", "#3a8f4d", "#b07d12", "#7a4fa3", "#1b9e9e", "#a33a6b")
MARKERS = {1: "o", 2: "s"}
"""By threads."""


def methods(measured: list[dict[str, Any]]) -> Figure:
    """A panel a case: what each of ours and the fastest peer take, and the goal."""
    good = [timing for timing in measured if not timing["failure"]]
    columns = min(COLUMNS, max(1, len(good)))
    rows = max(1, -(-len(good) // columns))
    drawing = Figure(figsize=(2 + 4.2 * columns, 0.8 + 3.4 * rows), layout="constrained")
    axes = drawing.subplots(rows, columns, squeeze=False, sharey=True)
    for axis, timing in zip(axes.flat, good, strict=False):
        _bars(axis, timing)
    for axis in axes.flat[len(good) :]:
        axis.set_visible(False)
    drawing.legend(
        handles=[
            Patch(color=OURS, label="relprop"),
            Patch(color=OTHERS, label="fastest other package that computes the same"),
            Line2D([], [], color=GOAL, marker="|", linestyle="", markersize=10, label="goal"),
        ],
        title="Time of an explanation in gradients of the same model; lines: quartiles",
        title_fontsize=9,
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    return drawing


def _bars(axis: Axes, timing: dict[str, Any]) -> None:
    entries = timing["entries"]
    unit = next(entry for entry in entries if entry["name"] == GRADIENT)["seconds"]
    for place, name in enumerate(BY_NAME):
        same = [e for e in entries if e["computes"] == name and not e["failure"] and is_right(e)]
        ours = [e for e in same if e["name"] == name]
        others = [e for e in same if e["name"] != name]
        fastest = min(others, key=lambda e: ratio(e["seconds"], unit).median, default=None)
        for shift, color, entry in (
            (0.19, OURS, next(iter(ours), None)),
            (-0.19, OTHERS, fastest),
        ):
            if entry is not None:
                found = ratio(entry["seconds"], unit)
                reach = [[found.median - found.low], [found.high - found.median]]
                axis.barh(
                    shift - place, found.median, 0.36, xerr=reach, color=color,
                    error_kw={"linewidth": 0.9},
                )  # fmt: skip
        goal = BY_NAME[name].goal.time
        axis.plot([goal] * 2, [0.42 - place, -0.04 - place], color=GOAL, linewidth=1.4)
    axis.set_yticks([-place for place in range(len(BY_NAME))], list(BY_NAME))
    axis.set_title(str(Case(**timing["case"])), fontsize=10, weight="bold")
    axis.set_xlabel("G")
    _plain(axis, "x")


def scaling(measured: list[dict[str, Any]]) -> Figure:
    """Log-log: a row for each network and quantity, a column for pictures and for batches."""
    found = lines(measured)
    networks = list(dict.fromkeys(line.network for line in found))
    rows = [(network, quantity) for network in networks for quantity in QUANTITIES]
    drawing = Figure(figsize=(11, 0.8 + 3.4 * max(1, len(rows))), layout="constrained")
    axes = drawing.subplots(max(1, len(rows)), len(AXES), squeeze=False)
    names = list(dict.fromkeys(line.method for line in found))
    for row, (network, quantity) in zip(axes, rows, strict=False):
        for axis, along in zip(row, AXES, strict=True):
            here = [
                line
                for line in found
                if (line.network, line.quantity, line.axis) == (network, quantity, along)
            ]
            _curves(axis, here, names)
            axis.set(title=network, xlabel=AXES[along], ylabel=QUANTITIES[quantity])
    return drawing


def _curves(axis: Axes, here: list[Line], names: list[str]) -> None:
    axis.set(xscale="log", yscale="log")
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter("{x:g}")
        side.set_minor_locator(LogLocator(subs=(2, 5)))
        side.set_minor_formatter(StrMethodFormatter("{x:g}"))
    for line in here:
        fit = "" if line.exponent is None else f": exponent {line.exponent:.2f}"
        threads = f", {line.threads} threads" if line.threads > 1 else ", 1 thread"
        axis.plot(
            [x for x, _ in line.points],
            [y for _, y in line.points],
            color=PALETTE[names.index(line.method) % len(PALETTE)],
            marker=MARKERS.get(line.threads, "^"),
            linestyle="-" if line.threads == 1 else "--",
            linewidth=1.2,
            markersize=4,
            label=f"{line.method}{threads}{fit}",
        )
    if here:
        axis.legend(fontsize=6.5, frameon=False)
    _plain(axis, "both")


def _plain(axis: Axes, along: Literal["x", "both"]) -> None:
    axis.grid(axis=along, linewidth=0.4, alpha=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


PLOTS: dict[str, Callable[[list[dict[str, Any]]], Figure]] = {
    "methods": methods,
    "scaling": scaling,
}
"""Parts of the results that have a picture."""
