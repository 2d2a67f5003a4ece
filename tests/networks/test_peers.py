"""Equal to zennit and captum on networks that these get right."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import relprop

pytestmark = pytest.mark.peers


def network() -> nn.Module:
    """Sequential modules, none reused, non-overlapping pools: nothing that hooks stumble over."""
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, stride=2), nn.ReLU()),
        *(nn.AvgPool2d(2), nn.Conv2d(6, 8, 3, groups=2, bias=False), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(8 * 9, 10), nn.ReLU(), nn.Linear(10, 4)),
    ).double()


X = torch.randn(3, 3, 23, 23, dtype=torch.float64)
TARGETS = torch.tensor([0, 3, 1])


@pytest.mark.parametrize("composite", ["epsilon", "epsilon_plus", "epsilon_plus_flat"])
def test_lrp_equals_zennit(composite: str) -> None:
    composites = pytest.importorskip("zennit.composites")
    rules = pytest.importorskip("zennit.rules")
    types = pytest.importorskip("zennit.types")
    model = network()
    everywhere = [(types.AvgPool, rules.Norm()), (types.Linear, rules.Epsilon(0.01))]
    theirs = {
        "epsilon": composites.LayerMapComposite(
            [*everywhere, (types.Convolution, rules.Epsilon(0.01))]
        ),
        "epsilon_plus": composites.EpsilonPlus(epsilon=0.01),
        "epsilon_plus_flat": composites.EpsilonPlusFlat(epsilon=0.01),
    }
    x = X.clone().requires_grad_()
    with theirs[composite].context(model) as modified:
        y = modified(x)
        seed = torch.zeros_like(y).scatter_(1, TARGETS[:, None], y.gather(1, TARGETS[:, None]))
        (expected,) = torch.autograd.grad(y, x, seed.detach())
    got = relprop.LRP(model, composite, epsilon=0.01).attribute(X, target=TARGETS)
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("function", [nn.ReLU, nn.Sigmoid, nn.Tanh])
def test_deeplift_equals_captum(function: type[nn.Module]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attr = pytest.importorskip("captum.attr")
    model = nn.Sequential(*(function() if isinstance(m, nn.ReLU) else m for m in network()))
    x0 = torch.randn_like(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, delta = attr.DeepLift(model).attribute(
            X, x0, target=TARGETS, return_convergence_delta=True
        )
    got, ours = relprop.DeepLift(model).attribute(
        X, x0, target=TARGETS, return_convergence_delta=True
    )
    torch.testing.assert_close(got, expected.detach(), rtol=1e-6, atol=1e-9)
    assert (delta.abs().max() < 1e-9) and (ours.abs().max() < 1e-9)
