"""`explain_func` says what Quantus' own function says where it is right, and serves its metrics."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.attribution.attributor import Attributor
from relprop.compat.quantus import METHODS, explain_func, explainer

BOUNDS = {"low": -4.0, "high": 4.0}


class Network(nn.Module):
    """captum, which Quantus calls, is right on it: every ReLU is a module, called once."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(2, 4, 3, padding=1), nn.ReLU()
        self.pool, self.out = nn.AvgPool2d(2), nn.Linear(36, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.pool(self.relu(self.conv(x))).flatten(1))


def quantus() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("quantus")


def theirs(model: nn.Module, x: Any, y: Any, **options: Any) -> Any:
    """What `quantus.explain` finds, on a copy of the model."""
    package = quantus()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return package.explain(copy.deepcopy(model), x, y, **options)


def images(n: int = 3, dtype: Any = np.float32) -> Any:
    return torch.randn(n, 2, 6, 6).numpy().astype(dtype)


CLASSES = np.array([2, 0, 1])


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("LRP", {"epsilon": 1e-9, "stabilizer": 1e-9}),
        ("DeepLift", {}),
        ("DeepLift", {"baseline": 0.5}),
        ("InputXGradient", {}),
        ("Gradient", {}),
        ("Saliency", {}),
        ("Deconvolution", {}),
    ],
)
def test_names_that_quantus_has_mean_the_same(method: str, options: dict[str, Any]) -> None:
    model, x = Network().eval(), images()
    shared = {k: v for k, v in options.items() if k == "baseline"}
    expected = theirs(model, x, CLASSES, method=method, **shared)
    got = explain_func(model, x, CLASSES, method=method, **options)
    assert got.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("axes", [(1,), (2,), (1, 3), ()])
@pytest.mark.parametrize("keepdims", [True, False])
def test_explanations_are_summed_along_the_same_dimensions(
    axes: tuple[int, ...], keepdims: bool
) -> None:
    model, x = Network().eval(), images()
    asked = {"method": "Gradient", "reduce_axes": axes, "keepdims": keepdims}
    expected = theirs(model, x, CLASSES, **asked)
    got = explain_func(model, x, CLASSES, **asked)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_features_are_not_summed() -> None:
    model, x = nn.Linear(4, 3).double(), torch.randn(2, 4).double().numpy()
    got = explain_func(model, x, np.array([1, 2]), method="InputXGradient")
    expected = x * model.weight.detach().numpy()[[1, 2]]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_relevance_is_that_of_the_epsilon_rule_written_out() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    x = torch.randn(3, 4).double().numpy()
    (V, a), (W, b) = (
        (m.weight.detach().numpy(), m.bias.detach().numpy()) for m in (model[0], model[2])
    )
    h = np.maximum(x @ V.T + a, 0)
    z, pre, R = h @ W.T + b, x @ V.T + a, np.zeros((3, 5))
    for n, k in enumerate(CLASSES):
        R[n] = h[n] * W[k] * z[n, k] / (z[n, k] + 0.01 * np.sign(z[n, k]))
    expected = x * ((R / (pre + 0.01 * np.sign(pre))) @ V)
    got = explain_func(model, x, CLASSES, epsilon=0.01)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", METHODS)
def test_every_name_is_the_method_of_relprop_that_it_says(name: str) -> None:
    model, x = Network().double().eval(), images(dtype=np.float64)
    chosen = METHODS[name]
    bounds = BOUNDS if name.endswith("_box") else {}
    seed = {"seed": 1} if name == "SmoothGrad" else {}
    got = explain_func(model, x, CLASSES, method=name, reduce_axes=(), **bounds, **seed)
    attributor: Any = chosen.kind(model, **chosen.preset, **bounds)
    expected = attributor.attribute(torch.from_numpy(x), target=torch.tensor(CLASSES), **seed)
    expected = expected.abs() if name == "Saliency" else expected
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-12, atol=1e-14)


def test_every_method_of_relprop_has_a_name() -> None:
    public = [getattr(relprop, name) for name in relprop.__all__]
    methods = {one for one in public if isinstance(one, type) and issubclass(one, Attributor)}
    assert {method.kind for method in METHODS.values()} == methods


def test_what_quantus_raises_an_error_for_is_explained() -> None:
    flattened = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)).eval()
    for model, method in ((flattened, "LRP"), (Network().double().eval(), "Gradient")):
        assert explain_func(model, images(), CLASSES, method=method).shape == (3, 1, 6, 6)
        with pytest.raises((TypeError, RuntimeError)):
            theirs(model, images(), CLASSES, method=method)


class Weighted(nn.Module):
    """Without a parameter."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1] + 2 * x[:, 1:2]


def test_integrated_gradients_add_up_and_those_of_quantus_are_a_tenth_short() -> None:
    x, asked = torch.randn(3, 4).numpy(), {"method": "IntegratedGradients"}
    expected, first = x[:, 0] + 2 * x[:, 1], np.zeros(3, np.int64)
    got = explain_func(Weighted(), x, first, **asked).sum(1)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    short = theirs(Weighted(), x, first, **asked).sum(1)
    np.testing.assert_allclose(short, 0.9 * expected, rtol=1e-5, atol=1e-6)


def test_metrics_score_alike_what_is_explained_alike() -> None:
    package, model, x = quantus(), Network().eval(), images()

    def score(explain: Any, name: str) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            metrics = {
                "flipping": package.PixelFlipping(features_in_step=6, disable_warnings=True),
                "sparseness": package.Sparseness(disable_warnings=True),
                "randomised": package.MPRT(disable_warnings=True),
            }
            return package.evaluate(
                metrics, {name: explain}, copy.deepcopy(model), x, CLASSES,
                explain_func_kwargs={}, agg_func=lambda scores: scores,
            )[name]  # fmt: skip

    expected = score(package.explain, "InputXGradient")
    for explain, name in ((explain_func, "InputXGradient"), (explainer("InputXGradient"), "x")):
        got = score(explain, name)
        assert set(got) == set(expected) == {"flipping", "sparseness", "randomised"}
        for metric in ("flipping", "sparseness"):
            np.testing.assert_allclose(got[metric], expected[metric], rtol=1e-4)
        for layer, scores in expected["randomised"].items():
            np.testing.assert_allclose(got["randomised"][layer], scores, rtol=1e-3, atol=1e-5)
