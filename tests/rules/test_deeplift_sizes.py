"""RevealCancel by sizes and halves is RevealCancel by parts and pairs, in another form.

Above a convolution a difference d = P + N is told by d and its size P - N, and two multipliers by
their mean and half of their difference. Elsewhere they are told as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import relprop
from relprop.rules.deeplift.linear import Linear
from relprop.rules.deeplift.multiplier import Halves, Multiplier


class Network(nn.Module):
    """Convolutions and activations, with all between them that hands sizes and halves on."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shortcut = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 6, 1)
        self.inner, self.outer = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.Conv2d(6, 6, 3)
        self.mixed, self.last = nn.Conv2d(9, 6, 3, groups=3), nn.Linear(24, 2)
        self.norms = nn.ModuleList(nn.BatchNorm2d(6) for _ in range(3))
        for norm in self.norms:
            # scales of both signs
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.running_mean)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norms[0](self.stem(x)))
        inner = torch.abs(self.norms[1](self.inner(y)))
        # of a residual and of a concatenation, one branch is told by its size, one by its parts
        y = torch.relu(self.norms[2](inner + torch.cat([x, x], 1)))
        y = torch.sub(y, self.shortcut(x), alpha=0.5)
        y = torch.sigmoid(functional.avg_pool2d(y, 2))
        y = torch.cat([self.outer(y), functional.avg_pool2d(x, 3)], 1)
        y = torch.relu(self.mixed(torch.tanh(y)))
        return self.last(y.flatten(1))


#: Where abs falls, RevealCancel gives the parts the sign of each other; Rescale swaps them.
RULES: dict[str, Any] = {
    "reveal_cancel": "reveal_cancel",
    "with a rescale": lambda node: "rescale" if node.label == "abs" else "reveal_cancel",
}


def explain(rule: str, baseline: str) -> tuple[Tensor, Tensor]:
    """Contributions to the first output, and what is missing in their sum."""
    torch.manual_seed(3)
    model = Network().double().eval()
    x, x0 = torch.randn(2, 3, 3, 12, 12).double()
    x0 = {"each": x0, "common": x0[:1], "zero": None}[baseline]
    return relprop.DeepLift(model, RULES[rule]).attribute(
        x, baselines=x0, target=0, return_convergence_delta=True
    )


@pytest.fixture
def operators(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the operators between parts that were called."""
    called: list[str] = []

    def noted(name: str) -> Callable[..., object]:
        operator = getattr(relprop.ops, name)

        def call(*args: object, **options: object) -> object:
            called.append(name)
            return operator(*args, **options)

        return call

    names = "reveal_cancel", "reveal_cancel_parts", "signed_reveal_cancel", "reveal_cancel_size"
    for name in names:
        monkeypatch.setattr(relprop.ops, name, noted(name))
    return called


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("baseline", ["each", "common", "zero"])
def test_contributions_are_the_same_by_sizes_as_by_parts(
    rule: str, baseline: str, operators: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_sizes, delta = explain(rule, baseline)
    assert {"signed_reveal_cancel", "reveal_cancel_size"} <= set(operators)
    assert delta.abs().max() < 1e-12
    operators.clear()
    monkeypatch.setattr(Linear, "has_size", lambda *_: False)
    by_parts, _ = explain(rule, baseline)
    assert {"reveal_cancel", "reveal_cancel_parts"} == set(operators)
    torch.testing.assert_close(by_sizes, by_parts, rtol=1e-10, atol=1e-12)


def two_multipliers() -> tuple[Tensor, Tensor]:
    positive, negative = torch.randn(2, 4, 6).double()
    return positive, negative


def halves(positive: Tensor, negative: Tensor) -> Halves:
    return Halves((positive + negative) / 2, (positive - negative) / 2)


CHANGES: dict[str, Callable[[Multiplier], Multiplier]] = {
    "nothing": lambda m: m,
    "a view": lambda m: m.each(lambda t: t.t()),
    "a factor": lambda m: m.scaled(-1.5),
    "a scale of both signs": lambda m: m.scaled(torch.linspace(-1, 2, 6).double()),
    "another pair": lambda m: m + Multiplier(torch.full((4, 6), 2.0), torch.full((4, 6), -3.0)),
    "a pair before": lambda m: Multiplier(torch.full((4, 6), 2.0), torch.full((4, 6), -3.0)) + m,
    "one for both": lambda m: m + Multiplier(torch.full((4, 6), 2.0)),
    "other halves": lambda m: m + Halves(torch.full((4, 6), 2.0), torch.full((4, 6), 0.5)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_halves_are_changed_as_the_pair_is(change: str) -> None:
    pair = two_multipliers()
    expected, got = (CHANGES[change](m) for m in (Multiplier(*pair), halves(*pair)))
    torch.testing.assert_close(got.positive, expected.positive)
    torch.testing.assert_close(got.negative, expected.negative)
    d = torch.randn_like(expected.positive)
    d[::2] = 0
    torch.testing.assert_close(got.along(d), expected.along(d))
    for ours, theirs in zip(got.halves(), expected.halves(), strict=True):
        torch.testing.assert_close(ours, theirs)
