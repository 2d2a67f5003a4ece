"""Three ways to the same relevance, each from an image's pixels on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import zarr
from torch import Tensor

from benchmarks.large.cases import FILES, MEMORY, WHOLE
from benchmarks.large.photograph import Photograph
from benchmarks.large.scene import Scene
from relprop import LRP
from relprop.attribution.tiling.chain import Chain
from relprop.attribution.tiling.tiling import Tiling
from relprop.large import Normalise, explain_large
from relprop.large.meter import Watch

TARGET = 281
PREPROCESS = Normalise((127 / 255,) * 3, (128 / 255,) * 3)
Image = Scene | Photograph


@dataclass(frozen=True)
class Made:
    """Relevance, an array of shape (3, H, W); and how it was made, if it is asked for."""

    relevance: Any
    plan: Callable[[], Tiling | Chain | None] = lambda: None


def as_a_whole(method: LRP, image: Image, budget: int, folder: Path, watch: Watch) -> Made:
    """By `attribute`."""
    relevance = method.attribute(_input(image), target=TARGET)
    return Made(relevance[0].numpy())


def in_memory(method: LRP, image: Image, budget: int, folder: Path, watch: Watch) -> Made:
    """By `attribute` with what the input leaves of the budget, which is for everything here."""
    x = _input(image)
    left = budget - x.nbytes
    relevance = method.attribute(x, target=TARGET, memory_budget=left)
    return Made(relevance[0].numpy(), lambda: method.tiling(x, left, TARGET))


def in_files(method: LRP, image: Image, budget: int, folder: Path, watch: Watch) -> Made:
    """By `explain_large`, into a Zarr group in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    found = explain_large(
        method,
        image,
        folder / "relevance.zarr",
        TARGET,
        preprocess=PREPROCESS,
        memory_budget=budget,
        watch=watch,
    )
    return Made(zarr.open_array(found.path / "0", mode="r"), lambda: found.chain)


WAYS = {WHOLE: as_a_whole, MEMORY: in_memory, FILES: in_files}


def _input(image: Image) -> Tensor:
    """All of an image, as a network takes it."""
    _, height, width = image.shape
    pixels = image.window(((0, height), (0, width)))
    return PREPROCESS(torch.from_numpy(pixels.copy()))[None]
