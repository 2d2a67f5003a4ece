"""The twenty labelled ImageNet photographs that come with foolbox."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from relprop.cli.images import Preprocessing, read_picture
from relprop.errors import MissingPackageError


@dataclass(frozen=True)
class Photos:
    """Photographs as a network takes them, shape (N, C, H, W), their classes, shape (N,)."""

    images: Tensor
    classes: Tensor
    names: list[str]


def photo_files() -> list[Path]:
    """Where they are, in the order of their names, which end with the class.

    Raises:
        MissingPackageError: foolbox is not installed, or without its photographs.
    """
    spec = importlib.util.find_spec("foolbox")
    folder = Path(spec.origin).parent / "data" if spec and spec.origin else None
    paths = sorted(folder.glob("imagenet_*")) if folder else []
    if not paths:
        raise MissingPackageError(
            "this needs the photographs of foolbox, which are not installed: run make flipping"
        )
    return paths


def load_photos(preprocessing: Preprocessing) -> Photos:
    """All twenty.

    Raises:
        MissingPackageError: foolbox is not installed, or without its photographs.
    """
    paths = photo_files()
    crops = [preprocessing.crop(read_picture(path)) for path in paths]
    return Photos(
        images=torch.cat([preprocessing.tensor(crop) for crop in crops]),
        classes=torch.tensor([int(path.stem.split("_")[-1]) for path in paths]),
        names=[path.stem for path in paths],
    )
