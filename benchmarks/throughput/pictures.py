"""Pictures to explain: crops of the two photographs of the demo, as JPEG files."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

from relprop.cli.images import read_picture
from relprop.cli.zoo import sample_pictures

SIDE = 224
QUALITY = 90


def make_pictures(folder: Path, count: int) -> list[Path]:
    """So many files in an empty folder, the same every time.

    Raises:
        MissingPackageError: the photographs are not installed.
    """
    photographs = [read_picture(path) for path in sample_pictures()]
    chance = random.Random(0)
    folder.mkdir(parents=True)
    paths = []
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        side = chance.randint(SIDE, min(photograph.size))
        left, top = (chance.randint(0, length - side) for length in photograph.size)
        crop = photograph.crop((left, top, left + side, top + side))
        paths.append(folder / f"{number:05}.jpg")
        crop.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(paths[-1], quality=QUALITY)
    return paths
