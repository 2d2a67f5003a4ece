"""Networks that captum is wrong on, or raises an error for: here, sums hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relprop.compat import captum as ours
from tests.compat.peer import call, captum


class By(nn.Module):
    """A layer, a function that is no module, a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor], bias: bool = True) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 5, bias=bias), nn.Linear(5, 2, bias=bias)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.function(self.one(x)))


class Twice(nn.Module):
    """One activation, read by two functions."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.one, self.two = nn.Linear(4, 2), nn.Tanh(), nn.Softplus()

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return self.one(y) + self.two(y)


def dense(*functions: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 5), *functions, nn.Linear(5, 2))


def sequence(*between: nn.Module, outputs: int) -> nn.Sequential:
    """For an input of shape (N, 4)."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 3, 1), *between, nn.Flatten(), nn.Linear(outputs, 2)
    )


RELU = nn.ReLU()
#: Networks on which captum's DeepLIFT does not add up, or raises an error.
DIFFERENCES: dict[str, Callable[[], nn.Module]] = {
    "a ReLU under a max pool": lambda: sequence(nn.ReLU(), nn.MaxPool1d(2), outputs=6),
    "overlapping max pools": lambda: sequence(nn.MaxPool1d(3, 1), outputs=6),
    "one function after another": lambda: dense(nn.Tanh(), nn.Sigmoid()),
    "an activation that two functions read": Twice,
    "a module called twice": lambda: dense(RELU, nn.Linear(5, 5), RELU),
    "a functional ReLU": lambda: By(F.relu),
    "a product": lambda: By(lambda x: x * x),
    "a functional softmax": lambda: By(lambda x: x.softmax(-1)),
    "GELU": lambda: dense(nn.GELU()),
    "SELU": lambda: dense(nn.SELU()),
}


def outcome(explain: Callable[[], Any]) -> float:
    """How far the sum is off; infinitely far where there is an error."""
    try:
        _, delta = explain()
    except (RuntimeError, TypeError, AssertionError):
        return float("inf")
    return float(delta.abs().max())


@pytest.mark.parametrize("name", DIFFERENCES)
def test_deeplift_adds_up_where_captums_does_not(name: str) -> None:
    torch.manual_seed(1)
    model = DIFFERENCES[name]().double()
    x, x0 = 2 * torch.randn(16, 4).double(), torch.randn(16, 4).double()
    settings = {"target": 1, "return_convergence_delta": True}
    assert outcome(lambda: ours.DeepLift(model).attribute(x, x0, **settings)) < 1e-12
    assert outcome(lambda: call(captum("DeepLift", model), x, x0, **settings)) > 1e-3


def test_a_softmax_is_explained_example_by_example() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.Softmax(1)).double()
    x = torch.randn(3, 4).double()
    together = ours.DeepLift(model).attribute(x, target=1)
    alone = ours.DeepLift(model).attribute(x[:1], target=1)
    torch.testing.assert_close(together[:1], alone, rtol=1e-10, atol=1e-12)
    explainer = captum("DeepLift", model)
    theirs = call(explainer, x, target=1)[:1] - call(explainer, x[:1], target=1)
    assert theirs.abs().max() > 1e-3


#: Networks without biases on which captum's LRP does not conserve the score, or raises an error.
PROPAGATIONS: dict[str, Callable[[], nn.Module]] = {
    "a functional tanh": lambda: By(torch.tanh, bias=False),
    "a functional scale": lambda: By(lambda x: 3 * x.relu(), bias=False),
    "a bare addition": lambda: By(lambda x: x + x.relu(), bias=False),
    "a layer called twice": lambda: nn.Sequential(*[nn.Linear(4, 4, bias=False)] * 2),
    "a sigmoid": lambda: nn.Sequential(
        nn.Linear(4, 5, bias=False), nn.Sigmoid(), nn.Linear(5, 2, bias=False)
    ),
    "flatten": lambda: nn.Sequential(nn.Linear(4, 5, bias=False), nn.Flatten()),
    "a convolution in one dimension": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 3, 2, bias=False), nn.Flatten()
    ),
    "a single layer": lambda: nn.Linear(4, 2, bias=False),
}


@pytest.mark.parametrize("name", PROPAGATIONS)
def test_lrp_conserves_the_score_where_captums_does_not(name: str) -> None:
    torch.manual_seed(1)
    model = PROPAGATIONS[name]().double()
    x = torch.randn(16, 4).double()
    settings = {"target": 1, "return_convergence_delta": True}
    assert outcome(lambda: ours.LRP(model).attribute(x, **settings)) < 1e-5
    assert outcome(lambda: call(captum("LRP", model), x, **settings)) > 1e-3


def test_relevance_of_an_activation_function_is_that_of_the_layer_below() -> None:
    model = dense(nn.ReLU()).double()
    x = torch.randn(3, 4).double()
    at_function = ours.LayerLRP(model, model[1]).attribute(x, 1)
    at_layer = ours.LayerLRP(model, model[0]).attribute(x, 1)
    torch.testing.assert_close(at_function, at_layer, rtol=1e-10, atol=1e-12)
    with pytest.raises(AttributeError):
        call(captum("LayerLRP", model, "1"), x, 1)


def test_a_model_in_several_parts_for_several_devices_is_the_model_inside() -> None:
    model = dense(nn.Tanh()).double()
    spread = nn.DataParallel(model)
    x = torch.randn(3, 4).double()
    assert torch.equal(
        ours.DeepLift(spread).attribute(x, target=1), ours.DeepLift(model).attribute(x, target=1)
    )
    expected = ours.LayerLRP(model, model[0]).attribute(x, 1)
    assert torch.equal(ours.LayerLRP(spread, model[0]).attribute(x, 1), expected)
