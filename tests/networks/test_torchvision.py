"""torchvision's networks as they are, with random weights, in float64."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import relprop
from relprop.baselines import BASELINES

models = pytest.importorskip("torchvision.models")

NETWORKS = {"vgg16": 32, "resnet50": 48, "densenet121": 48}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = getattr(models, request.param)(weights=None).double().eval()
    size = NETWORKS[request.param]
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics that are not those of a fresh layer
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
        elif getattr(module, "bias", None) is not None:
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return model, torch.randn(2, 3, size, size, dtype=torch.float64)


@pytest.mark.parametrize("baseline", ["blank", "blur"])
def test_deeplift_sums_to_the_difference(network: tuple[nn.Module, Tensor], baseline: str) -> None:
    model, x = network
    contributions = relprop.DeepLift(model).attribute(x, baselines=baseline, target=[3, 5])
    x0 = BASELINES[baseline](x)
    with torch.no_grad():
        difference = (model(x) - model(x0))[[0, 1], [3, 5]]
    torch.testing.assert_close(contributions.flatten(1).sum(1), difference, rtol=0, atol=1e-9)


@pytest.mark.parametrize("composite", ["epsilon", "epsilon_plus", "epsilon_plus_flat"])
def test_lrp_accounts_for_the_score(network: tuple[nn.Module, Tensor], composite: str) -> None:
    model, x = network
    report = relprop.LRP(model, composite).report(x, target=[3, 5])
    with torch.no_grad():
        assert report.score == pytest.approx(model(x)[[0, 1], [3, 5]].sum().item(), abs=1e-9)
    assert abs(report.shortfall) < 1e-9
    assert report.bias != 0


@pytest.mark.parametrize("composite", ["epsilon_plus", "epsilon_plus_flat"])
def test_redistributed_relevance_is_the_score(
    network: tuple[nn.Module, Tensor], composite: str
) -> None:
    model, x = network
    lrp = relprop.LRP(model, composite, bias="redistribute")
    _, delta = lrp.attribute(x, target=[3, 5], return_convergence_delta=True)
    assert delta.abs().max() < 1e-9


def test_rewriting_a_residual_network_changes_nothing() -> None:
    """A bare `+`, an in-place step, a reused ReLU: the same as written out with modules."""

    class Block(nn.Module):
        def __init__(self, add: Callable[[Tensor, Tensor], Tensor], relus: list[nn.Module]) -> None:
            super().__init__()
            torch.manual_seed(3)
            self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
            self.head = nn.Linear(3, 2)
            self.relus, self.add = nn.ModuleList(relus), add

        def forward(self, x: Tensor) -> Tensor:
            y = self.relus[0](self.a(x))
            y = self.relus[-1](self.add(self.b(y), x))
            return self.head(y.mean((2, 3)))

    one = nn.ReLU(inplace=True)
    sloppy = Block(lambda a, b: a.add_(b), [one, one]).double()
    tidy = Block(torch.add, [nn.ReLU(), nn.ReLU()]).double()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    for method in (relprop.LRP, relprop.DeepLift):
        assert torch.equal(
            method(sloppy).attribute(x, target=1), method(tidy).attribute(x, target=1)
        )


class Reusing(nn.Module):
    """One convolution called twice, functional ReLUs, a branch that is added in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv(x))
        y = F.relu(self.conv(y))
        y += x
        return self.head(y.mean((2, 3)))


class WrittenOut(nn.Module):
    """The same with a module for each call."""

    def __init__(self, model: Reusing) -> None:
        super().__init__()
        a, b = deepcopy(model.conv), deepcopy(model.conv)
        self.body, self.head = nn.Sequential(a, nn.ReLU(), b, nn.ReLU()), deepcopy(model.head)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.add(self.body(x), x).mean((2, 3)))


def test_a_module_called_twice_is_as_good_as_two_bit_for_bit() -> None:
    model = Reusing().double()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    methods = [partial(relprop.DeepLift, rule=rule) for rule in ("rescale", "reveal_cancel")]
    presets = ("epsilon", "epsilon_plus", "epsilon_alpha2_beta1")
    for method in [*methods, *(partial(relprop.LRP, composite=name) for name in presets)]:
        got, expected = (method(m).attribute(x, target=1) for m in (model, WrittenOut(model)))
        assert torch.equal(got, expected), method
