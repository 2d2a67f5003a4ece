"""zennit's colour maps: stops in hexadecimal digits, such as `"00f,80:fff,f00"`."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from relprop.errors import InvalidInputError

STOP = re.compile(
    r"((?P<place>[0-9a-f]{1,2}):)?(?P<color>[0-9a-f]{6}|[0-9a-f]{3})", flags=re.IGNORECASE
)
CMAPS = {
    "gray": "000,fff",
    "wred": "fff,f00",
    "wblue": "fff,00f",
    "hot": "000,f00,ff0,fff",
    "cold": "000,00f,0ff",
    "coldnhot": "0ff,00f,80:000,f00,ff0,fff",
    "bwr": "00f,80:fff,f00",
    "france": "0055a4,80:fff,ef4135",
    "seismic": "0000d0,80:d0d0d0,d00000",
    "coolio": "00d0d0,80:d0d0d0,d000d0",
    "coleus": "00d000,80:d0d0d0,d000d0",
}
"""The colour maps that have a name."""


class ColorMap:
    """Colours between stops, each a colour, perhaps with a place from 00 to ff before it.

    Args:
        source: the stops, such as `"00f,80:fff,f00"`; those without a place are spread evenly.

    Raises:
        InvalidInputError: it has no such form, or places are not in order.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        stops = [STOP.fullmatch(part.strip()) for part in source.split(",")]
        if len(stops) < 2 or None in stops:
            raise InvalidInputError(
                f"a colour map must be one of {', '.join(CMAPS)}, or stops such as "
                f"'00f,80:fff,f00'; got {source!r}"
            )
        found = [stop for stop in stops if stop is not None]
        self._places = _places([stop["place"] for stop in found])
        if (np.diff(self._places) < 0).any():
            raise InvalidInputError(f"places of colours must be in order; got {source!r}")
        self._colors = np.array([_rgb(stop["color"]) for stop in found])

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Colours from 0 to 1, shape (..., 3), of values from 0 to 1."""
        places = np.clip(x * 255, 0, 255)
        channels = [np.interp(places, self._places, channel) for channel in self._colors.T]
        colors: NDArray[np.float64] = np.stack(channels, -1) / 255
        return colors

    def palette(self, level: float = 1.0) -> NDArray[np.uint8]:
        """256 colours, shape (256, 3); a level above 1 reaches the outer ones sooner."""
        x = (np.linspace(-1, 1, 256) * level + 1) / 2
        colors: NDArray[np.uint8] = (self(x.clip(0, 1)) * 255).round(12).astype(np.uint8)
        return colors


def get_cmap(cmap: str | ColorMap) -> ColorMap:
    """A colour map by its name, by its stops, or as it is."""
    return cmap if isinstance(cmap, ColorMap) else ColorMap(CMAPS.get(cmap, cmap))


def _rgb(color: str) -> list[int]:
    digits = color if len(color) == 6 else "".join(digit * 2 for digit in color)
    return [int(digits[k : k + 2], 16) for k in (0, 2, 4)]


def _places(given: list[str | None]) -> NDArray[np.int64]:
    """A place for every stop: the ends are 0 and 255, what lies between is spread evenly."""
    ends = {0: 0, len(given) - 1: 255}
    known = {k: int(p * 2 if len(p) == 1 else p, 16) for k, p in enumerate(given) if p is not None}
    known = {**ends, **known}
    order = sorted(known)
    return np.interp(range(len(given)), order, [known[k] for k in order]).astype(np.int64)
