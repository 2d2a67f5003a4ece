"""What a user may ask of DeepLIFT beside a plain map."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.attribution.arguments import as_bytes
from relprop.graph.node import Run
from relprop.graph.sweep import Sweep


def network() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv1d(4, 6, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(6, 5, 3)),
        *(nn.Tanh(), nn.Flatten(), nn.Linear(25, 3)),
    ).double()


X = torch.randn(3, 4, 14, dtype=torch.float64)


@pytest.mark.parametrize("method", [relprop.LRP, relprop.DeepLift])
def test_many_targets_are_explained_from_one_forward_sweep(
    method: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of the inputs: the baseline's is there from the explanations before."""
    targets = torch.tensor([[0, 2], [1, 1], [2, 0]])
    explainer = method(network())
    columns = [explainer.attribute(X, target=targets[:, t]) for t in (0, 1)]
    sweeps, forward = [], Sweep.forward

    def counted(*arguments: object) -> object:
        sweeps.append(arguments)
        return forward(*arguments)

    monkeypatch.setattr(Sweep, "forward", counted)
    got, delta = explainer.attribute(X, target=targets, return_convergence_delta=True)
    assert len(sweeps) == 1
    assert got.shape == (3, 2, 4, 14) and delta.shape == (3, 2)
    assert torch.equal(got, torch.stack(columns, 1))
    assert torch.equal(got, explainer.attribute(X, target=targets.tolist()))


def test_targets_must_be_equally_many() -> None:
    with pytest.raises(relprop.InvalidInputError, match=r"as many targets as the others.*\[1, 2\]"):
        relprop.DeepLift(network()).attribute(X, target=[[0, 1], [0], [1, 2]])


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_a_distribution_of_baselines_is_averaged_over(rule: str) -> None:
    model = network()
    samples = torch.randn(5, 4, 14, dtype=torch.float64)
    deeplift = relprop.DeepLift(model, rule)
    one_by_one = [deeplift.attribute(X, baselines=s[None], target=1) for s in samples]
    expected = torch.stack(one_by_one).mean(0)
    got, delta = deeplift.attribute(
        X, relprop.Distribution(samples), target=1, return_convergence_delta=True
    )
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    assert delta.abs().max() < 1e-12
    each = relprop.Distribution(samples.expand(3, 5, 4, 14), per_example=True)
    torch.testing.assert_close(
        deeplift.attribute(X, each, target=1), expected, rtol=1e-10, atol=1e-12
    )


def test_common_baselines_are_swept_as_the_memory_budget_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, samples = network(), torch.randn(5, 4, 14, dtype=torch.float64)
    deeplift = relprop.DeepLift(model).prepare(X)
    sizes: list[int] = []
    held: list[int] = []
    forward = Sweep.forward

    def counted(sweep: Sweep, constants: Any, arguments: Any) -> Run:
        run = forward(sweep, constants, arguments)
        sizes.append(len(next(iter(arguments.values()))))
        held.append(sum(t.nbytes for t in run.values.values()) // sizes[-1])
        return run

    monkeypatch.setattr(Sweep, "forward", counted)
    whole = deeplift.attribute(X, relprop.Distribution(samples), target=1)
    assert sizes == [3, 5]
    budgets = {1: [1] * 5, 2 * held[0]: [2, 2, 1], f"{3 * held[0]}B": [3, 2]}
    for budget, expected in budgets.items():
        sizes.clear()
        chunked = deeplift.attribute(
            X, relprop.Distribution(samples), target=1, memory_budget=budget
        )
        torch.testing.assert_close(chunked, whole, rtol=1e-12, atol=1e-14)
        assert sizes == [3, *expected]


@pytest.mark.parametrize(
    ("text", "size"),
    [(7, 7), ("7B", 7), ("2KiB", 2048), ("1.5 GiB", 3 * 2**29), ("2mb", 2 * 10**6)],
)
def test_a_memory_budget_is_read_in_bytes(text: int | str, size: int) -> None:
    assert as_bytes(text) == size


def test_hypothetical_contributions_are_those_of_every_letter() -> None:
    letters = torch.randint(0, 4, (2, 14))
    x = torch.nn.functional.one_hot(letters, 4).transpose(1, 2).double()
    x0 = torch.full_like(x[:1], 0.25)
    deeplift = relprop.DeepLift(network())
    actual = deeplift.attribute(x, x0, target=1)
    got = deeplift.attribute(x, x0, target=1, custom_attribution_func=relprop.hypothetical)
    assert got.shape == x.shape
    # where a letter stands, its hypothetical contribution is the actual one of its position
    torch.testing.assert_close((got * x).sum(1), actual.sum(1), rtol=1e-12, atol=1e-14)
    m = deeplift.attribute(x, x0, target=1, custom_attribution_func=lambda m, x, x0: m)
    for letter in range(4):
        changed = torch.zeros_like(x)
        changed[:, letter] = 1
        expected = (m * (changed - x0)).sum(1)
        torch.testing.assert_close(got[:, letter], expected, rtol=1e-12, atol=1e-14)


def test_mean_normalisation_explains_the_output_beside_the_others() -> None:
    model = network()
    outputs = torch.stack([relprop.DeepLift(model).attribute(X, target=t) for t in range(3)])
    got = relprop.DeepLift(model, mean_normalized=True).attribute(X, target=2)
    torch.testing.assert_close(got, outputs[2] - outputs.mean(0), rtol=1e-9, atol=1e-12)


def test_several_inputs_and_further_arguments() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Linear(3, 4), nn.Linear(2, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor, y: Tensor, scale: Tensor, power: int) -> Tensor:
            return self.head(torch.relu(self.a(x) * scale + self.b(y)) ** power)

    model = Two().double()
    x, y, scale = torch.randn(3, 3).double(), torch.randn(3, 2).double(), torch.rand(3, 1).double()
    deeplift = relprop.DeepLift(model, "reveal_cancel")
    (m_x, m_y), delta = deeplift.attribute(
        (x, y),
        baselines=(torch.ones(1, 3).double(), "blank"),
        target=1,
        additional_forward_args=(scale, 2),
        return_convergence_delta=True,
    )
    assert m_x.shape == x.shape and m_y.shape == y.shape
    assert delta.abs().max() < 1e-12
    with torch.no_grad():
        base = model(torch.ones_like(x), torch.zeros_like(y), scale, 2)
        difference = (model(x, y, scale, 2) - base)[:, 1]
    torch.testing.assert_close(m_x.sum(1) + m_y.sum(1), difference, rtol=1e-10, atol=1e-12)


def test_relu_straight_into_a_max_pool_sums_to_the_difference() -> None:
    """Where gradients go through both, hook-based packages lose most of it."""
    model = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 1)).double()
    x, x0 = torch.randn(2, 1, 4, 4).double(), torch.randn(2, 1, 4, 4).double()
    for max_pool in ("winner", "shapley"):
        for rule in ("rescale", "reveal_cancel"):
            _, delta = relprop.DeepLift(model, rule, max_pool).attribute(
                x, x0, return_convergence_delta=True
            )
            assert delta.abs().max() < 1e-12


def test_shapley_shares_among_those_that_could_have_won() -> None:
    model = nn.Sequential(nn.MaxPool1d(2), nn.Flatten())
    x = torch.tensor([[[3.0, 2.0]]])
    winner = relprop.DeepLift(model).attribute(x)
    shapley = relprop.DeepLift(model, max_pool="shapley").attribute(x)
    assert torch.equal(winner, torch.tensor([[[3.0, 0.0]]]))
    # alone: 3 and 2; after the other: 1 and 0
    assert torch.equal(shapley, torch.tensor([[[2.0, 1.0]]]))


def test_softmax_output_is_explained_example_by_example() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.Softmax(1)).double()
    x = torch.randn(3, 5).double() * 3
    alone = torch.cat([relprop.DeepLift(model).attribute(x[i : i + 1], target=2) for i in range(3)])
    together, delta = relprop.DeepLift(model).attribute(x, target=2, return_convergence_delta=True)
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-14)
    assert delta.abs().max() < 1e-14
    with pytest.raises(relprop.UnsupportedOperatorError, match=r"softmax.*explain the logits"):
        relprop.LRP(model).attribute(x, target=2)
