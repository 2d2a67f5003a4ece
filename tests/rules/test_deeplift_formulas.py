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
    got = relprop.DeepLift(Minimum(), "reveal_cancel").attribute(x)
    torch.testing.assert_close(got, torch.tensor([[0.5, 0.5]]))


def neuron(weight: list[float], bias: float) -> nn.Module:
    """One dense ReLU."""
    layer = nn.Linear(len(weight), 1).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([weight]))
        layer.bias.fill_(bias)
    return nn.Sequential(layer, nn.ReLU())


def test_reveal_cancel_of_one_neuron_is_worked_out_by_hand() -> None:
    """P = 1 + 4 at weights 1, 4 fall and rise: r = 1, P = 6, N = -4 (see the parts below)."""
    x = torch.tensor([[-1.0, -1.0, 1.0, 1.0]], dtype=torch.float64)
    got = relprop.DeepLift(neuron([1, -2, -3, 4], 1), "reveal_cancel").attribute(x)
    # P = (-2)(-1) + 4 * 1 = 6 and N = -1 - 3 = -4 around r = 1:
    # y+ = ((7 - 1) + (3 - 0)) / 2 = 4.5, y- = ((0 - 1) + (3 - 7)) / 2 = -2.5
    m = torch.tensor([[0.625, -1.5, -1.875, 3.0]], dtype=torch.float64)
    torch.testing.assert_close(got, m * x)


def test_an_unchanged_part_has_the_limit_as_multiplier() -> None:
    x = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    x0 = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    model = neuron([1, 1], 5)
    for change in (0.0, 1e-12, 1e-3):
        got = relprop.DeepLift(model, "reveal_cancel").attribute(x + change, baselines=x0)
        torch.testing.assert_close(got, torch.full_like(x, change), rtol=1e-9, atol=1e-15)
    got = relprop.DeepLift(model, "reveal_cancel").attribute(x)
    torch.testing.assert_close(got, x)


def by_brute_force(model: list[nn.Module], x: np.ndarray, x0: np.ndarray) -> np.ndarray:
    """RevealCancel through dense layers and one activation function, in plain loops."""
    first, function, last = model
    w, v = first.weight.detach().numpy(), last.weight.detach().numpy()[0]
    r = first(torch.from_numpy(x0)).detach().numpy()
    m = np.zeros(len(x))

    def f(value: float) -> float:
        return float(function(torch.tensor(value, dtype=torch.float64)))

    for j in range(len(r)):
        parts = w[j] * (x - x0)
        P, N = parts[parts > 0].sum(), parts[parts < 0].sum()
        rise = (f(r[j] + P) - f(r[j]) + f(r[j] + N + P) - f(r[j] + N)) / 2
        fall = (f(r[j] + N) - f(r[j]) + f(r[j] + P + N) - f(r[j] + P)) / 2
        for i in range(len(x)):
            m[i] += v[j] * parts[i] * (rise / P if parts[i] > 0 else fall / N)
    return m


@pytest.mark.parametrize("name", FUNCTIONS)
def test_reveal_cancel_is_the_papers_formula(name: str) -> None:
    model = [nn.Linear(5, 7).double(), FUNCTIONS[name][0], nn.Linear(7, 1).double()]
    x, x0 = torch.randn(5).double() * 2, torch.randn(5).double()
    got = relprop.DeepLift(nn.Sequential(*model), "reveal_cancel").attribute(x[None], x0[None])
    expected = by_brute_force(model, x.numpy(), x0.numpy())
    np.testing.assert_allclose(got[0].numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_reveal_cancel_between_convolutions_is_the_papers_formula(name: str) -> None:
    """A convolution over one place is a dense layer."""
    dense = [nn.Linear(5, 7).double(), FUNCTIONS[name][0], nn.Linear(7, 1).double()]
    model = nn.Sequential(nn.Conv1d(5, 7, 1), dense[1], nn.Conv1d(7, 1, 1), nn.Flatten()).double()
    for layer, twin in ((model[0], dense[0]), (model[2], dense[2])):
        layer.load_state_dict({"weight": twin.weight[..., None], "bias": twin.bias})
    x, x0 = torch.randn(5).double() * 2, torch.randn(5).double()
    got = relprop.DeepLift(model, "reveal_cancel").attribute(x[None, :, None], x0[None, :, None])
    expected = by_brute_force(dense, x.numpy(), x0.numpy())
    np.testing.assert_allclose(got[0, :, 0].numpy(), expected, rtol=1e-9)


def test_a_negative_scale_swaps_the_parts() -> None:
    """A batch norm that turns the sign, unfolded: the same as with its scale in the weights."""

    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(5)
            self.first, self.norm, self.last = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 1)
            nn.init.normal_(self.norm.weight)
            nn.init.normal_(self.norm.running_mean)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = self.norm(self.first(x))
            return self.last(torch.relu(z))

    class Unfolded(Norm):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = self.first(x)
            scale = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
            z = z * scale + (self.norm.bias - self.norm.running_mean * scale)
            return self.last(torch.relu(z))

    x, x0 = torch.randn(3, 4).double(), torch.randn(3, 4).double()
    folded, unfolded = Norm().double().eval(), Unfolded().double().eval()
    a = relprop.DeepLift(folded, "reveal_cancel").attribute(x, x0)
    b = relprop.DeepLift(unfolded, "reveal_cancel").attribute(x, x0)
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_rules_are_chosen_by_name_pattern_or_function() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
    model.double()
    x = torch.randn(2, 3).double()

    def explain(rule: object) -> torch.Tensor:
        return relprop.DeepLift(model, rule).attribute(x)

    mixed = explain({"1": "reveal_cancel"})
    assert torch.equal(mixed, explain({"relu": "reveal_cancel", "tanh": "rescale"}))
    assert torch.equal(
        mixed, explain(lambda node: "reveal_cancel" if node.label == "relu" else "rescale")
    )
    assert not torch.equal(mixed, explain("rescale"))
    assert torch.equal(explain("genomics"), explain("reveal_cancel"))
    assert torch.equal(explain({"*": "rescale"}), explain("rescale"))


def test_product_splits_by_the_shapley_value() -> None:
    class Gate(nn.Module):
        def forward(self, i: torch.Tensor) -> torch.Tensor:
            return i[:, :1] * i[:, 1:]

    x, x0 = torch.tensor([[3.0, 5.0]]), torch.tensor([[1.0, -2.0]])
    got = relprop.DeepLift(Gate()).attribute(x, baselines=x0)
    # a first: (3 - 1) * -2, then b: 3 * 7; b first: 1 * 7, then a: 2 * 5; means of both orders
    torch.testing.assert_close(got, torch.tensor([[(-4.0 + 10.0) / 2, (21.0 + 7.0) / 2]]))
