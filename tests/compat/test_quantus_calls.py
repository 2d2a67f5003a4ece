"""`explain_func` learns a model once, notices what changes in it, and lets go of it."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from relprop import InvalidInputError, InvalidTypeError
from relprop.compat import kept_plans
from relprop.compat.quantus import explain_func, explainer


class Counting(nn.Module):
    """Two convolutions; how often they were called as the user's own model is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.calls = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, 4), 0
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.two(self.one(x).relu()).flatten(1)


X = np.random.default_rng(0).normal(size=(2, 1, 6, 6))
Y = np.array([1, 0])


@pytest.mark.parametrize("method", ["LRP", "DeepLift", "Gradient", "DeepTaylor"])
def test_the_model_itself_is_called_for_the_first_explanation_only(method: str) -> None:
    model = Counting()
    first = explain_func(model, X, Y, method=method)
    calls = model.calls
    again = [explain_func(model, X[:n], Y[:n], method=method) for n in (2, 1, 2)]
    assert model.calls == calls
    assert np.array_equal(again[0], first)


def step(model: Counting) -> None:
    weights = list(model.parameters())
    model(torch.from_numpy(X)).sum().backward()
    torch.optim.SGD(weights, 0.1).step()


def written(model: Counting) -> None:
    model.one.weight.data.mul_(-2)


def loaded(model: Counting) -> None:
    model.load_state_dict(Counting().state_dict())


def reset(model: Counting) -> None:
    model.two.reset_parameters()


def rebuilt(model: Counting) -> None:
    model.one = nn.Conv2d(1, 3, 3, bias=False).double()


@pytest.mark.parametrize("change", [step, written, loaded, reset, rebuilt])
@pytest.mark.parametrize("method", ["LRP epsilon_plus", "DeepLift"])
def test_what_changed_in_a_model_is_noticed(
    change: Callable[[Counting], None], method: str
) -> None:
    model = Counting()
    before = explain_func(model, X, Y, method=method)
    change(model)
    fresh = explain_func(copy.deepcopy(model), X, Y, method=method)
    assert np.abs(fresh - before).max() > 1e-4
    np.testing.assert_allclose(explain_func(model, X, Y, method=method), fresh, rtol=1e-12)


def test_a_model_is_not_kept_alive() -> None:
    model = Counting()
    for method in ("LRP", "DeepLift", "SmoothGrad"):
        explain_func(model, X, Y, method=method)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_settings_are_told_apart_by_their_values() -> None:
    model, low, high = Counting(), np.full((1, 6, 6), -4.0), np.full((1, 6, 6), 4.0)
    box: dict[str, Any] = {"method": "LRP epsilon_plus_box", "low": low, "high": high}
    wide = explain_func(model, X, Y, **box)
    low += 1  # in place: an array that was given before now means something else
    narrow = explain_func(model, X, Y, **box)
    assert np.abs(wide - narrow).max() > 1e-4
    assert np.array_equal(explain_func(copy.deepcopy(model), X, Y, **box), narrow)
    assert np.array_equal(explain_func(model, X, Y, **{**box, "low": low - 1}), wide)


def test_no_more_than_so_many_settings_are_remembered() -> None:
    model = Counting()
    for k in range(kept_plans.LIMIT + 3):
        explain_func(model, X, Y, epsilon=0.1 + k)
    calls = model.calls
    explain_func(model, X, Y, epsilon=0.1 + kept_plans.LIMIT)
    assert model.calls == calls
    explain_func(model, X, Y, epsilon=0.1)
    assert model.calls == calls + 1


def test_a_model_is_left_in_its_mode_and_without_hooks() -> None:
    model = Counting().train()
    state = {name: t.clone() for name, t in model.state_dict().items()}
    explain_func(model, X, Y)
    assert model.training and not model._forward_hooks and not model._backward_hooks
    assert all(torch.equal(state[name], t) for name, t in model.state_dict().items())


def test_numbers_of_any_precision_take_the_models() -> None:
    model = Counting()
    expected = explain_func(model, X.astype(np.float32).astype(np.float64), Y)
    assert np.array_equal(explain_func(model, X.astype(np.float32), Y), expected)
    assert np.array_equal(explain_func(model, torch.from_numpy(X).float(), Y.tolist()), expected)
    assert explain_func(model.bfloat16(), X, Y, method="Gradient").dtype == np.float32


def test_an_explainer_has_options_of_its_own_and_any_name() -> None:
    model = Counting()
    explain = explainer("LRP", bias="ignore")
    expected = explain_func(model, X, Y, method="LRP", bias="ignore", keepdims=False)
    got = explain(model=model, inputs=X, targets=Y, method="what evaluate calls it", keepdims=False)
    assert np.array_equal(got, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "LRP plus"}, "method must be one of 'LRP', 'LRP epsilon'"),
        ({"baselines": 0}, "no option 'baselines'; it has device, .* bias, composite"),
        ({"device": "cuda"}, r"must be where the model is, cpu.*call model.to\('cuda'\)"),
        ({"device": "gpu"}, "must be where the model is, cpu.*got 'gpu'"),
        ({"reduce_axes": (0,)}, r"must be dimensions after the batch, 1 to 3; got \(0,\)"),
        ({"targets": np.zeros((2, 2), int)}, r"shape \(N,\); got \(2, 2\)"),
        ({"composite": "plus"}, "composite must be one of"),
    ],
)
def test_mistakes_are_met_by_a_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        explain_func(Counting(), X, **{"targets": Y, **options})


def test_what_is_no_model_or_no_image_is_refused() -> None:
    with pytest.raises(InvalidTypeError, match=r"model must be a torch\.nn\.Module"):
        explain_func(lambda x: x, X, Y)
    with pytest.raises(InvalidTypeError, match="floating-point"):
        explain_func(Counting(), np.zeros((2, 1, 6, 6), np.uint8), Y)
    with pytest.raises(InvalidInputError, match="method must be one of"):
        explainer("LRP plus")
