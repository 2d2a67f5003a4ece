"""`deep_lift_shap` gives what tangermeme's does where that is right, and adds up elsewhere too."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relprop import InvalidInputError, InvalidTypeError
from relprop.compat.tangermeme import deep_lift_shap, dinucleotide_shuffle

EXACT = {"rtol": 1e-9, "atol": 1e-12}


def tangermeme(module: str = "deep_lift_shap") -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(f"tangermeme.{module}")


def theirs(model: nn.Module, X: Tensor, **options: Any) -> Any:
    """tangermeme's answer on a copy of the model, without its warnings."""
    function = tangermeme().deep_lift_shap
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(copy.deepcopy(model), X, **options)


def sequences(*shape: int, length: int = 24) -> Tensor:
    """Shape (*shape, 4, length)."""
    return torch.eye(4)[torch.randint(0, 4, (*shape, length))].movedim(-1, -2).double()


def related(X: Tensor, count: int = 3) -> Tensor:
    """References that begin as X does, so that much of a network does not change."""
    x0 = sequences(len(X), count, length=X.shape[-1])
    x0[..., : X.shape[-1] // 2] = X[:, None, :, : X.shape[-1] // 2]
    return x0


def network() -> nn.Module:
    """With a max pool between convolutions, and batch statistics of its own."""
    layers = [nn.Conv1d(4, 6, 5, padding=2), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(3, 2)]
    layers += [nn.Conv1d(6, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(45, 7), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(7, 3)).double()
    nn.init.uniform_(model[1].running_mean)
    nn.init.uniform_(model[1].running_var, 0.5, 2)
    return model.eval()


def test_the_signature_is_that_of_tangermeme() -> None:
    ours = inspect.signature(deep_lift_shap).parameters
    expected = inspect.signature(tangermeme().deep_lift_shap).parameters
    assert list(ours) == list(expected)
    for name in set(ours) - {"references"}:
        assert ours[name].default == expected[name].default


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hypothetical": True},
        {"raw_outputs": True},
        {"target": -1, "hypothetical": True},
        {"batch_size": 1, "hypothetical": True},
        {"batch_size": 7, "hypothetical": True},
    ],
)
def test_attributions_are_the_same_against_references_that_are_given(
    options: dict[str, Any],
) -> None:
    model, X = network(), sequences(5)
    x0 = related(X)
    expected = theirs(model, X, references=x0, **options)
    got = deep_lift_shap(model, X, references=x0, **options)
    torch.testing.assert_close(got, expected, **EXACT)


@pytest.mark.parametrize("seed", [None, 4])
def test_references_are_drawn_by_a_users_function_as_tangermeme_draws_them(
    seed: int | None,
) -> None:
    def rotated(X: Tensor, n: int, random_state: int = 1) -> Tensor:
        return torch.stack([X.roll(random_state + k, -1) for k in range(n)], 1)

    model, X = network(), sequences(3)
    asked: dict[str, Any] = {
        "references": rotated,
        "n_shuffles": 4,
        "random_state": seed,
        "return_references": True,
    }
    expected, got = theirs(model, X, **asked), deep_lift_shap(model, X, **asked)
    torch.testing.assert_close(got.references, expected.references, rtol=0, atol=0)
    torch.testing.assert_close(got.attributions, expected.attributions, **EXACT)


def test_tangermemes_own_shuffles_are_the_same_here() -> None:
    shuffle = tangermeme("ersatz").dinucleotide_shuffle
    model, X = network(), sequences(3)
    asked = {"references": shuffle, "n_shuffles": 5, "random_state": 7, "hypothetical": True}
    torch.testing.assert_close(
        deep_lift_shap(model, X, **asked), theirs(model, X, **asked), **EXACT
    )


def test_tangermemes_experiments_take_this_function() -> None:
    marginalize, model, X = tangermeme("marginalize").marginalize, network(), sequences(3)
    more = {"references": lambda X, n: X.flip(-1)[:, None].expand(-1, n, -1, -1), "n_shuffles": 2}
    got, expected = (
        marginalize(model, X, "ACGTACG", func=function, additional_func_kwargs=more)
        for function in (deep_lift_shap, tangermeme().deep_lift_shap)
    )
    torch.testing.assert_close(got.y_before, expected.y_before, **EXACT)
    torch.testing.assert_close(got.y_after, expected.y_after, **EXACT)


class Conditioned(nn.Module):
    """Reads a further argument beside the sequence, and gives shape (N, T, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(4, 6, 5), nn.Conv1d(8, 2, 1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor, v: Tensor) -> Tensor:
        y = self.relu(self.conv(x)).mean(-1)
        return self.head(torch.cat([y, v], 1)[..., None])


def test_further_arguments_and_an_output_with_an_axis_of_length_one() -> None:
    model, X, v = Conditioned().double(), sequences(3), torch.randint(0, 9, (3, 2))
    asked = {"args": (v,), "references": related(X, 4), "target": 1, "raw_outputs": True}
    torch.testing.assert_close(
        deep_lift_shap(model, X, **asked), theirs(model, X, **asked), **EXACT
    )


def test_attributions_are_averages_over_shuffles_of_what_a_linear_model_weighs() -> None:
    model, X = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).double(), sequences(4, length=12)
    got, x0 = deep_lift_shap(
        model, X, target=1, n_shuffles=6, random_state=1, return_references=True, hypothetical=True
    )
    w = model[1].weight[1].detach().view(4, 12)
    expected = torch.stack(
        [
            torch.stack([w - (w * one).sum(0) for one in of_a_sequence]).mean(0)
            for of_a_sequence in x0
        ]
    )
    torch.testing.assert_close(got, expected, **EXACT)
    again = deep_lift_shap(model, X[2:], target=1, n_shuffles=6, random_state=1)
    torch.testing.assert_close(again, got[2:] * X[2:], **EXACT)


def test_shuffles_of_a_sequence_do_not_depend_on_the_others() -> None:
    X = sequences(3)
    together = dinucleotide_shuffle(X, n=4, random_state=2)
    assert together.shape == (3, 4, 4, 24)
    assert torch.equal(dinucleotide_shuffle(X[1:2], n=4, random_state=2), together[1:2])
    pairs = torch.einsum("nal,nbl->nab", X[..., :-1], X[..., 1:])
    shuffled = torch.einsum("nkal,nkbl->nkab", together[..., :-1], together[..., 1:])
    assert torch.equal(shuffled, pairs[:, None].expand_as(shuffled))
    assert dinucleotide_shuffle(X).shape == (3, 20, 4, 24)


class Functional(nn.Module):
    """An activation function that is no module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.out, self.function = nn.Conv1d(4, 6, 5), nn.Linear(6, 2), function

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.function(self.conv(x)).mean(-1))


WRONG: dict[str, Callable[[], nn.Module]] = {
    "F.relu": lambda: Functional(F.relu),
    "an adaptive max pool": lambda: Functional(nn.AdaptiveMaxPool1d(4)),
    "a group norm": lambda: Functional(nn.GroupNorm(2, 6)),
    "a product": lambda: Functional(lambda x: x * x.mean(1, keepdim=True)),
    "a bare exponential": lambda: Functional(torch.exp),
    "a product of matrices": lambda: Functional(lambda x: (x.mT @ x).tanh()[:, :6]),
}


@pytest.mark.parametrize("name", WRONG)
def test_sums_hold_where_tangermemes_do_not(name: str) -> None:
    torch.manual_seed(1)
    model, X, x0 = WRONG[name]().double(), sequences(4), sequences(4, 2)
    with torch.no_grad():
        expected = model(X)[:, :1] - model(x0.flatten(0, 1))[:, 0].view(4, 2)

    def off(function: Callable[..., Tensor]) -> float:
        m = function(model, X, references=x0, raw_outputs=True)
        sums = (m * (X[:, None] - x0)).sum((2, 3))
        return float(((sums - expected).abs().max() / expected.abs().max()).detach())

    assert off(deep_lift_shap) < 1e-12
    assert off(theirs) > 1e-3


def test_errors_of_sums_are_warned_of_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    model, X = network(), sequences(2)
    with pytest.warns(RuntimeWarning, match="off by no more than -1.0"):
        deep_lift_shap(
            model, X, n_shuffles=2, warning_threshold=-1.0, print_convergence_deltas=True
        )
    assert capsys.readouterr().out.startswith("tensor([[")
    deep_lift_shap(model, X, n_shuffles=2, batch_size=1, verbose=True)
    assert capsys.readouterr().err == "1 of 2 sequences\n2 of 2 sequences\n"


def test_integers_take_the_models_precision_and_its_mode_stays() -> None:
    model, X = network().train(), sequences(2)
    x0 = related(X)
    expected = deep_lift_shap(model, X, references=x0)
    assert expected.dtype == torch.float64 and model.training
    got = deep_lift_shap(model, X.to(torch.int8), references=x0.to(torch.int8), dtype="float64")
    assert torch.equal(got, expected)


def own(module: nn.Module, grad_input: Any, grad_output: Any) -> Any:
    return grad_input


def test_rules_of_tangermeme_for_modules_are_not_needed() -> None:
    model, X = network(), sequences(2)
    asked = {"references": related(X)}
    rules = {nn.Tanh: tangermeme()._nonlinear}
    got = deep_lift_shap(model, X, additional_nonlinear_ops=rules, **asked)
    assert torch.equal(got, deep_lift_shap(model, X, **asked))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"X": sequences(2)[0]}, r"shape \(N, A, L\); got \(4, 24\)"),
        ({"X": sequences(2) / 2}, "X must be one-hot, without unknown letters"),
        ({"X": sequences(2) * (torch.arange(24) > 3)}, "X must be one-hot, without unknown"),
        ({"references": sequences(2)}, r"must have shape .* got \(2, 4, 24\)"),
        ({"references": sequences(2, 3) * 2}, "with zeros for unknown letters"),
        ({"n_shuffles": 0}, "n_shuffles must be 1 or more; got 0"),
        ({"batch_size": 0}, "batch_size must be 1 or more; got 0"),
        ({"target": 3}, "target 3 is out of range: the model has 3 outputs"),
        ({"dtype": "bfloat16"}, r"dtype must be the model's, torch\.float64, or None"),
        ({"device": "cuda"}, "must be where the model is, cpu"),
        ({"additional_nonlinear_ops": {nn.Tanh: own}}, "must hold rules of tangermeme.*'own'"),
    ],
)
def test_mistakes_are_met_by_a_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        deep_lift_shap(network(), **{"X": sequences(2), **options})


def test_what_is_no_tensor_and_outputs_of_many_values_are_refused() -> None:
    with pytest.raises(InvalidTypeError, match="X must be a tensor; got list"):
        deep_lift_shap(network(), [])
    with pytest.raises(InvalidTypeError, match="references must be a tensor, or a function"):
        deep_lift_shap(network(), sequences(2), references="shuffle")
    with pytest.raises(InvalidInputError, match=r"one value for each output.*\(2, 20\) for each"):
        deep_lift_shap(nn.Conv1d(4, 2, 5).double(), sequences(2))


def test_sequences_that_are_not_one_hot_may_be_only_warned_of() -> None:
    model, X = network(), sequences(2)
    x0 = related(X)
    X[:, :, 3] = 0
    with pytest.warns(UserWarning, match="without unknown letters"):
        got = deep_lift_shap(model, X, references=x0, only_warn=True)
    torch.testing.assert_close(got, theirs(model, X, references=x0, only_warn=True), **EXACT)
