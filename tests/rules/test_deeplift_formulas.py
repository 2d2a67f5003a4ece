"""DeepLIFT's rules against the paper's formulas, with explicit sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import relprop

FUNCTIONS = {
    "relu": (nn.ReLU(), lambda v: max(0.0, v)),
    "relu6": (nn.ReLU6(), lambda v: min(6.0, max(0.0, v))),
    "sigmoid": (nn.Sigmoid(), lambda v: 1 / (1 + math.exp(-v))),
    "tanh": (nn.Tanh(), math.tanh),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_rescale_is_the_papers_chain_of_multipliers(name: str) -> None:
    module, f = FUNCTIONS[name]
    first, last = nn.Linear(4, 6).double(), nn.Linear(6, 2).double()
    x, x0 = torch.randn(4).double() * 3, torch.randn(4).double()
    w, v = first.weight.detach().numpy(), last.weight.detach().numpy()
    z, z0 = first(x).detach().numpy(), first(x0).detach().numpy()
    m = np.zeros(4)
    for i in range(4):
        for j in range(6):
            m[i] += w[j, i] * (f(z[j]) - f(z0[j])) / (z[j] - z0[j]) * v[1, j]
    model = nn.Sequential(first, module, last)
    got = relprop.DeepLift(model).attribute(x[None], baselines=x0[None], target=1)[0]
    np.testing.assert_allclose(got.numpy(), m * (x - x0).numpy(), rtol=1e-9)


def test_an_input_that_did_not_change_has_the_derivative_as_multiplier() -> None:
    """An unchanged pre-activation contributes nothing, and spoils nothing."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Sigmoid(), nn.Linear(2, 1, bias=False))
    model.double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -1.0], [1.0, 1.0]]))
        model[2].weight.copy_(torch.tensor([[1.0, 1.0]]))
    x = torch.tensor([[2.0, 2.0]], dtype=torch.float64)  # the first neuron stays at 0
    got, delta = relprop.DeepLift(model).attribute(x, target=0, return_convergence_delta=True)
    rise = (1 / (1 + math.exp(-4)) - 0.5) / 4
    torch.testing.assert_close(got, torch.tensor([[2 * (0.25 + rise), 2 * (rise - 0.25)]]).double())
    assert abs(delta.item()) < 1e-15


def test_minimum_of_two_by_rescale_is_the_papers_example() -> None:
    """`min(i1, i2) = i1 - relu(i1 - i2)` at (3, 1): Rescale gives all to i2 (sec. 3.5.3)."""

    class Minimum(nn.Module):
        def forward(self, i: torch.Tensor) -> torch.Tensor:
            return i[:, 0] - torch.relu(i[:, 0] - i[:, 1])

    x = torch.tensor([[3.0, 1.0]])
    got = relprop.DeepLift(Minimum()).attribute(x)
    torch.testing.assert_close(got, torch.tensor([[0.0, 1.0]]))


def test_product_splits_by_the_shapley_value() -> None:
    class Gate(nn.Module):
        def forward(self, i: torch.Tensor) -> torch.Tensor:
            return i[:, :1] * i[:, 1:]

    x, x0 = torch.tensor([[3.0, 5.0]]), torch.tensor([[1.0, -2.0]])
    got = relprop.DeepLift(Gate()).attribute(x, baselines=x0)
    # a first: (3 - 1) * -2, then b: 3 * 7; b first: 1 * 7, then a: 2 * 5; means of both orders
    torch.testing.assert_close(got, torch.tensor([[(-4.0 + 10.0) / 2, (21.0 + 7.0) / 2]]))
