"""The books of LRP: whatever the inputs do not get is somebody else's, by name."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import relprop


def dense(weight: list[list[float]], bias: list[float] | None = None) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight), bias=bias is not None).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias))
    return layer


def one(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def test_a_bias_takes_its_share() -> None:
    """z = 2 + 1 - 0.5 + 1.5: of a score of 4, the inputs bring 2.5."""
    model = dense([[2.0, 1.0, -0.5]], [1.5])
    report = relprop.LRP(model, "epsilon", epsilon=0).report(one(1, 1, 1), target=0)
    assert (report.score, report.relevance, report.bias) == pytest.approx((4, 2.5, 1.5), abs=1e-12)
    assert (report.stabilizer, report.dropped, report.shortfall) == pytest.approx((0, 0, 0))


def test_the_stabilizer_takes_its_share() -> None:
    report = relprop.LRP(dense([[1.0, 1.0]]), "epsilon", epsilon=2).report(one(1, 1), target=0)
    assert (report.score, report.relevance, report.stabilizer) == pytest.approx((2, 1, 1))


def test_relevance_of_a_sum_that_cancels_is_dropped_without_a_stabilizer() -> None:
    """The hidden neuron is 0 - 0 + bias; its score of 3 comes from the bias alone."""
    model = nn.Sequential(dense([[1.0, -1.0]], [3.0]), nn.ReLU(), dense([[1.0]]))
    settings = {"composite": "epsilon", "epsilon": 0, "stabilizer": 0, "bias": "ignore"}
    lrp = relprop.LRP(model, **settings)
    assert torch.equal(lrp.attribute(one(2, 2), target=0), one(0, 0))
    report = lrp.report(one(2, 2), target=0)
    assert (report.relevance, report.dropped, report.shortfall) == pytest.approx((0, 3, 0))


def test_what_padding_receives_is_dropped() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = dense([[1.0, 1.0, 1.0, 1.0]])

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.relu(F.pad(x, (1, 1))))

    flat = relprop.Composite([("dense", relprop.rules.lrp.Flat())])
    lrp = relprop.LRP(Padded(), flat)
    report = lrp.report(one(3, 1), target=0)
    assert (report.relevance, report.dropped, report.shortfall) == pytest.approx((2, 2, 0))
    assert torch.equal(lrp.attribute(one(3, 1), target=0), one(1, 1))


def test_arguments_that_are_not_explained_are_accounted_for() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x.sum(1) + y.sum(1)

    lrp = relprop.LRP(Two(), stabilizer=0)
    x, y = one(1, 2), one(4, 5)
    report = lrp.report(x, additional_forward_args=y)
    assert (report.score, report.relevance, report.dropped) == pytest.approx((12, 3, 9))
    R = lrp.attribute((x, y))
    assert torch.equal(R[0], x) and torch.equal(R[1], y)


def test_a_report_lists_every_node_and_adds_up() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).double()
    x = torch.randn(2, 1, 4, 4, dtype=torch.float64)
    report = relprop.LRP(model, "epsilon").report(x, target=[0, 2])
    lines = str(report).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["linear", "flatten", "relu", "conv2d"]
    assert lines[-1].startswith(f"score {report.score:.6g} = relevance")
    for account in report.accounts:
        gone = account.bias + account.stabilizer + account.dropped
        assert account.received == pytest.approx(account.passed + gone, abs=1e-12)
