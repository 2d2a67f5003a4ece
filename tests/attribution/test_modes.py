"""Explanations under torch's global settings: deterministic algorithms, autocast."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.compat import captum
from relprop.compat.zennit import attribution, composites

METHODS: dict[str, Callable[[nn.Module], Callable[..., Tensor]]] = {
    "LRP": lambda m: relprop.LRP(m).attribute,
    "alpha-beta": lambda m: relprop.LRP(m, "epsilon_alpha2_beta1", max_pool="shared").attribute,
    "DeepLIFT": lambda m: relprop.DeepLift(m, "reveal_cancel", "shapley").attribute,
    "DeepLIFT, blurred": lambda m: (
        lambda x, target: relprop.DeepLift(m).attribute(x, "blur", target)
    ),
    "integrated gradients": lambda m: relprop.IntegratedGradients(m).attribute,
    "captum's DeepLift": lambda m: captum.DeepLift(m).attribute,
    "zennit's gradient": lambda m: lambda x, target: zennit(m, x, target),
}


def zennit(model: nn.Module, x: Tensor, target: int) -> Tensor:
    method = attribution.Gradient(model, composites.EpsilonPlus())
    return method(x, lambda y: y * torch.eye(y.shape[1])[[target]])[1]


@cache
def network() -> nn.Sequential:
    """Without poolings that overlap, so that small errors move nothing from one input to another.

    With enough channels for all kernels.
    """
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(), nn.Conv2d(32, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 4),
    ).eval()  # fmt: skip


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", METHODS)
def test_two_runs_are_the_same_to_the_last_bit(name: str, request: pytest.FixtureRequest) -> None:
    x, explain = torch.randn(2, 3, 16, 16), METHODS[name](network())
    first = explain(x, target=1)
    assert torch.equal(explain(x, target=1), first)
    request.getfixturevalue("deterministic")
    assert torch.equal(explain(x, target=1), first)


@pytest.mark.usefixtures("deterministic")
def test_gradients_of_an_explanation_are_deterministic_too() -> None:
    x, model = torch.randn(2, 3, 16, 16), network()

    def by_weights() -> tuple[Tensor, ...]:
        R = relprop.LRP(model).attribute(x, target=1, create_graph=True)
        found: tuple[Tensor, ...] = torch.autograd.grad(
            R.square().sum(), list(model.parameters()), materialize_grads=True
        )
        return found

    assert all(map(torch.equal, by_weights(), by_weights()))


@pytest.mark.parametrize("name", METHODS)
def test_autocast_changes_nothing_for_explanations_are_made_in_the_models_type(name: str) -> None:
    x = torch.randn(2, 3, 16, 16)
    expected = METHODS[name](network())(x, target=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = METHODS[name](copy.deepcopy(network()))(x, target=1)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", [relprop.LRP, relprop.DeepLift])
def test_an_explanation_under_autocast_agrees_with_one_in_bfloat16(kind: Any) -> None:
    x, model = torch.randn(2, 3, 16, 16).bfloat16(), network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = kind(model).attribute(x, target=1)  # of what a layer under autocast gives
    half = kind(copy.deepcopy(model).bfloat16()).attribute(x, target=1).float()
    assert torch.nn.functional.cosine_similarity(found.flatten(), half.flatten(), 0) > 0.99
