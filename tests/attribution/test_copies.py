"""Methods are pickled and copied with their models, and explain as before."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.rules import lrp

METHODS: dict[str, tuple[Callable[[nn.Module], Any], dict[str, Any]]] = {
    "LRP": (
        lambda m: relprop.LRP(
            m, relprop.Composite([(lrp.first(), lrp.ZBox(low=-1.0, high=torch.ones(1)))])
        ),
        {},
    ),
    "DeepLIFT, its baseline a function": (relprop.DeepLift, {"baselines": torch.zeros_like}),
    "DeepLIFT, its baseline a tensor": (
        lambda m: relprop.DeepLift(m, "reveal_cancel", "shapley"),
        {"baselines": torch.ones(1, 2, 8)},
    ),
    "SmoothGrad": (relprop.SmoothGrad, {"n_samples": 2, "seed": 0}),
}
WAYS: dict[str, Callable[[Any], Any]] = {
    "pickled": lambda method: pickle.loads(pickle.dumps(method)),
    "copied": copy.deepcopy,
}


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3))


@pytest.mark.parametrize("name", METHODS)
def test_a_copy_explains_as_the_original_whether_that_is_prepared_or_not(name: str) -> None:
    make, settings = METHODS[name]
    method, x = make(network()), torch.randn(2, 2, 8)
    copies = [make_copy(method) for make_copy in WAYS.values()]
    expected: Tensor = method.attribute(x, target=1, **settings)
    copies += [make_copy(method) for make_copy in WAYS.values()]
    for copied in copies:
        assert torch.equal(copied.attribute(x, target=1, **settings), expected)
        assert copied.model is not method.model


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_goes_by_the_weights_of_its_own_model(way: str) -> None:
    method, x = relprop.DeepLift(network()), torch.randn(2, 2, 8)
    before = method.attribute(x, target=1)
    copied = WAYS[way](method)
    with torch.no_grad():
        for parameter in method.model.parameters():
            parameter.mul_(2)
    assert torch.equal(copied.attribute(x, target=1), before)
    assert not torch.equal(method.attribute(x, target=1), before)
