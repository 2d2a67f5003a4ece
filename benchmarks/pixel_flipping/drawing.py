"""The curves as a picture: a column for each family of methods, beside random and the gradient."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks.pixel_flipping.curves import SCORES, Curves, area_under
from benchmarks.pixel_flipping.methods import METHODS, REFERENCE

# Apart for the colour-blind as well (Okabe and Ito 2008), and by their dashes.
STYLES = [
    {"color": "#d55e00", "linestyle": "-"},
    {"color": "#0072b2", "linestyle": "-"},
    {"color": "#009e73", "linestyle": (0, (6, 1.5))},
    {"color": "#cc79a7", "linestyle": (0, (6, 1.5))},
    {"color": "#e69f00", "linestyle": (0, (3, 1, 1, 1))},
    {"color": "#56b4e9", "linestyle": (0, (3, 1, 1, 1))},
]
REFERENCE_STYLES = [
    {"color": "#555555", "linestyle": ":"},
    {"color": "#aaaaaa", "linestyle": "-"},
]
TITLES = {"probability": "mean probability of the class", "logit": "mean logit of the class"}


def figure(outcomes: dict[str, Curves], share: float) -> Figure:
    """A row for each score; `share` of each photo is erased at the right."""
    families: dict[str, list[str]] = {}
    for name in outcomes:
        families.setdefault(METHODS[name].family, []).append(name)
    references = families.pop(REFERENCE)
    drawing = Figure(figsize=(4.2 * len(families), 11), layout="constrained")
    axes = drawing.subplots(len(SCORES), len(families), sharey="row", squeeze=False)
    for row, score in zip(axes, SCORES, strict=True):
        for axis, (family, names) in zip(row, families.items(), strict=True):
            _panel(axis, score, {name: outcomes[name] for name in references}, share)
            _panel(axis, score, {name: outcomes[name] for name in names}, share, STYLES)
            _legend(axis)
            if score == SCORES[0]:
                axis.set_title(family, weight="bold")
        row[0].set_ylabel(TITLES[score])
    drawing.suptitle(
        "The sooner a curve falls, the better the method found what matters",
        fontsize=13,
        weight="bold",
    )
    return drawing


def _panel(
    axis: Axes,
    score: str,
    outcomes: dict[str, Curves],
    share: float,
    styles: list[dict[str, object]] = REFERENCE_STYLES,
) -> None:
    for (name, curves), style in zip(outcomes.items(), styles, strict=False):
        heights = getattr(curves, score)
        last = heights.shape[1] - 1
        area = area_under(heights).mean().item()
        axis.plot(
            [share * step / last for step in range(last + 1)],
            heights.mean(0).tolist(),
            label=f"{area:.3f}  {name}",
            linewidth=1.7,
            **style,
        )
    axis.set_xlim(0, share)
    axis.set_xlabel("share of the photo erased, most relevant first")
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.grid(linewidth=0.4, alpha=0.6)
    axis.spines[["top", "right"]].set_visible(False)


def _legend(axis: Axes) -> None:
    """The areas under the curves and the methods' names, the best first."""
    handles, labels = axis.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda place: float(labels[place].split()[0]))
    axis.legend(
        [handles[place] for place in order],
        [labels[place] for place in order],
        title="area under the curve",
        title_fontsize=8,
        fontsize=8,
        frameon=False,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.13),  # below the panel: the curves leave no room in it
    )
