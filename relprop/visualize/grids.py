"""Many maps beside each other: inputs against methods, and layer after layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from relprop.errors import InvalidInputError, InvalidTypeError
from relprop.rules.support import choose
from relprop.visualize.colors import (
    DEFAULT_COLORS,
    check_scale,
    heat_map,
    limit_of,
    overlay,
    total,
)
from relprop.visualize.panels import Key, Panel, figure

Place = tuple[int, int]
"""Row and column of a map."""
Maps = dict[Place, NDArray[np.float64]]
SCALES: dict[str, Callable[[Place], object]] = {
    "map": lambda place: place,
    "row": lambda place: place[0],
    "column": lambda place: place[1],
    "all": lambda place: None,
}
"""Maps for which these functions are equal share the magnitude that gets full colour."""


def grid(
    inputs: Tensor | Sequence[ArrayLike],
    maps: Mapping[str, Tensor],
    *,
    rows: Sequence[str] = (),
    colors: str = DEFAULT_COLORS,
    scale: str | float = "map",
    over_inputs: bool = False,
    medium: str = "screen",
) -> Figure:
    """Rows of inputs, and beside each input one map a method.

    Args:
        inputs: a batch (N, C, H, W) of 1 or 3 channels, each example drawn from its least value in
            black to its greatest in white; or N pictures of shape (H, W, 3) or (H, W), with values
            0..255, drawn as they are.
        maps: a title for each column, and its relevance, (N, C, H, W) or (N, H, W).
        rows: a heading for each row, or none at all.
        colors: one of `COLOR_MAPS`.
        scale: which maps share the magnitude that gets full colour: those of one `"row"`, of one
            `"column"`, `"all"`, or each `"map"` has its own; or this magnitude, > 0, for all.
        over_inputs: draw maps over the inputs, which must be as large.
        medium: `"screen"` or `"print"`: what the resolution is for.

    Raises:
        InvalidInputError, InvalidTypeError: an argument is none of the above.

    Example:
        >>> figure = grid(images, {"LRP": relevance, "DeepLIFT": contributions}, scale="row")
        >>> save_png(figure, Path("methods.png"))
    """
    pictures = _pictures(inputs)
    if rows and len(rows) != len(pictures):
        raise InvalidInputError(f"rows must have {len(pictures)} headings, not {len(rows)}")
    found: dict[Place, Tensor] = {}
    for column, (title, relevance) in enumerate(maps.items()):
        for row, example in enumerate(_examples(title, relevance, len(pictures))):
            found[row, column] = example
    scales = _scales({place: total(relevance) for place, relevance in found.items()}, scale)
    shared = _shared(scales, scale)
    drawn = []
    for row, picture in enumerate(pictures):
        panels = [Panel(picture, "input")]
        for column, title in enumerate(maps):
            place = row, column
            image = (
                overlay(picture, found[place], scales[place], colors)
                if over_inputs
                else heat_map(found[place], scales[place], colors)
            )
            panels.append(Panel(image, title, "" if shared else _full(scales[place])))
        drawn.append((rows[row] if rows else "", panels))
    return figure(drawn, Key(colors, shared), medium)


def layer_maps(
    layers: Mapping[str, Tensor],
    *,
    columns: int = 4,
    colors: str = DEFAULT_COLORS,
    scale: str | float = "map",
    medium: str = "screen",
) -> Figure:
    """The relevance of inner layers, in the order given, every position a square of one colour.

    Maps are as large as each other, whatever their resolution: nothing is interpolated.

    Args:
        layers: a title for each map, such as a module path, and its relevance: (C, h, w), summed
            over the channels, (h, w), or a batch of one.
        columns: maps in a row, > 0.
        colors: one of `COLOR_MAPS`.
        scale: `"map"`, `"all"`, or a magnitude, as in `grid`.
        medium: `"screen"` or `"print"`: what the resolution is for.

    Raises:
        InvalidInputError, InvalidTypeError: an argument is none of the above.
    """
    if columns < 1:
        raise InvalidInputError(f"columns must be greater than 0, not {columns}")
    if scale in ("row", "column"):
        raise InvalidInputError(f"scale must be 'map', 'all' or a magnitude, not {scale!r}")
    places = {title: divmod(number, columns) for number, title in enumerate(layers)}
    totals: Maps = {}
    for title, relevance in layers.items():
        try:
            totals[places[title]] = total(relevance)
        except (InvalidInputError, InvalidTypeError) as fault:
            raise type(fault)(f"layer '{title}': {fault}") from None
    scales = _scales(totals, scale)
    shared = _shared(scales, scale)
    rows: list[tuple[str, list[Panel]]] = []
    for title, relevance in layers.items():
        place = places[title]
        size = " x ".join(map(str, relevance.shape[-3:]))
        caption = f"{size}, sum {totals[place].sum():.3g}"
        if not shared:
            caption += f", {_full(scales[place])}"
        if place[1] == 0:
            rows.append(("", []))
        rows[-1][1].append(Panel(heat_map(relevance, scales[place], colors), title, caption))
    return figure(rows, Key(colors, shared), medium)


def _pictures(inputs: Tensor | Sequence[ArrayLike]) -> list[NDArray[np.uint8]]:
    """Inputs as they are drawn, each of shape (H, W, 3)."""
    if not isinstance(inputs, Tensor):
        return [_colored(np.asarray(picture)) for picture in inputs]
    if inputs.dim() != 4 or inputs.shape[1] not in (1, 3):
        raise InvalidInputError(
            f"inputs must have the shape (N, C, H, W) with C 1 or 3, not {tuple(inputs.shape)}; "
            "for others, pass pictures of shape (H, W, 3)"
        )
    values = inputs.detach().cpu().double().permute(0, 2, 3, 1)
    low, high = values.amin((1, 2, 3), keepdim=True), values.amax((1, 2, 3), keepdim=True)
    stretched = 255 * (values - low) / (high - low).clamp(min=1e-30)
    shown: NDArray[np.uint8] = stretched.expand(-1, -1, -1, 3).round().byte().numpy()
    return list(shown)


def _colored(picture: NDArray[np.generic]) -> NDArray[np.uint8]:
    if picture.ndim == 2:
        picture = np.stack([picture] * 3, -1)
    if picture.ndim != 3 or picture.shape[-1] != 3:
        raise InvalidInputError(
            f"a picture must have the shape (H, W, 3) or (H, W), not {picture.shape}"
        )
    shown: NDArray[np.uint8] = picture.astype(np.float64).clip(0, 255).round().astype(np.uint8)
    return shown


def _examples(title: str, relevance: Tensor, count: int) -> list[Tensor]:
    """Each example's relevance out of a column's."""
    if not isinstance(relevance, Tensor):
        raise InvalidTypeError(
            f"the relevance of '{title}' must be a tensor, not {type(relevance).__name__}"
        )
    if relevance.dim() not in (3, 4) or len(relevance) != count:
        raise InvalidInputError(
            f"the relevance of '{title}' must have the shape (N, C, H, W) or (N, H, W) with N "
            f"{count}, one for each input, not {tuple(relevance.shape)}"
        )
    return list(relevance)


def _scales(maps: Maps, scale: str | float) -> dict[Place, float]:
    """For each map the magnitude that gets full colour."""
    if not isinstance(scale, str):
        return dict.fromkeys(maps, check_scale(scale))
    group = choose(SCALES, scale, "scale")
    members: dict[object, list[NDArray[np.float64]]] = {}
    for place, values in maps.items():
        members.setdefault(group(place), []).append(values)
    limits = {name: limit_of(values) for name, values in members.items()}
    return {place: limits[group(place)] for place in maps}


def _shared(scales: dict[Place, float], scale: str | float) -> float | None:
    """The magnitude of full colour, where it was asked to be the same for all maps."""
    everywhere = scale == "all" or not isinstance(scale, str)
    return next(iter(scales.values()), None) if everywhere else None


def _full(scale: float) -> str:
    return f"full colour at {scale:.3g}"
