"""DeepLift and DeepLiftShap under captum's names, equal to captum's where these are right."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relprop.compat import captum as ours
from tests.compat.peer import EXACT, call, captum, inputs, network

TARGETS: dict[str, Any] = {
    "int": 1,
    "tensor of one": torch.tensor(2),
    "tensor": torch.tensor([2, 0, 1]),
    "list": [0, 1, 1],
    "tuple": (2,),
    "list of tuples": [(0,), (2,), (1,)],
}


def compare(name: str, *args: Any, settings: dict[str, Any] | None = None, **kwargs: Any) -> Any:
    """Both packages' answers are the same; returns ours."""
    model, settings = network(), settings or {}
    expected = call(captum(name, model, **settings), *args, **kwargs)
    got = getattr(ours, name)(model, **settings).attribute(*args, **kwargs)
    assert type(got) is type(expected)
    torch.testing.assert_close(got, expected, **EXACT)
    return got


@pytest.mark.parametrize("target", TARGETS)
def test_targets_of_all_kinds(target: str) -> None:
    compare("DeepLift", inputs(), target=TARGETS[target], return_convergence_delta=True)


@pytest.mark.parametrize("kind", ["none", "numbers", "one example", "each", "mixed"])
def test_baselines_of_all_kinds(kind: str) -> None:
    x = inputs()
    x0 = inputs()
    baselines: dict[str, Any] = {
        "none": None,
        "numbers": (0.5, -1),
        "one example": tuple(t[:1] for t in x0),
        "each": x0,
        "mixed": (x0[0], 0.25),
    }
    compare("DeepLift", x, baselines[kind], 1, return_convergence_delta=True)


@pytest.mark.parametrize("more", [2.0, (2.0,), (2.0, torch.randn(3, 3).double())])
def test_further_arguments_of_the_model(more: Any) -> None:
    x, x0 = inputs(), inputs()
    compare("DeepLift", x, x0, 1, more, return_convergence_delta=True)
    if isinstance(more, tuple):  # captum's other class takes nothing else
        compare("DeepLiftShap", x, x0, 1, more, return_convergence_delta=True)


@pytest.mark.parametrize("name", ["DeepLift", "DeepLiftShap"])
def test_multipliers_in_place_of_contributions(name: str) -> None:
    settings = {"multiply_by_inputs": False}
    x, x0 = inputs(), inputs()
    compare(name, x, x0, [2, 0, 1], return_convergence_delta=True, settings=settings)
    assert not getattr(ours, name)(network(), **settings).multiplies_by_inputs


def test_a_distribution_of_baselines_has_a_delta_for_every_pair() -> None:
    found, delta = compare(
        "DeepLiftShap", inputs(3), inputs(4), [2, 0, 1], return_convergence_delta=True
    )
    assert [t.shape for t in found] == [(3, 2, 6, 6), (3, 5)] and delta.shape == (12,)


def test_a_distribution_may_be_made_by_a_function() -> None:
    samples = inputs(4)
    compare("DeepLiftShap", inputs(3), lambda: samples, 1)
    compare("DeepLiftShap", inputs(3), lambda x: tuple(torch.cat([t, 2 * t]) for t in x), 1)


def _of_one(m: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(2 * t for t in m)


def _of_two(m: tuple[Tensor, ...], x: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(t * a for t, a in zip(m, x, strict=True))


def _of_three(
    m: tuple[Tensor, ...], x: tuple[Tensor, ...], x0: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    return tuple(t * a - a0 for t, a, a0 in zip(m, x, x0, strict=True))


@pytest.mark.parametrize("function", [_of_one, _of_two, _of_three])
@pytest.mark.parametrize("name", ["DeepLift", "DeepLiftShap"])
def test_a_users_function_makes_attributions_and_the_delta_is_theirs(
    name: str, function: Any
) -> None:
    x0 = inputs(3 if name == "DeepLift" else 4)
    settings = {"custom_attribution_func": function, "return_convergence_delta": True}
    compare(name, inputs(3), x0, 1, **settings)


def test_a_tensor_comes_back_for_a_tensor_and_a_tuple_for_a_tuple() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    x = torch.randn(2, 4).double()
    alone = ours.DeepLift(model).attribute(x)
    (inside,) = ours.DeepLift(model).attribute((x,))
    assert torch.equal(alone, inside)
    torch.testing.assert_close(alone, call(captum("DeepLift", model), x), **EXACT)


def test_the_last_dimensions_of_a_target_may_be_left_out_where_they_have_size_one() -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 4), nn.Sigmoid(), nn.Conv1d(3, 2, 1)).double()
    x = torch.randn(3, 2, 4).double()
    for target in (1, (1,), (1, 0), [(1, 0), (0, 0), (1, 0)]):
        expected = call(captum("DeepLift", model), x, target=target)
        got = ours.DeepLift(model).attribute(x, target=target)
        torch.testing.assert_close(got, expected, **EXACT)


def test_the_delta_of_attributions_at_hand() -> None:
    x, x0 = inputs(), inputs()
    model = network()
    explainer = ours.DeepLift(model)
    given = tuple(t * 0.5 for t in x)
    expected = captum("DeepLift", model).compute_convergence_delta(given, x0, x, 1, (2.0,))
    got = explainer.compute_convergence_delta(given, x0, x, 1, (2.0,))
    torch.testing.assert_close(got, expected, **EXACT)
    assert explainer.has_convergence_delta()


def sums(found: Tensor) -> Tensor:
    return found.flatten(1).sum(1)


class Reused(nn.Module):
    """One ReLU called twice, then a maximum over overlapping windows, then a functional tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.relu = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 3, 3), nn.ReLU()
        self.pool, self.head = nn.MaxPool2d(3, 2), nn.Linear(27, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.two(self.relu(self.one(x))))
        return self.head(torch.tanh(self.pool(y)).flatten(1))


@pytest.mark.parametrize("name", ["DeepLift", "DeepLiftShap"])
def test_contributions_add_up_where_captum_raises_or_does_not_add_up(name: str) -> None:
    model = Reused().double()
    x, x0 = torch.randn(2, 1, 11, 11).double(), torch.randn(2, 1, 11, 11).double()
    found, delta = getattr(ours, name)(model).attribute(x, x0, 1, return_convergence_delta=True)
    with torch.no_grad():
        y, y0 = model(x)[:, 1], model(x0)[:, 1]
    expected = y - (y0 if name == "DeepLift" else y0.mean())
    torch.testing.assert_close(sums(found), expected, **EXACT)
    assert delta.abs().max() < 1e-12
