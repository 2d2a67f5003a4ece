"""Figures into files."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from matplotlib.figure import Figure


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
