"""Smaller copies of an image of relevance, as viewers open them: OME-Zarr 0.5.

A pixel of a level is the sum of the four below it, so every level sums to what was explained. (A
mean would show less and less of what cancels beside one another, and sum to a quarter each time.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from relprop.attribution.tiling.planner import boxes
from relprop.large.packages import require

AXES = (("c", "channel"), ("y", "space"), ("x", "space"))


def create_level(
    group: Any, level: int, shape: tuple[int, ...], dtype: np.dtype[Any], chunk: int
) -> Any:
    """An empty level, in place of what there may be of it."""
    blosc = require("zarr.codecs").BloscCodec
    return group.create_array(
        str(level),
        shape=shape,
        chunks=(shape[0], *(min(chunk, n) for n in shape[1:])),
        dtype=dtype,
        fill_value=0,
        compressors=blosc(cname="zstd", clevel=3, shuffle="shuffle"),
        dimension_names=[name for name, _ in AXES],
        overwrite=True,
    )


def add_levels(group: Any, chunk: int) -> int:
    """Add to level 0 those above it, until one is a single chunk; how many there are."""
    level, below = 0, group["0"]
    while max(below.shape[1:]) > chunk:
        level += 1
        shape = (below.shape[0], *(-(-n // 2) for n in below.shape[1:]))
        above = create_level(group, level, shape, below.dtype, chunk)
        for (top, bottom), (left, right) in boxes(shape[1:], chunk):
            four = below[:, 2 * top : 2 * bottom, 2 * left : 2 * right]
            above[:, top:bottom, left:right] = halved(four)
        below = above
    return level + 1


def halved(image: NDArray[Any]) -> NDArray[Any]:
    """Sums of two by two pixels, shape (C, H, W) to (C, ceil(H/2), ceil(W/2))."""
    c, h, w = image.shape
    even = np.pad(image, ((0, 0), (0, h % 2), (0, w % 2)))
    fours = even.reshape(c, -(-h // 2), 2, -(-w // 2), 2)
    sums: NDArray[Any] = fours.sum(axis=(2, 4), dtype=np.float64)
    return sums.astype(image.dtype)


def metadata(count: int) -> dict[str, Any]:
    """What OME-Zarr 0.5 says of an image with so many levels, in pixels of the largest."""
    datasets = []
    for level in range(count):
        size, shift = 2.0**level, (2.0**level - 1) / 2
        transformations = [{"type": "scale", "scale": [1.0, size, size]}]
        if level:
            transformations.append({"type": "translation", "translation": [0.0, shift, shift]})
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    return {
        "version": "0.5",
        "multiscales": [
            {
                "name": "relevance",
                "type": "sum",
                "axes": [{"name": name, "type": kind} for name, kind in AXES],
                "datasets": datasets,
            }
        ],
    }
