"""zennit's pictures: an array in the colours of a map, or as it is if it has three channels.

It takes pillow, which comes with `relprop[cli]`.
"""

from __future__ import annotations

from os import PathLike
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from relprop.compat.zennit.cmap import CMAPS, ColorMap, get_cmap
from relprop.errors import InvalidInputError

__all__ = ["CMAPS", "get_cmap", "gridify", "imgify", "imsave", "interval_norm_bounds", "palette"]

Array = NDArray[Any]
Grid = bool | tuple[int, int] | list[int]


def palette(cmap: str | ColorMap = "bwr", level: float = 1.0) -> NDArray[np.uint8]:
    """256 colours of a map, shape (256, 3): see `ColorMap.palette`."""
    return get_cmap(cmap).palette(level)


def imgify(
    obj: ArrayLike | Tensor,
    vmin: ArrayLike | None = None,
    vmax: ArrayLike | None = None,
    cmap: str | ColorMap = "bwr",
    level: float = 1.0,
    symmetric: bool = False,
    grid: Grid = False,
    gridfill: ArrayLike | None = None,
) -> Image.Image:
    """A picture of an array.

    Args:
        obj: shape (H, W), or with 1 or 3 channels (C, H, W) or (H, W, C); with `grid` a batch.
        vmin, vmax: the values of the ends of the scale; None for the smallest and largest there
            are, with `grid` in each picture.
        cmap: the colours of what has one channel: a name in `CMAPS`, stops, or a `ColorMap`.
        level: see `ColorMap.palette`.
        symmetric: whether 0 is the middle of the scale.
        grid: whether to put a batch side by side, or in how many rows and columns.
        gridfill: what to put where there is no picture; None for the smallest value.

    Raises:
        InvalidInputError: the array has another shape, or the colour map cannot be read.
    """
    array = _channels_last(_as_array(obj), 1 if grid else 0)
    if array.dtype != np.uint8:
        dim = tuple(range(1 if grid else 0, array.ndim))
        low, high = interval_norm_bounds(array, symmetric, dim)
        low = low if vmin is None else np.asarray(vmin)
        width = (high if vmax is None else np.asarray(vmax)) - low
        shares = (array - low) / np.where(width == 0, 1, width)
        array = (shares * 255).clip(0, 255).astype(np.uint8)
    if grid:
        array = gridify(array, None if isinstance(grid, bool) else grid, gridfill)
    if array.shape[2] == 3:
        return Image.fromarray(array)
    height, width, _ = array.shape
    image = Image.frombytes("P", (width, height), array.tobytes())
    image.putpalette(palette(cmap, level).tobytes())
    return image


def imsave(
    fp: str | PathLike[str] | IO[bytes],
    obj: ArrayLike | Tensor,
    vmin: ArrayLike | None = None,
    vmax: ArrayLike | None = None,
    cmap: str | ColorMap = "bwr",
    level: float = 1.0,
    grid: Grid = False,
    format: str | None = None,
    writer_params: dict[str, Any] | None = None,
    symmetric: bool = False,
    gridfill: ArrayLike | None = None,
) -> None:
    """Write what `imgify` makes to a file; `format` and `writer_params` are pillow's."""
    image = imgify(obj, vmin, vmax, cmap, level, symmetric, grid, gridfill)
    image.save(fp, format=format, **(writer_params or {}))


def gridify(
    obj: ArrayLike | Tensor,
    shape: tuple[int, int] | list[int] | None = None,
    fill_value: ArrayLike | None = None,
) -> Array:
    """A batch of pictures side by side, shape (rows * H, columns * W, C).

    Args:
        obj: shape (N, H, W), (N, C, H, W) or (N, H, W, C), with 1 or 3 channels.
        shape: rows and columns; None for about as many of each.
        fill_value: what to put where there is no picture; None for the smallest value.
    """
    array = _channels_last(_as_array(obj), 1)
    count, height, width, channels = array.shape
    columns = max(1, int(count**0.5)) if shape is None else shape[1]
    rows = -(-count // columns) if shape is None else shape[0]
    empty = array.min((0, 1, 2)) if fill_value is None else np.asarray(fill_value)
    cells = np.empty((rows * columns, height, width, channels), array.dtype)
    cells[:] = empty.astype(array.dtype)
    cells[:count] = array[: rows * columns]
    lines = cells.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    together: Array = lines.reshape(rows * height, columns * width, channels)
    return together


def interval_norm_bounds(
    input: Array, symmetric: bool = False, dim: tuple[int, ...] | None = None
) -> tuple[Array, Array]:
    """The smallest and largest values over `dim`; with `symmetric` the largest magnitude, +-."""
    dims = tuple(range(1, input.ndim)) if dim is None else dim
    if symmetric:
        largest = np.abs(input).max(dims, keepdims=True)
        return -largest, largest
    return input.min(dims, keepdims=True), input.max(dims, keepdims=True)


def _as_array(obj: ArrayLike | Tensor) -> Array:
    return obj.detach().cpu().numpy() if isinstance(obj, Tensor) else np.asarray(obj)


def _channels_last(array: Array, batch: int) -> Array:
    """Shape (H, W, C), after a batch dimension if there is one."""
    if array.ndim == batch + 2:
        return array[..., None]
    if array.ndim == batch + 3 and array.shape[-1] in (1, 3):
        return array
    if array.ndim == batch + 3 and array.shape[batch] in (1, 3):
        return np.moveaxis(array, batch, -1)
    raise InvalidInputError(
        f"a picture must have shape (H, W), or (C, H, W) or (H, W, C) with 1 or 3 channels"
        f"{', after a batch dimension' if batch else ''}; got {array.shape}"
    )
