"""Relevance as pictures: red speaks for the explained class, blue against it, white for neither.

Colours are symmetric about zero and no value is shifted, so that the sign in a picture is the sign
of the relevance.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

COLORS = LinearSegmentedColormap.from_list(
    "relevance", ["#08306b", "#2f7fc4", "#ffffff", "#e2402c", "#67000d"], N=257
)
"""Blue, white, red; an odd number of steps, so that zero has one of its own and is white."""
PERCENTILE = 99.5
"""The magnitude that gets full colour: higher ones are few, and would leave the rest pale."""
PANEL_INCHES, GAP_INCHES, MARGIN_INCHES = 2.95, 0.15, 0.15
HEAD_INCHES, CAPTION_INCHES, FOOT_INCHES = 0.5, 0.3, 0.45
DPI = 160
"""With the sizes above, a panel is 448 pixels wide: two for each of a 224-pixel input."""


def total(relevance: Tensor) -> NDArray[np.float64]:
    """One number a pixel, shape (H, W): relevance (C, H, W) or (H, W), summed over the channels."""
    values: NDArray[np.float64] = relevance.detach().cpu().double().numpy()
    return values.sum(0) if values.ndim == 3 else values


def limit(relevance: Tensor, percentile: float = PERCENTILE) -> float:
    """The magnitude that gets full colour, > 0, for relevance (C, H, W) or (H, W): a percentile."""
    magnitude = float(np.percentile(np.abs(total(relevance)), percentile))
    return magnitude or float(np.abs(total(relevance)).max()) or 1.0


def heat_map(relevance: Tensor, scale: float | None = None) -> NDArray[np.uint8]:
    """Relevance (C, H, W) or (H, W) in colour, (H, W, 3); `scale`, or `limit`, gets full colour."""
    values = total(relevance) / (limit(relevance) if scale is None else scale)
    colors: NDArray[np.uint8] = COLORS((values.clip(-1, 1) + 1) / 2, bytes=True)[..., :3]
    return colors


def overlay(picture: ArrayLike, relevance: Tensor, scale: float | None = None) -> NDArray[np.uint8]:
    """The picture, pale and grey, under its relevance: shape (H, W, 3).

    Args:
        picture: shape (H, W, 3) or (H, W), values 0..255, as large as the relevance.
        relevance: shape (C, H, W) or (H, W).
        scale: the magnitude that gets full colour, by default `limit`.
    """
    pixels = np.asarray(picture, dtype=np.float64)
    gray = pixels if pixels.ndim == 2 else pixels.mean(-1)
    pale = 255 - 0.45 * (255 - gray)
    mixed = heat_map(relevance, scale) * (
        pale[..., None] / 255
    )  # multiplied, as ink on paper: white leaves it alone
    painted: NDArray[np.uint8] = mixed.round().astype(np.uint8)
    return painted


@dataclass(frozen=True)
class Panel:
    """One picture of a figure: an (H, W, 3) image, a title above and a caption below it."""

    image: NDArray[np.uint8]
    title: str
    caption: str = ""


def figure(rows: Sequence[tuple[str, Sequence[Panel]]]) -> Figure:
    """Rows of panels, each row under its own heading; the colours are explained at the foot."""
    columns = max(len(panels) for _, panels in rows)
    width = columns * PANEL_INCHES + 2 * MARGIN_INCHES
    height = len(rows) * (HEAD_INCHES + PANEL_INCHES + CAPTION_INCHES) + FOOT_INCHES
    drawn = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(drawn)
    top = height
    for heading, panels in rows:
        middle = (top - 0.22) / height
        text = drawn.text(0.5, middle, heading, ha="center", va="center", size=13, weight="bold")
        text.set_parse_math(False)
        bottom = top - HEAD_INCHES - PANEL_INCHES
        for column, panel in enumerate(panels):
            left = MARGIN_INCHES + column * PANEL_INCHES + GAP_INCHES / 2
            side = PANEL_INCHES - GAP_INCHES
            _draw(drawn, panel, (left / width, bottom / height, side / width, side / height))
        top = bottom - CAPTION_INCHES
    _explain_colors(drawn, width, height)
    return drawn


def _draw(drawn: Figure, panel: Panel, box: tuple[float, float, float, float]) -> None:
    axes = drawn.add_axes(box)
    axes.imshow(panel.image, interpolation="nearest")
    size = _fitting(panel.title, 10, 38)
    axes.set_title(panel.title, size=size, pad=4, parse_math=False)
    size = _fitting(panel.caption, 8.5, 46)
    axes.set_xlabel(panel.caption, size=size, labelpad=4, color="#444444", parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#cccccc")


def _fitting(text: str, size: float, room: int) -> float:
    """A font size that keeps a text within its panel; at `size`, `room` letters fit."""
    return min(size, size * room / max(len(text), 1))


def _explain_colors(drawn: Figure, width: float, height: float) -> None:
    bar = drawn.add_axes((0.5 - 1.2 / width, 0.16 / height, 2.4 / width, 0.13 / height))
    drawn.colorbar(
        ScalarMappable(Normalize(-1, 1), COLORS), cax=bar, orientation="horizontal", ticks=[]
    )
    bar.text(-1.08, 0.5, "against the class", ha="right", va="center", size=9, color="#2f7fc4")
    bar.text(1.08, 0.5, "for the class", ha="left", va="center", size=9, color="#c0301f")


def save_png(drawn: Figure, path: Path) -> None:
    """Write a figure whole or not at all, and leave no other file behind.

    Raises:
        OSError: the folder cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with warnings.catch_warnings():  # a letter that the font lacks becomes a box, no more
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            drawn.savefig(unfinished, format="png", pil_kwargs={"optimize": True})
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
