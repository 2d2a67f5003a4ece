"""The books of an explanation as bars: node by node what was passed on, and what was not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from relprop.rules.support import choose
from relprop.visualize.panels import MEDIA, fitting

PARTS = {
    "passed": ("passed on", "#c9ced6"),
    "bias": ("taken by bias", "#d55e00"),
    "stabilizer": ("taken by stabilizer", "#009e73"),
    "dropped": ("dropped", "#0072b2"),
}
"""A column of the books, its words and its colour: Okabe and Ito's, for all kinds of eyes."""
BAR_INCHES, PLOT_INCHES, LETTER_INCHES = 0.19, 6.0, 0.075
HEAD_INCHES, FOOT_INCHES, RIGHT_INCHES = 0.75, 0.5, 0.95


def draw_books(books: Mapping[str, Any], medium: str = "screen") -> Figure:
    """A bar a node, from the output down to the inputs, stacked of where its relevance went.

    Parts above zero are stacked to the right, parts below it to the left. At the right end stands
    what the node received.

    Args:
        books: what `Report.as_dict` gives, in units of the model's output.
        medium: `"screen"` or `"print"`: what the resolution is for.
    """
    nodes = books["nodes"]
    names = [_name(node) for node in nodes]
    left = LETTER_INCHES * max(map(len, names), default=0) + 0.25
    width = left + PLOT_INCHES + RIGHT_INCHES
    height = HEAD_INCHES + BAR_INCHES * max(len(nodes), 4) + FOOT_INCHES
    dpi = choose(MEDIA, medium, "medium")
    drawn = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
    FigureCanvasAgg(drawn)
    plot = (height - HEAD_INCHES - FOOT_INCHES) / height
    axes = drawn.add_axes((left / width, FOOT_INCHES / height, PLOT_INCHES / width, plot))
    _stack(axes, nodes)
    axes.axvline(0, color="#222222", linewidth=0.8)
    axes.set_yticks(range(len(nodes)), names, size=8, family="monospace", parse_math=False)
    axes.set_ylim(max(len(nodes), 1) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("relevance, in units of the model's output", size=8.5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    for row, node in enumerate(nodes):
        axes.annotate(
            f"{node['received']:.4g}",
            (1, row),
            (RIGHT_INCHES * 72 - 8, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            ha="right",
            va="center",
            size=8,
        )
    _head(drawn, axes, books, (1 - 0.2 / height, 1 - 0.48 / height))
    return drawn


def _name(node: Mapping[str, Any]) -> str:
    """One node's line: where it is, what it is, and its rule."""
    words = [node["module"], node["node"], f"({node['rule']})" if node["rule"] else ""]
    return " ".join(filter(None, words))


def _stack(axes: Axes, nodes: list[Mapping[str, Any]]) -> None:
    """One container of bars a part, in the order of `PARTS`."""
    right, left = [0.0] * len(nodes), [0.0] * len(nodes)
    for part, (words, color) in PARTS.items():
        widths = [node[part] for node in nodes]
        starts = [
            ends[row]
            for row, width in enumerate(widths)
            for ends in [right if width >= 0 else left]
        ]
        axes.barh(range(len(nodes)), widths, 0.72, left=starts, color=color, label=words)
        for row, width in enumerate(widths):
            (right if width >= 0 else left)[row] += width


def _head(
    drawn: Figure, axes: Axes, books: Mapping[str, Any], heights: tuple[float, float]
) -> None:
    """The sum of all, and what the colours mean."""
    parts = ("relevance", "bias", "stabilizer", "dropped", "shortfall")
    sums = " + ".join(f"{part} {books[part]:.4g}" for part in parts).replace("+ -", "- ")
    sentence = f"score {books['score']:.4g} = {sums}"
    size = fitting(sentence, 10, int(drawn.get_figwidth() * 11.5))
    drawn.text(0.5, heights[0], sentence, ha="center", va="center", size=size)
    handles, labels = axes.get_legend_handles_labels()
    drawn.legend(
        handles,
        labels,
        loc="center",
        bbox_to_anchor=(0.5, heights[1]),
        ncols=len(PARTS),
        frameon=False,
        fontsize=8.5,
    )
    drawn.text(0.99, heights[1], "received", ha="right", va="center", size=8)
