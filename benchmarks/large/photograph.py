"""A photograph in a file, of which a window is taken when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from relprop.graph.intervals import Box


@dataclass(frozen=True)
class Photograph:
    """The whole of it, or the `crop` x `crop` pixels in its middle; shape (3, H, W), eight bits."""

    path: Path
    crop: int | None = None

    dtype = np.dtype(np.uint8)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width, by the file's head alone."""
        with Image.open(self.path) as picture:
            sides = (picture.height, picture.width)
        height, width = (min(side, self.crop or side) for side in sides)
        return 3, height, width

    @property
    def name(self) -> str:
        """By its file and its size."""
        _, height, width = self.shape
        return f"{self.path.name}, {width} x {height} pixels"

    def window(self, box: Box) -> NDArray[Any]:
        """The pixels of a box, shape (3, h, w)."""
        rows, columns = (slice(*interval) for interval in box)
        return self._pixels[:, rows, columns]

    @cached_property
    def _pixels(self) -> NDArray[Any]:
        """All of it, decoded when the first window is asked for."""
        with Image.open(self.path) as picture:
            left, top = (
                (whole - own) // 2
                for whole, own in zip(picture.size, self.shape[:0:-1], strict=True)
            )
            box = (left, top, left + self.shape[2], top + self.shape[1])
            return np.asarray(picture.convert("RGB").crop(box)).transpose(2, 0, 1)
