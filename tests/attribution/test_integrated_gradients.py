"""Integrated gradients against integrals known in closed form, and SmoothGrad against its mean."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.graph.sweep import Sweep

EXACT = {"rtol": 1e-12, "atol": 1e-12}
METHODS = ("gausslegendre", "riemann_left", "riemann_middle", "riemann_right", "riemann_trapezoid")


def network() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv1d(4, 6, 3, padding=1), nn.Tanh(), nn.MaxPool1d(2), nn.Conv1d(6, 5, 3)),
        *(nn.ReLU(), nn.Flatten(), nn.Linear(25, 3)),
    ).double()


X = torch.randn(3, 4, 14, generator=torch.Generator().manual_seed(0)).double()
TARGETS = torch.tensor([0, 2, 1])


class Cubic(nn.Module):
    """`f(x) = sum_i x_i^3 + x_1 x_2`."""

    def forward(self, x: Tensor) -> Tensor:
        return (x**3).sum(1) + x[:, 0] * x[:, 1]


def test_integral_of_a_polynomial_is_exact() -> None:
    """Along x0 + a d, the gradient by x_i is a parabola in a; two Gauss points integrate it."""
    x, x0 = torch.randn(2, 5, 3, dtype=torch.float64)
    got, delta = relprop.IntegratedGradients(Cubic()).attribute(
        x, x0, n_steps=2, return_convergence_delta=True
    )
    d = x - x0
    expected = x**3 - x0**3
    expected[:, 0] += d[:, 0] * (x[:, 1] + x0[:, 1]) / 2
    expected[:, 1] += d[:, 1] * (x[:, 0] + x0[:, 0]) / 2
    torch.testing.assert_close(got, expected, **EXACT)
    torch.testing.assert_close(delta, torch.zeros(5, dtype=torch.float64), **EXACT)


@pytest.mark.parametrize("method", METHODS)
def test_sum_of_gradients_is_autograds(method: str) -> None:
    """Each method's points and weights, written out."""
    n, model = 4, network()
    points = {
        "riemann_left": ([0, 1 / 4, 1 / 2, 3 / 4], [1 / 4] * 4),
        "riemann_middle": ([1 / 8, 3 / 8, 5 / 8, 7 / 8], [1 / 4] * 4),
        "riemann_right": ([1 / 4, 1 / 2, 3 / 4, 1], [1 / 4] * 4),
        "riemann_trapezoid": ([0, 1 / 3, 2 / 3, 1], [1 / 6, 1 / 3, 1 / 3, 1 / 6]),
    }
    inner, outer = (3 / 7 - 2 / 7 * 1.2**0.5) ** 0.5, (3 / 7 + 2 / 7 * 1.2**0.5) ** 0.5
    small, large = (18 - 30**0.5) / 36, (18 + 30**0.5) / 36
    points["gausslegendre"] = (
        [(1 + t) / 2 for t in (-outer, -inner, inner, outer)],
        [w / 2 for w in (small, large, large, small)],
    )
    x0, total = torch.randn_like(X), torch.zeros_like(X)
    for a, w in zip(*points[method], strict=True):
        x = (x0 + a * (X - x0)).requires_grad_()
        total += w * torch.autograd.grad(model(x)[range(3), TARGETS].sum(), x)[0]
    got = relprop.IntegratedGradients(model).attribute(
        X, x0, target=TARGETS, n_steps=n, method=method
    )
    torch.testing.assert_close(got, (X - x0) * total, **EXACT)


def captum_integrated_gradients(model: nn.Module, *arguments: Any, **settings: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attr = pytest.importorskip("captum.attr")
        return attr.IntegratedGradients(model).attribute(*arguments, **settings)


@pytest.mark.parametrize("method", METHODS)
def test_equal_to_captum(method: str) -> None:
    """To its float32 points and weights; those of its trapezoid sum to 1 - 1 / n_steps."""
    model, x0 = network(), torch.randn_like(X)
    settings = {"target": TARGETS, "n_steps": 20, "method": method}
    expected = captum_integrated_gradients(model, X, x0, **settings)
    expected = expected / (1 - 1 / 20 if method == "riemann_trapezoid" else 1)
    got = relprop.IntegratedGradients(model).attribute(X, x0, **settings)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_delta_is_the_sum_minus_the_difference() -> None:
    model = network()
    difference = (model(X) - model(torch.zeros_like(X)))[range(3), TARGETS].detach()
    R, delta = relprop.IntegratedGradients(model).attribute(
        X, target=TARGETS, n_steps=3, return_convergence_delta=True
    )
    torch.testing.assert_close(delta, R.flatten(1).sum(1) - difference, **EXACT)


@pytest.mark.parametrize("n", [2, 10, 50, 250])
def test_delta_falls_with_the_steps_as_euler_and_maclaurin_have_it(n: int) -> None:
    """`-(h(1) - h(0)) / 2n + (h'(1) - h'(0)) / 12n^2`, `h(a) = 3 a^2 sum x^3 + 2 a x_1 x_2`."""
    x = X[:, :, 0]
    _, delta = relprop.IntegratedGradients(Cubic()).attribute(
        x, n_steps=n, method="riemann_left", return_convergence_delta=True
    )
    cubes, product = (x**3).sum(1), x[:, 0] * x[:, 1]
    expected = -(3 * cubes + 2 * product) / (2 * n) + 6 * cubes / (12 * n**2)
    torch.testing.assert_close(delta, expected, **EXACT)


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 10**6])
def test_result_is_the_same_however_many_points_are_swept_at_once(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network()
    method, targets = relprop.IntegratedGradients(model), torch.tensor([[0, 1], [2, 0], [1, 1]])
    whole = method.attribute(X, target=targets, n_steps=5)
    rows, forward = [], Sweep.forward

    def counted(sweep: Sweep, constants: Any, arguments: Any) -> Any:
        rows.append(len(next(iter(arguments.values()))))
        return forward(sweep, constants, arguments)

    monkeypatch.setattr(Sweep, "forward", counted)
    got = method.attribute(X, target=targets, n_steps=5, internal_batch_size=batch)
    assert max(rows) <= batch and (batch < 15 or 15 in rows)
    assert got.shape == (3, 2, 4, 14)
    torch.testing.assert_close(got, whole, **EXACT)
    columns = [method.attribute(X, target=targets[:, t], n_steps=5) for t in (0, 1)]
    torch.testing.assert_close(got, torch.stack(columns, 1), **EXACT)


@pytest.mark.parametrize("baseline", ["blank", 0.5, lambda x: x.flip(0), X[:1], -X])
def test_baselines_of_every_kind(baseline: Any) -> None:
    made = torch.zeros_like(X) if isinstance(baseline, str) else baseline
    made = torch.full_like(X, made) if isinstance(made, float) else made
    made = made(X) if callable(made) else made
    method = relprop.IntegratedGradients(network())
    got = method.attribute(X, baseline, target=1, n_steps=5)
    expected = method.attribute(X, made.expand_as(X).contiguous(), target=1, n_steps=5)
    torch.testing.assert_close(got, expected, **EXACT)


def test_a_distribution_of_baselines_is_averaged_over() -> None:
    method, samples = relprop.IntegratedGradients(network()), torch.randn(4, 4, 14).double()
    settings = {"target": 1, "n_steps": 5, "return_convergence_delta": True}
    each = [method.attribute(X, one[None], **settings) for one in samples]
    got, delta = method.attribute(X, relprop.Distribution(samples), **settings)
    torch.testing.assert_close(got, torch.stack([R for R, _ in each]).mean(0), **EXACT)
    torch.testing.assert_close(delta, torch.stack([d for _, d in each]).mean(0), **EXACT)


class Scaled(nn.Module):
    """`f(x, y) = scale * sum x^2 y * weight`, with a scale for each example."""

    def forward(self, x: Tensor, y: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
        return scale * (x**2 * y * weight).sum(1)


@pytest.mark.parametrize("batch", [None, 2])
def test_several_inputs_and_further_arguments(batch: int | None) -> None:
    """The weight is as long as the path has points: it must not be taken for one of each."""
    x, y = torch.randn(2, 3, 12, dtype=torch.float64)
    scale, weight = torch.randn(3).double(), torch.randn(12).double()
    got = relprop.IntegratedGradients(Scaled()).attribute(
        (x, y), additional_forward_args=(scale, weight), n_steps=4, internal_batch_size=batch
    )
    whole = scale[:, None] * x**2 * y * weight  # the integral of 2 a^2 is 2/3, that of a^2 1/3
    torch.testing.assert_close(got[0], 2 / 3 * whole, **EXACT)
    torch.testing.assert_close(got[1], 1 / 3 * whole, **EXACT)


def test_smooth_grad_is_the_mean_gradient_over_the_seeds_noise() -> None:
    model, generator = network(), torch.Generator().manual_seed(5)
    sigma = 0.2 * (X.flatten(1).max(1).values - X.flatten(1).min(1).values)[:, None, None]
    total = torch.zeros_like(X)
    for _ in range(6):
        noise = torch.empty_like(X).normal_(generator=generator)
        x = (X + sigma * noise).requires_grad_()
        total += torch.autograd.grad(model(x)[range(3), TARGETS].sum(), x)[0]
    for batch in (None, 1, 4):
        got = relprop.SmoothGrad(model).attribute(
            X,
            target=TARGETS,
            n_samples=6,
            noise_level=0.2,
            seed=5,
            internal_batch_size=batch,
        )
        torch.testing.assert_close(got, total / 6, **EXACT)


def test_smooth_grad_follows_its_seed_and_leaves_torchs_generator_alone() -> None:
    method = relprop.SmoothGrad(network())
    state = torch.get_rng_state()
    one, same, other = (method.attribute(X, target=0, seed=s) for s in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())
    first, second = (method.attribute(X, target=0) for _ in range(2))
    assert not torch.equal(first, second)


def test_smooth_grad_without_noise_is_the_gradient() -> None:
    model = network()
    got = relprop.SmoothGrad(model).attribute(X, target=0, noise_level=0)
    torch.testing.assert_close(got, relprop.Gradient(model).attribute(X, target=0), **EXACT)


@pytest.mark.parametrize(
    "name, arguments, sentence",
    [
        ("IntegratedGradients", {"n_steps": 0}, "n_steps must be an int >= 1; got 0"),
        ("IntegratedGradients", {"n_steps": 2.5}, "n_steps must be an int >= 1; got 2.5"),
        (
            "IntegratedGradients",
            {"n_steps": 1, "method": "riemann_trapezoid"},
            "n_steps must be an int >= 2; got 1",
        ),
        ("IntegratedGradients", {"method": "simpson"}, "method must be one of 'gausslegendre'"),
        ("IntegratedGradients", {"internal_batch_size": 0}, "internal_batch_size must be an int"),
        ("IntegratedGradients", {"baselines": "grey"}, "baselines must be one of.*'grey'"),
        ("SmoothGrad", {"n_samples": -1}, "n_samples must be an int >= 1; got -1"),
        ("SmoothGrad", {"noise_level": -0.1}, "noise_level must be a finite number >= 0"),
        ("SmoothGrad", {"internal_batch_size": True}, "internal_batch_size must be .* got True"),
    ],
)
def test_a_mistake_is_met_by_one_sentence(
    name: str, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(relprop.InvalidInputError, match=sentence):
        getattr(relprop, name)(network()).attribute(X, target=0, **arguments)
