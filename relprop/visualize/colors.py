"""Relevance in colour, pixel by pixel: symmetric about zero, and nothing shifted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from relprop.errors import InvalidInputError, InvalidTypeError
from relprop.rules.support import choose


@dataclass(frozen=True)
class ColorMap:
    """Colours of values from `lowest` to 1, where 1 is the magnitude that gets full colour.

    Attributes:
        colors: matplotlib's map from 0..1, of an odd number of steps, so that zero has one.
        lowest: -1, or 0 where negative values look like zero.
        against, in_favour: colours of words that explain the two ends.
    """

    colors: LinearSegmentedColormap
    lowest: float
    against: str
    in_favour: str

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Colours of values, shape (..., 3); what is out of range gets the colour of the end."""
        places = (values.clip(self.lowest, 1) - self.lowest) / (1 - self.lowest)
        painted: NDArray[np.uint8] = self.colors(places, bytes=True)[..., :3]
        return painted


def _color_map(lowest: float, stops: list[str], words: tuple[str, str]) -> ColorMap:
    return ColorMap(LinearSegmentedColormap.from_list("", stops, N=257), lowest, *words)


COLOR_MAPS = {
    "red-blue": _color_map(
        -1, ["#08306b", "#2f7fc4", "#ffffff", "#e2402c", "#67000d"], ("#2f7fc4", "#c0301f")
    ),
    "yellow-blue": _color_map(-1, ["#00224e", "#7c7c7c", "#fee838"], ("#00224e", "#a08c00")),
    "positive": _color_map(0, ["#ffffff", "#e2402c", "#67000d"], ("#444444", "#c0301f")),
}
"""What `colors` may be.

`red-blue`: red for, blue against, white for neither; equal magnitudes are equally light.
`yellow-blue`: lightness grows from against to for, over a grey zero, as in cividis (Nuñez et al.
2018), so that the sign survives a grey printer and all kinds of colour blindness.
`positive`: white to red, for rules that give nothing negative; less than zero looks like zero.
"""
DEFAULT_COLORS = "red-blue"
PERCENTILE = 99.5
"""The magnitude that gets full colour: higher ones are few, and would leave the rest pale."""


def total(relevance: Tensor) -> NDArray[np.float64]:
    """One number a pixel, shape (H, W): relevance summed over the channels.

    Args:
        relevance: shape (C, H, W) or (H, W), or a batch of one, (1, C, H, W).

    Raises:
        InvalidTypeError: it is no tensor. InvalidInputError: it has another shape, or is not
            finite.
    """
    if not isinstance(relevance, Tensor):
        raise InvalidTypeError(f"relevance must be a tensor, not {type(relevance).__name__}")
    shape = tuple(relevance.shape)
    if len(shape) == 4 and shape[0] != 1:
        raise InvalidInputError(
            f"relevance must be that of one input, (C, H, W), not a batch of {shape[0]}, {shape}; "
            "pass relevance[i], or the batch to relprop.visualize.grid"
        )
    if len(shape) not in (2, 3, 4) or 0 in shape:
        raise InvalidInputError(
            f"relevance must have the shape (C, H, W) or (H, W), and no side of 0, not {shape}"
        )
    values: NDArray[np.float64] = relevance.detach().cpu().double().numpy()
    if not np.isfinite(values).all():
        raise InvalidInputError("relevance must be finite to be drawn, but holds NaN or infinity")
    summed: NDArray[np.float64] = values.reshape(-1, *shape[-2:]).sum(0)
    return summed


def limit(relevance: Tensor, percentile: float = PERCENTILE) -> float:
    """The magnitude that gets full colour, > 0: a percentile of the magnitudes of `total`."""
    return limit_of([total(relevance)], percentile)


def limit_of(maps: list[NDArray[np.float64]], percentile: float = PERCENTILE) -> float:
    """The magnitude that gets full colour in all of some maps (H, W), whatever their sizes."""
    magnitudes = np.abs(np.concatenate([values.ravel() for values in maps]))
    return float(np.percentile(magnitudes, percentile)) or float(magnitudes.max()) or 1.0


def heat_map(
    relevance: Tensor, scale: float | None = None, colors: str = DEFAULT_COLORS
) -> NDArray[np.uint8]:
    """Relevance in colour, shape (H, W, 3).

    Args:
        relevance: as in `total`.
        scale: the magnitude that gets full colour, > 0, by default `limit`.
        colors: one of `COLOR_MAPS`.

    Raises:
        InvalidInputError, InvalidTypeError: an argument is none of the above.
    """
    color_map: ColorMap = choose(COLOR_MAPS, colors, "colors")
    values = total(relevance)
    return color_map(values / (limit_of([values]) if scale is None else check_scale(scale)))


def check_scale(scale: float) -> float:
    """`scale`, if it can be the magnitude of full colour."""
    if not (np.isfinite(scale) and scale > 0):
        raise InvalidInputError(f"scale must be a finite number greater than 0, not {scale}")
    return scale


def overlay(
    picture: ArrayLike,
    relevance: Tensor,
    scale: float | None = None,
    colors: str = DEFAULT_COLORS,
) -> NDArray[np.uint8]:
    """The picture, pale and grey, under its relevance: shape (H, W, 3).

    Opacity is the magnitude: full colour covers the picture, and zero leaves it bare. Printed in
    grey, an overlay shows no signs, whatever its colours; a `heat_map` in yellow and blue does.

    Args:
        picture: shape (H, W, 3) or (H, W), values 0..255, as large as the relevance.
        relevance, scale, colors: as in `heat_map`.

    Raises:
        InvalidInputError, InvalidTypeError: an argument is none of the above.
    """
    color_map: ColorMap = choose(COLOR_MAPS, colors, "colors")
    values = total(relevance)
    values = values / (limit_of([values]) if scale is None else check_scale(scale))
    pixels = np.asarray(picture, dtype=np.float64)
    if pixels.shape not in (values.shape, (*values.shape, 3)):
        raise InvalidInputError(
            f"the picture under relevance of {values.shape[0]} x {values.shape[1]} pixels must "
            f"have the shape {(*values.shape, 3)} or {values.shape}, not {pixels.shape}"
        )
    gray = pixels if pixels.ndim == 2 else pixels.mean(-1)
    pale = (255 - 0.45 * (255 - gray))[..., None]
    values = values.clip(color_map.lowest, 1)
    # Weak relevance is thin, and so it need not be pale: it would bleach the picture.
    strong = np.sign(values) * np.abs(values).clip(0.5, 1)
    mixed = pale + np.abs(values)[..., None] * (color_map(strong) - pale)
    painted: NDArray[np.uint8] = mixed.round().astype(np.uint8)
    return painted
