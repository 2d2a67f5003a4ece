"""The books of an explanation by tiles are those of the whole."""

from __future__ import annotations

import pytest
import torch
from image_networks import network
from torch import nn

import relprop
from relprop.attribution import tiled
from relprop.attribution.tiling.in_memory import Division, tiling_of
from relprop.attribution.tiling.planner import Planner
from relprop.attribution.tiling.tiling import Tiling
from relprop.graph.cut import Cut

X = torch.randn(2, 3, 41, 35, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
FIGURES = ("received", "passed", "bias", "stabilizer", "dropped")


def cut_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let explanations be cut there, by tiles of seven elements a side, and at a later one."""

    def plan(planner: Planner, budget: int) -> tuple[Tiling, tuple[Cut, ...]]:
        first = planner.cuts()[0][number]
        cuts = (first, *planner.cuts(first.head)[0][:1])
        return tiling_of(planner, Division(cuts, (7,) * len(cuts)), budget), cuts

    monkeypatch.setattr(tiled, "plan_tiles", plan)


@pytest.mark.parametrize(
    ("composite", "bias"),
    [
        ("epsilon", "redistribute"),
        ("epsilon_plus_flat", "absorb"),
        ("epsilon_alpha2_beta1", "absorb"),
    ],
)
@pytest.mark.parametrize("name", ["VGG", "ResNet", "EfficientNet-Lite"])
def test_every_node_has_the_account_that_it_has_in_the_whole(
    name: str, composite: str, bias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lrp = relprop.LRP(network(name), composite, bias=bias, epsilon=0.1, stabilizer=0.1)
    whole = lrp.report(X, target=[1, 3])
    size = max(abs(account.received) for account in whole.accounts)
    for number in (0, -1):
        cut_at(monkeypatch, number)
        parts = lrp.report(X, target=[1, 3], memory_budget=1)
        assert parts.score == pytest.approx(whole.score, abs=1e-12)
        assert parts.relevance == pytest.approx(whole.relevance, abs=1e-9 * size)
        assert len(parts.accounts) == len(whole.accounts)
        for own, expected in zip(parts.accounts, whole.accounts, strict=True):
            assert (own.node, own.rule) == (expected.node, expected.rule)
            for figure in FIGURES:
                found, wanted = getattr(own, figure), getattr(expected, figure)
                assert found == pytest.approx(wanted, abs=1e-9 * size), (own.node.label, figure)


def test_a_report_within_a_budget_says_what_there_is_to_say() -> None:
    lrp = relprop.LRP(network("ResNet"), "epsilon")
    whole = lrp.report(X, target=1)
    assert str(lrp.report(X, target=1, memory_budget="1TiB")) == str(whole)
    with pytest.raises(relprop.InvalidInputError, match="memory_budget must be enough"):
        lrp.report(X, target=1, memory_budget=1)


def test_arguments_that_are_not_explained_are_accounted_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.end = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(6, 2)

        def forward(self, x: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
            pooled = self.body(x).relu().mean((2, 3))
            return self.end(torch.cat([pooled, numbers], 1))

    lrp, numbers = relprop.LRP(Beside().double(), "epsilon"), torch.rand(2, 2).double()
    whole = lrp.report(X, 1, numbers)
    cut_at(monkeypatch, 0)
    parts = lrp.report(X, 1, numbers, memory_budget=1)
    assert parts.other == pytest.approx(whole.other, abs=1e-12) and whole.other != 0
