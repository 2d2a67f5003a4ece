"""A common baseline is run once: for the batch, and for the explanations that follow."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.graph.node import Run
from relprop.graph.sweep import Sweep

X = torch.randn(3, 4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten()),
        nn.Linear(18, 3),
    ).double()


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many examples each forward sweep had, from now on."""
    sizes: list[int] = []
    forward = Sweep.forward

    def counted(sweep: Sweep, constants: Any, arguments: Any) -> Run:
        sizes.append(len(next(iter(arguments.values()))))
        return forward(sweep, constants, arguments)

    monkeypatch.setattr(Sweep, "forward", counted)
    return sizes


def fresh(model: nn.Module, x0: Tensor | float | None, rule: str = "rescale") -> Tensor:
    """What an explainer that has kept nothing says."""
    return relprop.DeepLift(model, rule).attribute(X, x0, target=1)


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_explanations_share_the_sweep_of_their_baseline(rule: str, swept: list[int]) -> None:
    model = network()
    deeplift = relprop.DeepLift(model, rule).prepare(X)
    swept.clear()
    first = deeplift.attribute(X, 0.5, target=1)
    assert swept == [3, 1]
    again = deeplift.attribute(X[:2], torch.full_like(X[:1], 0.5), target=1)
    assert swept == [3, 1, 2]
    assert torch.equal(again, first[:2])
    assert torch.equal(first, fresh(model, 0.5, rule))


def test_another_baseline_is_swept_anew(swept: list[int]) -> None:
    model = network()
    deeplift = relprop.DeepLift(model).prepare(X)
    x0 = torch.full_like(X[:1], 0.5)
    deeplift.attribute(X, x0, target=1)
    x0[0, 0, 0] = 2.0
    swept.clear()
    assert torch.equal(deeplift.attribute(X, x0, target=1), fresh(model, x0))
    assert swept[:2] == [3, 1]


def test_writing_to_a_baseline_does_not_write_to_what_is_kept() -> None:
    model = network()
    deeplift = relprop.DeepLift(model)
    x0 = torch.full_like(X[:1], 0.5)
    expected = deeplift.attribute(X, x0, target=1)
    x0.fill_(7.0)
    assert torch.equal(deeplift.attribute(X, 0.5, target=1), expected)


@pytest.mark.parametrize("change", ["step", "data", "statistics"])
def test_a_changed_model_is_swept_anew(change: str) -> None:
    model = network()
    deeplift = relprop.DeepLift(model)
    deeplift.attribute(X, target=1)
    with torch.no_grad():
        if change == "step":
            model[0].weight.add_(0.1)
        elif change == "data":
            model[5].bias.data += 0.1
            model[5].weight.data *= 1.1
        else:
            model[1].running_var *= 2
    assert torch.equal(deeplift.attribute(X, target=1), fresh(model, None))


def test_layers_do_not_read_what_was_kept_without_them() -> None:
    model = network()
    deeplift = relprop.DeepLift(model)
    deeplift.attribute(X, target=1)
    _, layers = deeplift.attribute(X, target=1, layers=["2"])
    _, expected = relprop.DeepLift(model).attribute(X, target=1, layers=["2"])
    assert torch.equal(layers["2"], expected["2"])


def test_nothing_is_kept_beyond_the_memory_budget(swept: list[int]) -> None:
    deeplift = relprop.DeepLift(network()).prepare(X)
    swept.clear()
    for _ in range(2):
        deeplift.attribute(X, target=1, memory_budget=1)
    assert swept == [3, 1, 3, 1]


class AsManyExamples(nn.Module):
    """`len` of a tensor is a number when torch.export runs: the graph is for so many examples."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.last = nn.Parameter(torch.randn(1, 2)), nn.Linear(38, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([x.flatten(1), self.token.expand(len(x), -1)], 1)
        return self.last(y.view(len(x), 38).tanh())


def test_a_graph_for_so_many_examples_sweeps_the_baseline_with_as_many() -> None:
    model = AsManyExamples().double()
    many = torch.randn(2, 4, 9, dtype=torch.float64)
    for baselines in (None, relprop.Distribution(many)):
        deeplift = relprop.DeepLift(model)
        found = deeplift.attribute(X, baselines, target=1)
        alone = [deeplift.attribute(x[None], baselines, target=1) for x in X]
        torch.testing.assert_close(found, torch.cat(alone))
