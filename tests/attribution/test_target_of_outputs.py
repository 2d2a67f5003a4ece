"""What to explain may be a function of the outputs of the forward sweep that is made anyway."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relprop import LRP, DeepLift, InputXGradient, IntegratedGradients, Taylor
from relprop.errors import InvalidInputError

METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "LRP": (LRP, {}),
    "LRP by tiles": (LRP, {"memory_budget": "120KiB"}),
    "DeepLIFT": (DeepLift, {"baselines": "blank"}),
    "input x gradient": (InputXGradient, {}),
    "integrated gradients": (IntegratedGradients, {"n_steps": 3}),
    "Taylor": (Taylor, {"baselines": "blank"}),
}


@pytest.fixture
def model() -> nn.Module:
    layers = [nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4, 5)).double().eval()


def second_likeliest(outputs: Tensor) -> Tensor:
    return outputs.argsort(1)[:, -2]


@pytest.mark.parametrize("name", METHODS)
def test_target_may_be_a_function_of_the_outputs(name: str, model: nn.Module) -> None:
    method, arguments = METHODS[name]
    x = torch.randn(3, 2, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        targets = second_likeliest(model(x))
    found = method(model).attribute(x, target=second_likeliest, **arguments)
    expected = method(model).attribute(x, target=targets, **arguments)
    assert torch.equal(found, expected)


def test_function_may_give_many_targets(model: nn.Module) -> None:
    x = torch.randn(3, 2, 16, 16, dtype=torch.float64)
    found = LRP(model).attribute(x, target=lambda y: y.argsort(1)[:, :2])
    with torch.no_grad():
        order = model(x).argsort(1)
    for k in range(2):
        assert torch.equal(found[:, k], LRP(model).attribute(x, target=order[:, k]))


def test_function_is_held_to_what_targets_are_held_to(model: nn.Module) -> None:
    with pytest.raises(InvalidInputError, match="target 5 is out of range"):
        LRP(model).attribute(torch.randn(1, 2, 9, 9, dtype=torch.float64), target=lambda y: 5)
