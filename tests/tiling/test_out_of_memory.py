"""A GPU without enough memory: what is said, and that nothing is left behind."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.attribution import tiled
from relprop.graph.sweep import Sweep

METHODS = [relprop.LRP, relprop.DeepLift, relprop.Gradient, relprop.InputXGradient]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
    ).double()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Tensor]]:
    """The activations of sweeps, of which each runs out of memory on its way back."""
    seen: list[weakref.ref[Tensor]] = []

    def backward(sweep: Sweep, context: Any, runs: Any, *others: Any, **more: Any) -> Any:
        activations = [t for run in runs for name, t in run.values.items()]
        inputs = [run.values.get(name) for run in runs for name in sweep.graph.inputs]
        seen.extend(weakref.ref(t) for t in activations if not any(t is x for x in inputs))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(Sweep, "backward", backward)
    return seen


@pytest.mark.parametrize("method", METHODS)
def test_it_is_said_what_would_fit_and_nothing_is_left(
    method: Any, held: list[weakref.ref[Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer, x = method(network()), torch.randn(1, 3, 64, 64, dtype=torch.float64)
    untiled = explainer.tiling(x, "1GiB", target=1).untiled
    monkeypatch.setattr(tiled, "free_memory", lambda device, taken: untiled)
    with pytest.raises(relprop.OutOfMemoryError) as caught:
        explainer.attribute(x, target=1)
    said = str(caught.value)
    assert said.startswith("the GPU ran out of memory: an explanation takes about ")
    assert "are free; memory_budget='" in said and said.endswith(" tiles")
    budget = said.split("'")[1]
    assert len(explainer.tiling(x, budget, target=1).boxes) == int(said.split()[-2])
    assert isinstance(caught.value, torch.OutOfMemoryError)
    del caught
    gc.collect()
    kept = [] if method is not relprop.DeepLift else list(explainer._plans[0].kept.run.values)
    assert held and sum(one() is not None for one in held) <= len(kept)


def test_where_nothing_fits_that_is_said(
    held: list[weakref.ref[Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiled, "free_memory", lambda device, taken: 1000)
    sentence = r"ran out of memory: memory_budget must be enough .* untiled takes .* MiB"
    with pytest.raises(relprop.OutOfMemoryError, match=sentence):
        relprop.LRP(network()).attribute(torch.randn(1, 3, 64, 64).double(), target=1)


def test_where_it_was_to_fit_less_is_advised(
    held: list[weakref.ref[Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiled, "free_memory", lambda device, taken: 2**30)
    sentence = r"takes about .* and 1 GiB are free; give a memory_budget of less than that"
    with pytest.raises(relprop.OutOfMemoryError, match=sentence):
        relprop.LRP(network()).attribute(torch.randn(1, 3, 64, 64).double(), target=1)
