"""Products with a constant side, on either side, of vectors, matrices and batches of matrices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import relprop

#: The constant's shape, and its product with an activation of shape (N, 4, 3).
PRODUCTS: dict[str, tuple[tuple[int, ...], Callable[[Tensor, Tensor], Tensor]]] = {
    "matrix on the right": ((3, 5), lambda W, x: x @ W),
    "matrix on the left": ((5, 4), lambda W, x: W @ x),
    "vector on the right": ((3,), lambda W, x: x @ W),
    "vector on the left": ((4,), lambda W, x: W @ x),
    "batch on the right": ((4, 3, 5), lambda W, x: x.unsqueeze(2) @ W),
    "batch on the left": ((3, 2, 4), lambda W, x: W @ x.permute(0, 2, 1).unsqueeze(3)),
    "bmm, constant second": ((4, 3, 2), lambda W, x: torch.bmm(x.permute(1, 0, 2), W)),
    "bmm, constant first": ((4, 2, 3), lambda W, x: torch.bmm(W, x.permute(1, 2, 0))),
    "mm, constant first": ((5, 12), lambda W, x: torch.mm(W, x.flatten(1).t())),
    "mv": ((12,), lambda W, x: torch.mv(x.flatten(1), W).unsqueeze(1)),
}
#: Where the batch is afterwards; 0 if not named.
BATCH = {"bmm, constant second": 1, "bmm, constant first": 2, "mm, constant first": 1}


class Network(nn.Module):
    """Dense, ReLU, the product, tanh (which has no kink for rounding to cross), and a sum."""

    def __init__(self, name: str, bias: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        shape, self.product = PRODUCTS[name]
        self.batch = BATCH.get(name, 0)
        self.first = nn.Linear(6, 12, bias=bias)
        self.W = nn.Parameter(torch.randn(shape))
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        z = self.product(self.W, torch.relu(self.first(x)).unflatten(1, (4, 3)))
        y = torch.tanh(z).movedim(self.batch, 0).flatten(1)
        return y.sum(1, keepdim=True)


def inputs() -> tuple[Tensor, Tensor]:
    return torch.randn(7, 6).double() * 2, torch.randn(7, 6).double()


def by_sums(model: Network, x: Tensor, x0: Tensor, rule: str) -> Tensor:
    """The network's relevance with the product written as one matrix, by the same rules."""
    units = torch.eye(12, dtype=torch.float64).unflatten(1, (4, 3))
    columns = model.product(model.W.detach(), units).movedim(model.batch, 0).flatten(1)
    plain = nn.Sequential(
        model.first, nn.ReLU(), nn.Linear(12, columns.shape[1], bias=False), nn.Tanh(),
        nn.Linear(columns.shape[1], 1, bias=False),
    ).double()  # fmt: skip
    with torch.no_grad():
        plain[2].weight.copy_(columns.T)
        plain[4].weight.fill_(1)
    return relprop.DeepLift(plain, rule).attribute(x, x0)


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_is_the_dense_layer_of_its_matrix(name: str, rule: str) -> None:
    model, (x, x0) = Network(name, bias=True), inputs()
    got, delta = relprop.DeepLift(model, rule).attribute(x, x0, return_convergence_delta=True)
    torch.testing.assert_close(got, by_sums(model, x, x0, rule), rtol=1e-10, atol=1e-12)
    difference = (model(x) - model(x0)).detach().squeeze(1)
    torch.testing.assert_close(got.sum(1), difference, rtol=1e-10, atol=1e-10)
    assert delta.abs().max() < 1e-10


@pytest.mark.parametrize("composite", ["epsilon", "epsilon_plus"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_relevance_is_conserved_where_nothing_takes_a_share(name: str, composite: str) -> None:
    model, (x, _) = Network(name), inputs()
    got = relprop.LRP(model, composite, epsilon=0.0, stabilizer=0.0).attribute(x)
    torch.testing.assert_close(got.sum(1), model(x).detach().squeeze(1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", PRODUCTS)
def test_relevance_is_conserved_where_bias_and_stabilizer_are_redistributed(name: str) -> None:
    model, (x, _) = Network(name, bias=True), inputs()
    got = relprop.LRP(
        model, "epsilon", epsilon=0.25, stabilizer=0.0, bias="redistribute"
    ).attribute(x)
    torch.testing.assert_close(got.sum(1), model(x).detach().squeeze(1), rtol=1e-9, atol=1e-9)


class Summed(nn.Module):
    """`baddbmm` and `addmm` with a constant on the left."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.W, self.b = nn.Parameter(torch.randn(3, 2, 2)), nn.Parameter(torch.randn(3, 2, 1))
        self.V, self.c = nn.Parameter(torch.randn(4, 6)), nn.Parameter(torch.randn(4, 1))
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        z = torch.relu(torch.baddbmm(self.b, self.W, x.unflatten(1, (3, 2)).permute(1, 2, 0)))
        y = torch.relu(torch.addmm(self.c, self.V, z.flatten(0, 1)))
        return y.t().sum(1, keepdim=True)


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_a_constant_summand_has_no_part_in_a_difference(rule: str) -> None:
    model, (x, x0) = Summed(), inputs()
    got = relprop.DeepLift(model, rule).attribute(x, x0)
    difference = (model(x) - model(x0)).detach().squeeze(1)
    torch.testing.assert_close(got.sum(1), difference, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", [*PRODUCTS, "summed"])
def test_whatever_the_inputs_do_not_get_has_a_name(name: str) -> None:
    """Epsilon's books balance at every node, bias and stabilizer included."""
    model = Summed() if name == "summed" else Network(name, bias=True)
    report = relprop.LRP(model, "epsilon", epsilon=0.25).report(inputs()[0])
    assert "matmul" in str(report) or name == "matrix on the right"  # a dense layer
    assert report.shortfall == pytest.approx(0, abs=1e-10)
    assert report.stabilizer != 0
    for account in report.accounts:
        gone = account.bias + account.stabilizer + account.dropped
        assert account.received == pytest.approx(account.passed + gone, abs=1e-10)
