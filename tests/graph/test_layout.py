"""On a CPU, images run through a graph in channels-last order, whatever order they came in."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.graph.sweep import Sweep


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 4, 1), nn.ReLU(), nn.ConvTranspose2d(4, 4, 2), nn.Flatten()),
        nn.Linear(4 * 8 * 8, 3),
    ).eval()


@pytest.fixture
def activations(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The images of every forward sweep from now on."""
    found: list[Tensor] = []
    forward = Sweep.forward

    def watched(self: Sweep, *arguments: object) -> object:
        run = forward(self, *arguments)
        found.extend(value for value in run.values.values() if value.dim() == 4)
        return run

    monkeypatch.setattr(Sweep, "forward", watched)
    return found


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_single_precision_images_are_channels_last(
    order: torch.memory_format, activations: list[Tensor]
) -> None:
    model, x = network(), torch.randn(2, 3, 16, 16).contiguous(memory_format=order)
    found = relprop.LRP(model).attribute(x, target=0)
    assert activations
    assert all(v.is_contiguous(memory_format=torch.channels_last) for v in activations)
    assert found.is_contiguous()
    exact = relprop.LRP(network().double()).attribute(x.double(), target=0)
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-5 * float(exact.max()))


def test_what_comes_back_does_not_depend_on_the_order_that_came_in() -> None:
    model, x = network(), torch.randn(2, 3, 16, 16)
    deeplift = relprop.DeepLift(model, "reveal_cancel", "shapley")
    assert torch.equal(
        deeplift.attribute(x, target=0),
        deeplift.attribute(x.contiguous(memory_format=torch.channels_last), target=0),
    )


def test_double_precision_stays_as_it_came(activations: list[Tensor]) -> None:
    relprop.LRP(network().double()).attribute(torch.randn(2, 3, 16, 16).double(), target=0)
    assert activations and all(v.is_contiguous() for v in activations)


def test_the_weight_of_a_one_by_one_convolution_is_not_copied() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)).eval()
    lrp = relprop.LRP(model).prepare(torch.randn(1, 3, 1, 1))
    (plan,) = lrp._plans
    weight = plan.constants()[plan.graph.nodes[0].weight]
    assert weight.data_ptr() == model[0].weight.data_ptr()
