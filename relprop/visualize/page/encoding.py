"""Pictures and relevance as text that a page can hold."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STEPS = 32767
"""Relevance is kept in so many steps of either sign; zero is one of them."""


@dataclass(frozen=True)
class Texture:
    """A map of relevance that a script can paint: 16-bit numbers, row by row, in base64.

    Pixel i has the relevance `peak * n_i / STEPS`, where n_i is the i-th number, little end first.
    They are no picture, since browsers may alter what they read back of a picture's pixels: they
    manage colours, and some add noise against being recognised.
    """

    values: str
    peak: float
    width: int
    height: int

    @classmethod
    def of(cls, relevance: NDArray[np.float64]) -> Texture:
        """Relevance of shape (H, W), to half a step."""
        peak = float(np.abs(relevance).max())
        steps = np.rint(relevance / (peak or 1.0) * STEPS).astype("<i2")
        height, width = relevance.shape
        return cls(base64.b64encode(steps.tobytes()).decode(), peak, width, height)


def as_base64(values: NDArray[np.uint8]) -> str:
    """Bytes, row by row."""
    return base64.b64encode(values.tobytes()).decode()


def data_uri(image: NDArray[np.uint8]) -> str:
    """An image of shape (H, W, 3) as the address of a PNG that stands in the address itself."""
    png = io.BytesIO()
    Image.fromarray(image).save(png, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"


def content_hash(text: str) -> str:
    """What a content security policy calls an inline script or style sheet by."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
