"""`DeepExplainer` gives what shap's does where that is right, and adds up where it does not."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relprop import InvalidInputError, InvalidTypeError
from relprop.compat.shap import AdditivityError, DeepExplainer, deep_explainer
from relprop.errors import MissingPackageError

EXACT = {"rtol": 1e-9, "atol": 1e-12}


def shap() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("shap")


def theirs(model: Any, data: Any) -> Any:
    """shap's explainer, for a copy of the model."""
    return shap().DeepExplainer(copy.deepcopy(model), data)


def called(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **options)


def dense(outputs: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, outputs)).double().eval()


def table(n: int) -> Tensor:
    return torch.randn(n, 4).double()


def images(n: int) -> Tensor:
    return torch.randn(n, 1, 8, 8).double()


def convolutional(*between: nn.Module, outputs: int) -> nn.Sequential:
    layers = [nn.Conv2d(1, 3, 3), *between, nn.Flatten(), nn.Linear(outputs, 2)]
    return nn.Sequential(*layers).double().eval()


class Pair(nn.Module):
    """Two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 5), nn.Linear(2, 5)
        self.bend, self.out = nn.Softplus(), nn.Linear(5, 3)

    def forward(self, x: Tensor, v: Tensor) -> Tensor:
        return self.out(self.bend(self.one(x) + self.two(v)))


def test_values_for_all_outputs_of_a_table() -> None:
    model, x, data = dense(), table(5), table(7)
    expected, ours = theirs(model, data), DeepExplainer(model, data)
    np.testing.assert_allclose(ours.expected_value, expected.expected_value, rtol=1e-12)
    got, wanted = ours.shap_values(x), called(expected.shap_values, x)
    assert got.shape == wanted.shape == (5, 4, 3) and got.dtype == wanted.dtype
    np.testing.assert_allclose(got, wanted, **EXACT)
    np.testing.assert_array_equal(DeepExplainer(model, data.numpy()).shap_values(x.numpy()), got)


def test_values_for_images_of_a_convolutional_network() -> None:
    model = convolutional(nn.ReLU(), nn.MaxPool2d(2), outputs=27)
    x, data = images(3), images(4)
    got = DeepExplainer(model, data).shap_values(x)
    np.testing.assert_allclose(got, called(theirs(model, data).shap_values, x), **EXACT)
    assert got.shape == (3, 1, 8, 8, 2)


def test_a_model_with_one_output_has_a_last_dimension_of_size_one() -> None:
    model, x, data = dense(1), table(5), table(7)
    for options in ({}, {"ranked_outputs": 1}):
        got = DeepExplainer(model, data).shap_values(x, **options)
        wanted = called(theirs(model, data).shap_values, x, **options)
        if options:
            assert got[1].tolist() == wanted[1].tolist()
            got, wanted = got[0], wanted[0]
        assert got.shape == wanted.shape == (5, 4, 1)
        np.testing.assert_allclose(got, wanted, **EXACT)


@pytest.mark.parametrize("order", ["max", "min", "max_abs"])
def test_foremost_outputs_are_ranked_as_in_shap_whose_own_check_fails_on_them(order: str) -> None:
    model, x, data = dense(), table(5), table(7)
    got, ranks = DeepExplainer(model, data).shap_values(x, 2, order)
    explainer = theirs(model, data)
    wanted, expected = called(explainer.shap_values, x, 2, order, check_additivity=False)
    assert torch.equal(ranks, expected)
    np.testing.assert_allclose(got, wanted, **EXACT)
    with pytest.raises(AssertionError):
        called(explainer.shap_values, x, 2, order)


def test_several_inputs_have_a_list_of_values() -> None:
    model, x, data = (
        Pair().double(),
        [table(3), torch.randn(3, 2).double()],
        [table(5), torch.randn(5, 2).double()],
    )
    got = DeepExplainer(model, data).shap_values(x)
    wanted = called(theirs(model, data).shap_values, x)
    assert [one.shape for one in got] == [(3, 4, 3), (3, 2, 3)]
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one, other, **EXACT)


@pytest.mark.parametrize("layer", [1, 2, 4])
def test_values_for_what_a_layer_reads_but_shap_takes_a_relus_own_gradient(layer: int) -> None:
    model = convolutional(nn.BatchNorm2d(3), nn.ReLU(), outputs=108)
    x, data = images(3), images(4)
    got = DeepExplainer((model, model[layer]), data).shap_values(x)
    with torch.no_grad():
        change = model(x) - model(data).mean(0)
    np.testing.assert_allclose(got.reshape(3, -1, 2).sum(1), change.numpy(), rtol=1e-9)
    copied = copy.deepcopy(model)
    explainer = shap().DeepExplainer((copied, copied[layer]), data)
    if isinstance(model[layer], nn.ReLU):
        with pytest.raises(AssertionError, match="do not sum up"):
            called(explainer.shap_values, x)
    else:
        np.testing.assert_allclose(got, called(explainer.shap_values, x), **EXACT)


def test_values_do_not_depend_on_how_many_examples_are_explained_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, x, data = dense(), table(5), table(7)
    together = DeepExplainer(model, data).shap_values(x)
    monkeypatch.setattr(deep_explainer, "BLOCK_BYTES", 64)
    np.testing.assert_allclose(DeepExplainer(model, data).shap_values(x), together, rtol=1e-12)


class By(nn.Module):
    """A function that is no module, between layers."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.one, self.two, self.function = nn.Linear(4, 6), nn.Linear(6, 2), function

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.function(self.one(x)))


RELU = nn.ReLU()
WRONG: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = {
    "F.relu": (lambda: By(F.relu), table),
    "a product": (lambda: By(lambda x: x * x), table),
    "PReLU": (lambda: nn.Sequential(nn.Linear(4, 6), nn.PReLU(), nn.Linear(6, 2)), table),
    "SiLU": (lambda: nn.Sequential(nn.Linear(4, 6), nn.SiLU(), nn.Linear(6, 2)), table),
    "a module called twice": (
        lambda: nn.Sequential(nn.Linear(4, 6), RELU, nn.Linear(6, 6), RELU, nn.Linear(6, 2)),
        table,
    ),
    "overlapping max pools": (lambda: convolutional(nn.MaxPool2d(3, 1), outputs=48), images),
    "an adaptive max pool": (lambda: convolutional(nn.AdaptiveMaxPool2d(2), outputs=12), images),
    "a group norm": (lambda: convolutional(nn.GroupNorm(1, 3), outputs=108), images),
}


@pytest.mark.parametrize("name", WRONG)
def test_sums_hold_where_those_of_shap_do_not(name: str) -> None:
    torch.manual_seed(1)
    build, draw = WRONG[name]
    model, x, data = build().double().eval(), draw(6), draw(5)
    with torch.no_grad():
        change = (model(x) - model(data).mean(0)).numpy()

    def off(values: Any) -> float:
        return float(np.abs(values.reshape(6, -1, 2).sum(1) - change).max() / np.abs(change).max())

    assert off(DeepExplainer(model, data).shap_values(x)) < 1e-12
    assert off(called(theirs(model, data).shap_values, x, check_additivity=False)) > 1e-3


def test_a_softmax_is_explained_by_all_logits_and_not_by_its_outputs_own_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 2), nn.Softmax(1)).double()
    model[0].weight.data *= torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1]])
    data = table(1)
    x = data + torch.tensor([0, 0, 1, 1])  # so that the logit of output 0 stays
    with torch.no_grad():
        change = (model(x) - model(data)).numpy()
    got = DeepExplainer(model, data).shap_values(x)
    np.testing.assert_allclose(got.sum(1), change, rtol=1e-9)
    wrong = called(theirs(model, data).shap_values, x, check_additivity=False)
    assert np.abs(wrong[..., 0]).max() < 1e-12 < np.abs(change[:, 0]).max()


def test_sums_that_are_off_are_an_error() -> None:
    delta, sums = torch.tensor([[0.0, 0.02]]), torch.tensor([[0.5, 0.5]])
    with pytest.raises(AdditivityError, match=r"off by up to 0\.02"):
        deep_explainer._check(delta, sums)
    deep_explainer._check(delta, 100 * sums)  # as a share, less
    with pytest.raises(AdditivityError):
        deep_explainer._check(delta * torch.nan, sums)


def test_an_explanation_has_what_shaps_plots_read() -> None:
    package, model, x, data = shap(), dense(), table(5), table(7)
    explainer = DeepExplainer(model, data)
    found = explainer(x)
    assert isinstance(found, package.Explanation)
    np.testing.assert_array_equal(found.values, explainer.shap_values(x))
    np.testing.assert_array_equal(found.base_values, np.tile(explainer.expected_value, (5, 1)))
    np.testing.assert_array_equal(found.data, x.numpy())
    summed = found.base_values + found.values.sum(1)
    np.testing.assert_allclose(summed, model(x).detach().numpy(), rtol=1e-9)
    pair = DeepExplainer(Pair().double(), [data, data[:, :2]])([x, x[:, :2]])
    assert [one.values.shape for one in pair] == [(5, 4, 3), (5, 2, 3)]
    inner = DeepExplainer((model, model[2]), data)(x)
    assert inner.values.shape == (5, 6, 3) and inner.data is None


PLOTS: dict[str, Callable[[Any, Any], Any]] = {
    "waterfall": lambda plots, found: plots.waterfall(found[0, :, 1], show=False),
    "force": lambda plots, found: plots.force(found[0, :, 1], matplotlib=True, show=False),
    "beeswarm": lambda plots, found: plots.beeswarm(found[..., 1], show=False),
    "bar": lambda plots, found: plots.bar(found[..., 1], show=False),
    "heatmap": lambda plots, found: plots.heatmap(found[..., 1], show=False),
    "scatter": lambda plots, found: plots.scatter(found[:, 0, 1], show=False),
}


@pytest.mark.parametrize("name", PLOTS)
def test_shap_draws_explanations(name: str) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    package = shap()
    matplotlib.use("Agg")
    found = DeepExplainer(dense(), table(7))(table(5))
    called(PLOTS[name], package.plots, found)
    pyplot = pytest.importorskip("matplotlib.pyplot")
    assert pyplot.gcf().get_axes()
    pyplot.close("all")


def test_without_shap_there_are_values_and_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "shap", None)  # so that it cannot be found
    model, x, data = nn.Linear(4, 2).double(), table(3), table(5)
    explainer = DeepExplainer(model, data)
    expected = (x - data.mean(0))[..., None] * model.weight.T
    np.testing.assert_allclose(explainer.shap_values(x), expected.detach().numpy(), **EXACT)
    with pytest.raises(MissingPackageError, match=r"takes shap, .*: pip install shap"):
        explainer(x)


def test_the_model_is_left_in_its_mode_and_explained_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 2))
    model, x, data = model.double().train(), table(3), table(5)
    training = DeepExplainer(model, data).shap_values(x)
    assert model.training and model[1].num_batches_tracked == 0
    np.testing.assert_array_equal(DeepExplainer(model.eval(), data).shap_values(x), training)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((table(2), 0), "ranked_outputs must be None, or 1 or more; got 0"),
        ((table(2), 1, "least"), "output_rank_order must be one of 'max', 'min', 'max_abs'"),
        ((table(2)[0],), r"one example or more, shape \(N, ...\); got \(4,\)"),
        ((torch.zeros(0, 4),), r"one example or more, shape \(N, ...\); got \(0, 4\)"),
    ],
)
def test_mistakes_are_met_by_a_sentence(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        DeepExplainer(dense(), table(3)).shap_values(*arguments)


def test_what_does_not_fit_the_model_is_refused() -> None:
    with pytest.raises(InvalidTypeError, match="X must be one input, as data is; got list"):
        DeepExplainer(dense(), table(3)).shap_values([table(2)])
    with pytest.raises(InvalidTypeError, match=r"model must be a torch\.nn\.Module, or a pair"):
        DeepExplainer(lambda x: x, table(3))
    with pytest.raises(InvalidInputError, match="the layer must be a module of the model"):
        DeepExplainer((dense(), nn.ReLU()), table(3))
    with pytest.raises(InvalidInputError, match=r"shape \(N, T\); got \(3, 2, 6, 6\)"):
        DeepExplainer(nn.Conv2d(1, 2, 3).double(), images(3))
