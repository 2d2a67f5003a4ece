"""Explanations to be measured, each in a fresh process: within a budget in files, or as a whole."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.cost.fresh import Say
from benchmarks.cost.memory import peak, reset_peak, resident
from benchmarks.large.scene import Scene
from relprop import LRP
from relprop.attribution.attributor import corner_size
from relprop.cli.loading import load_model
from relprop.cli.zoo import BUILT_IN
from relprop.large import Normalise, explain_large

MODEL = "efficientnet-lite0"
TARGET = 281
STEP = 5
"""Percent between two lines of progress."""


def explain_in_files(pixels: int, budget: str, folder: str, say: Say) -> dict[str, Any]:
    """Explain a scene into a Zarr group; to be called in a fresh process."""
    method, preprocess, scene = LRP(load_model(MODEL)), _normalise(), Scene(pixels)
    tiny = Scene(corner_size(512))
    _warm(method, preprocess, tiny)
    said = 0

    def watch(share: float) -> None:
        nonlocal said
        if 100 * share >= said + STEP:
            said = int(100 * share)
            say(f"{said} %")

    before, how, begun = resident(), reset_peak(), time.monotonic()
    found = explain_large(
        method,
        scene,
        Path(folder) / "relevance.zarr",
        TARGET,
        preprocess=preprocess,
        memory_budget=budget,
        watch=watch,
    )
    seconds = time.monotonic() - begun
    assert found.chain is not None
    return {
        "seconds": seconds,
        "rise": peak(how) - before,
        "how": how,
        "planned": found.chain.peak,
        "work": found.chain.work,
        "score": found.score,
        "sum": found.sum,
        "chain": str(found.chain),
    }


def explain_in_memory(pixels: int, _: Say) -> dict[str, Any]:
    """Explain it as a whole, by `attribute`; to be called in a fresh process."""
    method, preprocess = LRP(load_model(MODEL)), _normalise()
    _warm(method, preprocess, Scene(corner_size(512)))
    x = _whole(Scene(pixels), preprocess)
    before, how, begun = resident(), reset_peak(), time.monotonic()
    relevance = method.attribute(x, target=TARGET)
    seconds = time.monotonic() - begun
    total = relevance.double().sum().item()
    return {"seconds": seconds, "rise": peak(how) - before, "how": how, "sum": total}


def _normalise() -> Normalise:
    expected = BUILT_IN[MODEL].preprocessing
    return Normalise(expected.mean, expected.std)


def _whole(scene: Scene, preprocess: Normalise) -> torch.Tensor:
    everywhere = ((0, scene.pixels), (0, scene.pixels))
    return preprocess(torch.from_numpy(scene.window(everywhere)))[None]


def _warm(method: LRP, preprocess: Normalise, tiny: Scene) -> None:
    """Load libraries, start threads, capture the model, derive what is kept of its weights."""
    method.attribute(_whole(tiny, preprocess), target=TARGET)
