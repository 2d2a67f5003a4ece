"""Figures into files, whole or not at all."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib.figure import Figure


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write, which becomes `path` at the end, and vanishes where something went wrong.

    Raises:
        OSError: the folder cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def save_png(drawn: Figure, path: Path) -> None:
    """Write a figure whole or not at all, and leave no other file behind.

    Raises:
        OSError: the folder cannot be written.
    """
    with whole(path) as unfinished, warnings.catch_warnings():
        # A letter that the font lacks becomes a box, no more.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        drawn.savefig(unfinished, format="png", pil_kwargs={"optimize": True})
