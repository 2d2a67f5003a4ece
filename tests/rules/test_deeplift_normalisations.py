"""RevealCancel through what is made of quotients, roots and logarithms sums to the difference."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import relprop


class Function(nn.Module):
    """A function of the input, element by element, between two dense layers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.rsqrt(x.square() + 0.1) + torch.log(1 + x.abs()) + torch.sqrt(0.2 + x * x)


NETWORKS = {
    "softmax": lambda: nn.Softmax(-1),
    "log-softmax": lambda: nn.LogSoftmax(-1),
    "layer norm": lambda: nn.LayerNorm(6),
    "group norm": lambda: nn.Sequential(nn.Unflatten(1, (6, 1)), nn.GroupNorm(2, 6), nn.Flatten(1)),
    "functions": Function,
}


def network(name: str) -> nn.Module:
    torch.manual_seed(11)
    layers = [nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 6), NETWORKS[name](), nn.Linear(6, 3)]
    return nn.Sequential(*layers).double()


@pytest.mark.parametrize("name", NETWORKS)
def test_reveal_cancel_sums_to_the_difference(name: str) -> None:
    model = network(name)
    x, x0 = 3 * torch.randn(8, 5).double(), torch.randn(8, 5).double()
    relevance = relprop.DeepLift(model, "reveal_cancel").attribute(x, x0, target=1)
    difference = (model(x) - model(x0))[:, 1].detach()
    torch.testing.assert_close(relevance.sum(1), difference, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_reveal_cancel_reaches_logarithms_roots_and_quotients(name: str) -> None:
    """Each part by its own effect, where Rescale scales both alike."""
    model = network(name)
    x, x0 = 3 * torch.randn(8, 5).double(), torch.randn(8, 5).double()
    everywhere = relprop.DeepLift(model, "reveal_cancel").attribute(x, x0, target=1)
    functions = dict.fromkeys(("log", "sqrt", "pow", "rsqrt"), "rescale")
    rule = {**functions, "*": "reveal_cancel"}
    without = relprop.DeepLift(model, rule).attribute(x, x0, target=1)
    assert (everywhere - without).abs().max() > 1e-6
    torch.testing.assert_close(everywhere.sum(1), without.sum(1), rtol=1e-9, atol=1e-9)
