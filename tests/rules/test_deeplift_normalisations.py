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
def test_logarithms_roots_and_quotients_keep_to_rescale(name: str) -> None:
    """Near the edge of their domain `x0 + P + N`, all that RevealCancel sees, is not precise."""
    model = network(name)
    x, x0 = 3 * torch.randn(8, 5).double(), torch.randn(8, 5).double()
    everywhere = relprop.DeepLift(model, "reveal_cancel").attribute(x, x0, target=1)
    functions = dict.fromkeys(("log", "sqrt", "pow", "rsqrt"), "rescale")
    rule = {**functions, "*": "reveal_cancel"}
    assert torch.equal(relprop.DeepLift(model, rule).attribute(x, x0, target=1), everywhere)


def test_a_sum_of_exponentials_may_fall_far_below_the_baselines() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.LogSoftmax(-1)).double()
    x, x0 = 20 * torch.randn(16, 4).double(), 20 * torch.randn(16, 4).double()
    relevance = relprop.DeepLift(model, "reveal_cancel").attribute(x, x0, target=1)
    with torch.no_grad():
        difference = (model(x) - model(x0))[:, 1]
        assert torch.logsumexp(model[0](x) - model[0](x0).amax(1, keepdim=True), 1).min() < -20
    torch.testing.assert_close(relevance.sum(1), difference, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["softmax", "log-softmax"])
@pytest.mark.parametrize("method", [relprop.DeepLift, relprop.Gradient])
def test_what_is_computed_in_double_precision_goes_on_in_the_models_own(
    name: str, method: type
) -> None:
    model = network(name).float()
    relevance = method(model).attribute(torch.randn(8, 5), target=1)
    assert relevance.dtype == torch.float32
    reference = method(network(name)).attribute(torch.zeros(1, 5).double(), target=1)
    assert reference.dtype == torch.float64
