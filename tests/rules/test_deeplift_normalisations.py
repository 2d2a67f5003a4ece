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


#: Functions with an edge of their domain, each of a sum that falls from far above 0 to close to it.
STEEP = {
    "log": lambda z: torch.log(z),
    "sqrt": lambda z: torch.sqrt(z),
    "a root": lambda z: z**0.2,
    "reciprocal": lambda z: 1 / z,
    "rsqrt": lambda z: torch.rsqrt(z),
}


class Steep(nn.Module):
    """A function of `exp(-s) + exp(-t)`, where s and t are all that is given."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return STEEP[self.name](torch.exp(-x).sum(1, keepdim=True))


@pytest.mark.parametrize("name", STEEP)
@pytest.mark.parametrize("rule", ["reveal_cancel", "rescale"])
def test_a_function_is_precise_where_its_input_is_far_below_the_baselines(
    name: str, rule: str
) -> None:
    """x grows to 45 in s, and in t from 46 to 45.5: a fall by 1, and a rise by 1e-20 beside it."""
    x0 = torch.tensor([[0.0, 46.0], [-1.0, 46.0]], dtype=torch.float64)
    x = torch.tensor([[45.0, 45.5], [60.0, 45.9]], dtype=torch.float64)
    relevance = relprop.DeepLift(Steep(name), rule).attribute(x, x0)
    sums = [torch.exp(-t).sum(1) for t in (x, x0)]
    r_P, r_N = (
        torch.exp(-x0[:, 0]) + torch.exp(-x[:, 1]),
        torch.exp(-x[:, 0]) + torch.exp(-x0[:, 1]),
    )
    f_x, f_r, f_P, f_N = (STEEP[name](z) for z in (*sums, r_P, r_N))
    torch.testing.assert_close(relevance.sum(1), f_x - f_r, rtol=1e-12, atol=1e-12)
    if rule == "reveal_cancel":
        y = torch.stack([f_N - f_r + f_x - f_P, f_P - f_r + f_x - f_N], 1) / 2
        torch.testing.assert_close(relevance, y, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_logarithms_roots_and_quotients_take_the_rule_that_is_asked_for(name: str) -> None:
    model = network(name)
    x, x0 = 3 * torch.randn(8, 5).double(), torch.randn(8, 5).double()
    functions = dict.fromkeys(("log", "sqrt", "pow", "rsqrt"), "rescale")
    rule = {**functions, "*": "reveal_cancel"}
    everywhere = relprop.DeepLift(model, "reveal_cancel").attribute(x, x0, target=1)
    elsewhere = relprop.DeepLift(model, rule).attribute(x, x0, target=1)
    assert not torch.equal(everywhere, elsewhere)


@pytest.mark.parametrize("exponential", ["rescale", "reveal_cancel"])
def test_a_sum_of_exponentials_may_fall_far_below_the_baselines(exponential: str) -> None:
    """Parts of an exponential may be many times its difference, and are rounded as what they are.

    RevealCancel has `exp(r + P)` in both: the relevances of inputs are as large, and cancel out.
    """
    model = nn.Sequential(nn.Linear(4, 6), nn.LogSoftmax(-1)).double()
    x, x0 = 20 * torch.randn(8, 4).double(), 20 * torch.randn(8, 4).double()
    rule = {"exp": exponential, "*": "reveal_cancel"}
    relevance = relprop.DeepLift(model, rule).attribute(x, x0, target=1)
    with torch.no_grad():
        difference = (model(x) - model(x0))[:, 1]
        assert torch.logsumexp(model[0](x) - model[0](x0).amax(1, keepdim=True), 1).min() < -20
    scale = 1.0 if exponential == "rescale" else relevance.abs().sum(1).clamp(min=1)
    error = (relevance.sum(1) - difference).abs() / scale
    assert error.max() < (1e-9 if exponential == "rescale" else 1e-13)


@pytest.mark.parametrize("size", [30.0, 3000.0])
def test_a_softmax_of_scores_of_any_size_adds_up(size: float) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.Softmax(-1)).double()
    x, x0 = size * torch.randn(8, 4).double(), size * torch.randn(8, 4).double()
    relevance = relprop.DeepLift(model).attribute(x, x0, target=1)
    with torch.no_grad():
        difference = (model(x) - model(x0))[:, 1]
    torch.testing.assert_close(relevance.sum(1), difference, rtol=0, atol=1e-11)


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
