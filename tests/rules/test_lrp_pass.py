"""The pass rule: relevance goes through a node as it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.rules import lrp as rules

EPSILON = 0.01


def divided(z: Tensor) -> Tensor:
    return z + EPSILON * torch.where(z < 0, -1, 1).to(z.dtype)


def by_epsilon(layer: nn.Linear, x: Tensor, R: Tensor) -> Tensor:
    """`R_i = x_i sum_j w_ij R_j / stab(z_j)`."""
    return x * (R / divided(layer(x)) @ layer.weight)


@pytest.mark.parametrize("function", [nn.Tanh(), nn.SiLU(), nn.LeakyReLU(), nn.PReLU()], ids=repr)
def test_an_activation_function_hands_its_relevance_down(function: nn.Module) -> None:
    """PReLU, whose slope is learned, is a sum of two branches, which would have a stabilizer."""
    model = nn.Sequential(nn.Linear(6, 5), function, nn.Linear(5, 3)).double().requires_grad_(False)
    x = torch.randn(4, 6, dtype=torch.float64)
    y = model[0](x)
    R = by_epsilon(model[2], function(y), model(x) * torch.eye(3)[1])
    expected = by_epsilon(model[0], x, R)
    got = relprop.LRP(model, "epsilon", epsilon=EPSILON, stabilizer=0).attribute(x, target=1)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_it_does_so_where_another_layer_reads_its_input_too() -> None:
    """Relevance of both readers of z adds up, each for its own value."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(6, 5), nn.Linear(5, 1), nn.Linear(5, 1)

        def forward(self, x: Tensor) -> Tensor:
            z = self.a(x)
            return torch.cat([self.b(torch.tanh(z)), self.c(z)], 1).sum(1, keepdim=True)

    model = Twice().double().requires_grad_(False)
    x = torch.randn(4, 6, dtype=torch.float64)
    z = model.a(x)
    of_b, of_c = model.b(torch.tanh(z)), model.c(z)
    # The sum has no weight: its stabilizer is 0.
    R = by_epsilon(model.b, torch.tanh(z), of_b) + by_epsilon(model.c, z, of_c)
    expected = by_epsilon(model.a, x, R)
    got = relprop.LRP(model, "epsilon", epsilon=EPSILON, stabilizer=0).attribute(x, target=0)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_a_layer_that_keeps_the_shape_can_be_passed() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3))
    model.double().requires_grad_(False)
    x = torch.randn(4, 6, dtype=torch.float64)
    passed = relprop.LRP(
        model, relprop.Composite([("1", rules.Pass())]), epsilon=EPSILON, stabilizer=0
    )
    hidden = torch.relu(model[1](model[0](x)))
    R = by_epsilon(model[3], hidden, model(x) * torch.eye(3)[2])
    expected = by_epsilon(model[0], x, R)
    torch.testing.assert_close(passed.attribute(x, target=2), expected, rtol=1e-10, atol=1e-12)
    assert passed.report(x, target=2).shortfall == pytest.approx(0, abs=1e-10)


def test_a_layer_that_changes_the_shape_cannot_be_passed() -> None:
    lrp = relprop.LRP(nn.Linear(6, 5), relprop.Composite([("dense", rules.Pass())]))
    with pytest.raises(
        relprop.InvalidInputError, match=r"'linear' .* turns \(2, 6\) into \(2, 5\)"
    ):
        lrp.attribute(torch.randn(2, 6), target=0)


@pytest.mark.parametrize("given", ["shapley", "Winner", None, 1])
def test_the_rule_for_max_pools_must_be_one_of_three(given: object) -> None:
    names = "'winner', 'shared', 'proportional'"
    with pytest.raises(relprop.InvalidInputError, match=f"max_pool must be one of {names}; got"):
        relprop.LRP(nn.Linear(2, 2), max_pool=given)
