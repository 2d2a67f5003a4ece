"""Under two of the bias policies relevance sums to the score itself; else the books say why not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.graph.convolution import Convolution
from relprop.graph.node import Node
from relprop.rules import lrp as rules

RULES = {
    "epsilon": rules.Epsilon(),
    "zplus": rules.ZPlus(),
    "alphabeta": rules.AlphaBeta(2, 1),
    "gamma": rules.Gamma(0.3),
    "zbox": rules.ZBox(-9.0, 9.0),
    "wsquare": rules.WSquare(),
    "flat": rules.Flat(),
}
EVERY_RULE = pytest.mark.parametrize("name", RULES)


def everywhere(rule: Any) -> relprop.Composite:
    return relprop.Composite([("dense", rule), ("convolution", rule)])


class Network(nn.Module):
    """Biases, a batch norm by itself, two branches; its ReLUs are never off, if x is within 1."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.pools = nn.BatchNorm2d(6), nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(2))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 3))
        for bias in (self.first.bias, self.second.bias, self.head[1].bias):
            nn.init.uniform_(bias, 4, 5)
        nn.init.uniform_(self.norm.bias, 0.1, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.first(x))
        return self.head(self.pools(a + self.norm(torch.relu(self.second(a)))))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return Network().double().eval()


def pictures() -> Tensor:
    return torch.rand(4, 3, 8, 8, dtype=torch.float64) * 2 - 1


@EVERY_RULE
@pytest.mark.parametrize("bias", ["ignore", "redistribute"])
def test_relevance_sums_to_the_score(network: nn.Module, name: str, bias: str) -> None:
    """Exactly: with the bias left out there is no stabilizer, and nobody's inputs are all 0."""
    x, targets = pictures(), torch.tensor([0, 2, 1, 1])
    size = {"epsilon": 0, "stabilizer": 0} if bias == "ignore" else {}
    lrp = relprop.LRP(network, everywhere(RULES[name]), bias=bias, **size)
    report = lrp.report(x, target=targets)
    assert report.dropped == report.bias == report.stabilizer == 0
    R, delta = lrp.attribute(x, target=targets, return_convergence_delta=True)
    with torch.no_grad():
        score = network(x).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(R.flatten(1).sum(1), score, rtol=0, atol=1e-10)
    assert delta.abs().max() < 1e-10


def one_dead() -> nn.Sequential:
    """The second neuron below the output reads zeros alone: of the score, its bias brings 6."""
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 4.0]]))
        model[0].bias.copy_(torch.tensor([0.5, 3.0]))
        model[2].weight.copy_(torch.tensor([[1.0, 2.0]]))
    return model


#: For inputs of (1, 1, 0): a score of 3.5 + 6.
DEAD = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize(("size", "taker"), [(0.0, "dropped"), (1e-6, "stabilizer")])
@pytest.mark.parametrize("name", ["epsilon", "zplus", "gamma"])
def test_what_a_neuron_without_any_input_cannot_give_is_named(
    name: str, size: float, taker: str
) -> None:
    """Its bias is ignored, so its denominator is 0: nobody gets its relevance of 6."""
    composite = relprop.Composite([("0", RULES[name])])
    sizes = {"epsilon": size, "stabilizer": size}
    lrp = relprop.LRP(one_dead(), composite, bias="ignore", **sizes)
    report = lrp.report(DEAD, target=0)
    account = next(a for a in report.accounts if a.node.where.module == "0")
    assert getattr(account, taker) == pytest.approx(6, abs=1e-5)
    assert getattr(report, taker) == pytest.approx(6, abs=1e-5)
    assert (report.score, report.relevance) == pytest.approx((9.5, 3.5), abs=1e-5)
    assert report.shortfall == pytest.approx(0, abs=1e-10)


@EVERY_RULE
def test_a_neuron_whose_inputs_are_all_zero_still_gives_to_them_if_told(name: str) -> None:
    """Redistributed in equal parts, the bias's share needs no value to be in proportion to."""
    lrp = relprop.LRP(one_dead(), everywhere(RULES[name]), bias="redistribute")
    assert lrp.attribute(DEAD, target=0).sum().item() == pytest.approx(9.5, abs=1e-10)
    assert lrp.report(DEAD, target=0).dropped == 0


def test_alpha_beta_drops_the_part_of_a_sign_that_nobody_has() -> None:
    """All contributions are positive: alpha R is given, and -beta R is nobody's."""
    model = one_dead()[0]
    sizes = {"epsilon": 0, "stabilizer": 0}
    lrp = relprop.LRP(model, everywhere(rules.AlphaBeta(2, 1)), bias="ignore", **sizes)
    report = lrp.report(DEAD, target=0)
    assert (report.score, report.relevance, report.dropped) == pytest.approx((3.5, 7, -3.5))


@EVERY_RULE
@pytest.mark.parametrize("bias", ["ignore", "redistribute"])
def test_what_a_neuron_that_sees_nothing_but_padding_has_is_dropped(name: str, bias: str) -> None:
    """The outer two of five neurons: with weights of 1, each has its bias of 2."""
    conv = nn.Conv1d(1, 1, 1, padding=1)
    model = nn.Sequential(conv, nn.Flatten(), nn.Linear(5, 1, bias=False)).double()
    for weight in (conv.weight, model[2].weight):
        nn.init.ones_(weight)
    nn.init.constant_(conv.bias, 2.0)
    x = torch.tensor([[[1.0, 2.0, 3.0]]], dtype=torch.float64)
    composite = relprop.Composite([("convolution", RULES[name])])
    lrp = relprop.LRP(model, composite, bias=bias, epsilon=0, stabilizer=0)
    report = lrp.report(x, target=0)
    # With weights of 1 there are no negative contributions, which alpha-beta gives -R to.
    lost = 4.0 if name != "alphabeta" else 4.0 - 12.0
    assert (report.score, report.dropped) == pytest.approx((16, lost), abs=1e-10)
    assert report.relevance == pytest.approx(16 - lost, abs=1e-10)
    assert report.shortfall == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("name", ["zplus", "alphabeta", "gamma"])
def test_denominators_are_summed_up_once_for_all_targets(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Tanh(), nn.Flatten()),
        *(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 5)),
    ).double()
    x, targets = torch.randn(2, 2, 8, 8, dtype=torch.float64), [[0, 3, 4], [1, 1, 2]]
    explainer = relprop.LRP(model, everywhere(RULES[name]))
    calls: list[Node] = []
    affine = Convolution.affine

    def counted(node: Convolution, *arguments: Any) -> Tensor:
        calls.append(node)
        return affine(node, *arguments)

    monkeypatch.setattr(Convolution, "affine", counted)
    alone = [
        explainer.attribute(x, target=[row[k] for row in targets]) for k in range(len(targets[0]))
    ]
    singly = len(calls)
    calls.clear()
    together = explainer.attribute(x, target=targets)
    assert torch.equal(together, torch.stack(alone, 1))
    assert len(calls) <= singly / 3
