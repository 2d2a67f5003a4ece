"""A synthetic scene of any size, of which a window is computed when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relprop.graph.intervals import Box

WAVES = ((3, 5, 0.0), (17, 11, 1.0), (61, 47, 2.0), (149, 173, 0.5), (7, 401, 1.5))
"""Lengths of waves down and across, in pixels, and their phases."""
NAME = "waves"
"""What names of scenes begin with."""


@dataclass(frozen=True)
class Scene:
    """Waves of many lengths that differ from channel to channel, in eight bits, shape (3, n, n)."""

    pixels: int

    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return 3, self.pixels, self.pixels

    @property
    def name(self) -> str:
        """By its size."""
        return f"{NAME}, {self.pixels} pixels a side"

    def window(self, box: Box) -> NDArray[Any]:
        """The pixels of a box, shape (3, h, w)."""
        rows, columns = (np.arange(*interval, dtype=np.float32) for interval in box)
        channels = []
        for channel in range(3):
            total = np.zeros((len(rows), len(columns)), np.float32)
            for down, across, phase in WAVES:
                at = phase * (1 + channel)
                total += np.sin(rows / down + at)[:, None] * np.cos(columns / across - at)
            channels.append(127.5 + 25.5 * total)
        return np.stack(channels).clip(0, 255).astype(np.uint8)
