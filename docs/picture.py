"""Makes the picture of the README: two photographs, each beside its LRP and DeepLIFT maps."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from relprop.cli.choosing import built_in
from relprop.cli.explaining import METHODS, Plan
from relprop.cli.images import read_picture
from relprop.cli.options import DEFAULT_MODEL
from relprop.cli.presenting import heading, panels
from relprop.cli.zoo import sample_pictures
from relprop.visualize import Panel, figure, save_png

SHADES = 36
"""Of red, green and blue each: too many to be seen, and half of the bytes of 256."""


def rows() -> list[tuple[str, list[Panel]]]:
    """A heading and the panels of every photograph."""
    subject = built_in(DEFAULT_MODEL, None, torch.device("cpu"))
    methods = [METHODS[name](subject, Plan()) for name in Plan.methods]
    made = []
    for path in sample_pictures():
        view = subject.view(read_picture(path))
        target = int(view.outputs.argmax())
        attributions = [method(view.inputs, target) for method in methods]
        row = panels(path.name, view, attributions)
        made.append((heading(view, subject.classes, target), row))
    return made


def main(path: Path) -> None:
    """Write the picture, in fewer shades than it had: a README is read over slow lines, too."""
    save_png(figure(rows()), path)
    shades = np.rint(np.asarray(Image.open(path).convert("RGB")) / 255 * (SHADES - 1))
    pixels = np.rint(shades * 255 / (SHADES - 1)).astype(np.uint8)
    Image.fromarray(pixels).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
