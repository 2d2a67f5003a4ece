"""Weights may change between two explanations; derived tensors follow."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

import relprop

X = torch.randn(2, 3, 6, 6, dtype=torch.float64)


def network() -> nn.Module:
    model = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    )
    return model.double().eval()


@torch.no_grad()
def optimizer_step(model: nn.Module) -> None:
    for p in model.parameters():
        p.grad = torch.rand_like(p)
    torch.optim.SGD(model.parameters(), lr=0.5).step()


@torch.no_grad()
def write_in_place(model: nn.Module) -> None:
    model[0].weight.mul_(-1)


def write_through_data(model: nn.Module) -> None:
    model[0].weight.data.mul_(-1)


def other_storage(model: nn.Module) -> None:
    model[0].weight.data = torch.rand_like(model[0].weight)


def other_parameter(model: nn.Module) -> None:
    model[0].weight = nn.Parameter(torch.rand_like(model[0].weight))


def load(model: nn.Module) -> None:
    model.load_state_dict({k: v * 1.5 for k, v in model.state_dict().items()})


def load_by_assignment(model: nn.Module) -> None:
    model.load_state_dict({k: v * 1.5 for k, v in model.state_dict().items()}, assign=True)


def running_statistics(model: nn.Module) -> None:
    model.train()
    model(X)
    model.eval()


CHANGES = [
    *(optimizer_step, write_in_place, write_through_data, other_storage, other_parameter),
    *(load, load_by_assignment, running_statistics),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_an_explanation_follows_the_weights(change: Callable[[nn.Module], None]) -> None:
    model = network()
    lrp, deeplift = relprop.LRP(model), relprop.DeepLift(model)
    before = lrp.attribute(X, target=0), deeplift.attribute(X, target=0)
    change(model)
    fresh = network()
    fresh.load_state_dict(model.state_dict())
    after = lrp.attribute(X, target=0), deeplift.attribute(X, target=0)
    expected = relprop.LRP(fresh), relprop.DeepLift(fresh)
    for old, new, method in zip(before, after, expected, strict=True):
        assert not torch.equal(old, new)
        assert torch.equal(new, method.attribute(X, target=0))


LAYOUTS = {
    "channels last": lambda w: w.contiguous(memory_format=torch.channels_last),
    "every other element": lambda w: w.repeat_interleave(2, -1)[..., ::2],
    "one element for all": lambda w: w[:1, :1, :1, :1].expand_as(w),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_write_through_data_is_noticed_however_the_weight_lies(layout: str) -> None:
    model = network()
    model[0].weight.data = LAYOUTS[layout](model[0].weight.data)
    lrp = relprop.LRP(model, "epsilon")
    before = lrp.attribute(X, target=0)
    model[0].weight.data[0, 0, 0, 0] *= -3
    after = lrp.attribute(X, target=0)
    assert not torch.allclose(before, after)
    fresh = relprop.LRP(copy.deepcopy(model), "epsilon").attribute(X, target=0)
    torch.testing.assert_close(after, fresh)


def test_a_module_put_in_the_place_of_another_is_found() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3)), nn.Flatten(), nn.Linear(64, 2))
    lrp = relprop.LRP(model.double().eval(), "epsilon")
    lrp.attribute(X, target=0)
    model[0] = nn.Sequential(nn.Conv2d(3, 4, 3).double())
    fresh = relprop.LRP(copy.deepcopy(model), "epsilon").attribute(X, target=0)
    torch.testing.assert_close(lrp.attribute(X, target=0), fresh)


def test_derived_weights_are_made_once() -> None:
    model = network()
    from relprop.graph.capture import find_capture
    from relprop.graph.weights import POSITIVE

    constants = find_capture(model, [X]).constants
    name = find_capture(model, [X]).graph.nodes[0].weight
    assert constants.now().derive(name, POSITIVE) is constants.now().derive(name, POSITIVE)


class TwoWays(nn.Module):
    """Takes another way, and so another graph, where images are small."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x)
        return (y if x.shape[-1] > 8 else 2 * y).mean((2, 3))


def test_graphs_of_one_model_share_what_they_derive() -> None:
    model = TwoWays().double().eval()
    lrp = relprop.LRP(model, composite="epsilon_plus")
    for size in (12, 6):
        lrp.attribute(torch.randn(2, 3, size, size).double(), target=0)
    first, second = (plan.capture for plan in lrp._plans)
    folded = [capture.graph.nodes[0].weight for capture in (first, second)]
    assert first.constants is not second.constants
    assert first.constants.now()[folded[0]] is second.constants.now()[folded[1]]
