"""Figures made of panels: rows of pictures with titles, and at the foot what the colours say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from relprop.errors import InvalidInputError
from relprop.rules.support import choose
from relprop.visualize.colors import COLOR_MAPS, DEFAULT_COLORS

PANEL_INCHES, GAP_INCHES, MARGIN_INCHES = 2.95, 0.15, 0.15
HEADING_INCHES, TITLE_INCHES, CAPTION_INCHES, FOOT_INCHES = 0.23, 0.27, 0.3, 0.45
BAR_INCHES, BAR_SHARE = 2.4, 0.3
"""The length of the colour bar, and the share of a narrow figure's width that it may have."""
MEDIA = {"screen": 160, "print": 300}
"""Dots per inch. On a screen a panel is then 448 pixels wide: two for each of a 224-pixel input."""


@dataclass(frozen=True)
class Panel:
    """One picture of a figure: an (H, W, 3) image, a title above and a caption below it."""

    image: NDArray[np.uint8]
    title: str
    caption: str = ""


@dataclass(frozen=True)
class Key:
    """What the foot of a figure explains: its colours, and the magnitude that gets full colour.

    Attributes:
        colors: one of `COLOR_MAPS`.
        scale: the magnitude that gets full colour everywhere, or None where it differs.
    """

    colors: str = DEFAULT_COLORS
    scale: float | None = None

    def ends(self) -> tuple[str, str]:
        """The words left and right of the colour bar."""
        signed = COLOR_MAPS[self.colors].lowest < 0
        against, in_favour = ("against the class" if signed else "none"), "for the class"
        if self.scale is None:
            return against, in_favour
        return f"{against}, {-self.scale if signed else 0:.3g}", f"{self.scale:.3g}, {in_favour}"


def figure(
    rows: Sequence[tuple[str, Sequence[Panel]]], key: Key | None = None, medium: str = "screen"
) -> Figure:
    """Rows of panels, each row under its own heading; the colours are explained at the foot.

    Args:
        rows: heading (empty for none) and panels of each row.
        key: what the foot explains, by default the default colours.
        medium: one of `MEDIA`: what the resolution is for.

    Raises:
        InvalidInputError: there is no panel, or `medium` is none of `MEDIA`.
    """
    columns = max((len(panels) for _, panels in rows), default=0)
    if not columns:
        raise InvalidInputError("a figure must have at least one panel, but got none")
    width = columns * PANEL_INCHES + 2 * MARGIN_INCHES
    height = sum(_head(heading) + PANEL_INCHES + CAPTION_INCHES for heading, _ in rows)
    height += FOOT_INCHES
    dpi = choose(MEDIA, medium, "medium")
    drawn = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
    FigureCanvasAgg(drawn)
    top = height
    for heading, panels in rows:
        if heading:
            size = fitting(heading, 13, int(width * 9))
            text = drawn.text(0.5, (top - 0.22) / height, heading, ha="center", va="center")
            text.set(size=size, weight="bold", parse_math=False)
        bottom = top - _head(heading) - PANEL_INCHES
        for column, panel in enumerate(panels):
            left = MARGIN_INCHES + column * PANEL_INCHES + GAP_INCHES / 2
            side = PANEL_INCHES - GAP_INCHES
            _draw(drawn, panel, (left / width, bottom / height, side / width, side / height))
        top = bottom - CAPTION_INCHES
    _explain_colors(drawn, key or Key(), width, height)
    return drawn


def _head(heading: str) -> float:
    return TITLE_INCHES + (HEADING_INCHES if heading else 0)


def _draw(drawn: Figure, panel: Panel, box: tuple[float, float, float, float]) -> None:
    axes = drawn.add_axes(box)
    axes.imshow(panel.image, interpolation="nearest")
    size = fitting(panel.title, 10, 38)
    axes.set_title(panel.title, size=size, pad=4, parse_math=False)
    size = fitting(panel.caption, 8.5, 46)
    axes.set_xlabel(panel.caption, size=size, labelpad=4, color="#444444", parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#cccccc")


def fitting(text: str, size: float, room: int) -> float:
    """A font size that keeps a text within its place; at `size`, `room` letters fit."""
    return min(size, size * room / max(len(text), 1))


def _explain_colors(drawn: Figure, key: Key, width: float, height: float) -> None:
    length = min(BAR_INCHES, BAR_SHARE * width)
    box = (0.5 - length / 2 / width, 0.16 / height, length / width, 0.13 / height)
    bar = drawn.add_axes(box)
    shades = COLOR_MAPS[key.colors]
    drawn.colorbar(
        ScalarMappable(Normalize(shades.lowest, 1), shades.colors),
        cax=bar,
        orientation="horizontal",
        ticks=[],
    )
    room = int(((width - length) / 2 - MARGIN_INCHES - 0.1) * 15)
    against, in_favour = key.ends()
    size = fitting(max(against, in_favour, key=len), 9, room)
    for place, side, words, color in (
        (-0.04, "right", against, shades.against),
        (1.04, "left", in_favour, shades.in_favour),
    ):
        text = bar.text(place, 0.5, words, size=size, color=color, transform=bar.transAxes)
        text.set(ha=side, va="center")
