"""Taylor decomposition: exact for linear functions, known in closed form for quadratic ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.baselines import BASELINES
from relprop.graph.sweep import Sweep

EXACT = {"rtol": 1e-12, "atol": 1e-12}


class Quadratic(nn.Module):
    """`f_k(x) = x^T A_k x + b_k^T x + c_k` for two k."""

    def __init__(self) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.randn(2, 4, 4, dtype=torch.float64))
        self.b = nn.Parameter(torch.randn(2, 4, dtype=torch.float64))
        self.c = nn.Parameter(torch.randn(2, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        squares = [(x @ self.A[k] * x).sum(1) for k in (0, 1)]
        return torch.stack(squares, 1) + x @ self.b.T + self.c

    def gradient(self, x: Tensor, k: int) -> Tensor:
        A = self.A[k].detach()
        return x @ (A + A.T) + self.b[k].detach()


X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("root", [False, True])
def test_linear_function_is_explained_without_remainder(root: bool) -> None:
    model = nn.Linear(4, 1, bias=False).double()
    R, delta = relprop.Taylor(model).attribute(
        X, baselines=-X, return_convergence_delta=True, root=root
    )
    expected = X * model.weight.detach() * (1 if root else 2)  # the root is at 0, halfway
    torch.testing.assert_close(R, expected, **EXACT)
    torch.testing.assert_close(delta, torch.zeros(3, dtype=torch.float64), **EXACT)


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("target", [1, [0, 1, 0]])
def test_quadratic_function_lacks_its_second_order(common: bool, target: Any) -> None:
    """`f(x) = f(x0) + g(x0) d + d^T A d`: the delta is the last term, with a minus."""
    model = Quadratic()
    x0 = torch.randn_like(X[:1] if common else X)
    R, delta = relprop.Taylor(model).attribute(
        X, baselines=x0, target=target, return_convergence_delta=True
    )
    d = X - x0
    for i, k in enumerate([target] * 3 if isinstance(target, int) else target):
        start = x0[0 if common else i]
        torch.testing.assert_close(R[i], model.gradient(start, k) * d[i], **EXACT)
        torch.testing.assert_close(delta[i], -(d[i] @ model.A[k].detach() @ d[i]), **EXACT)


def test_root_of_a_quadratic_function_is_where_the_formula_has_it() -> None:
    """f(x) = |x|^2 - 1 along the line to 0: the root is x / |x|, so R = 2 x^2 (|x| - 1) / |x|^2."""

    class Sphere(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x * x).sum(1) - 1

    x = torch.cat([3 * X, 1.5 * X / X.norm(dim=1, keepdim=True)])
    assert (x.norm(dim=1) > 1).all()
    R, delta = relprop.Taylor(Sphere()).attribute(x, root=True, return_convergence_delta=True)
    size = x.norm(dim=1, keepdim=True)
    torch.testing.assert_close(R, 2 * x**2 * (size - 1) / size**2, **EXACT)
    torch.testing.assert_close(delta, -((size[:, 0] - 1) ** 2), **EXACT)


def test_every_target_has_its_own_roots() -> None:
    model = nn.Linear(4, 2, bias=False).double()
    got, delta = relprop.Taylor(model).attribute(
        X, -2 * X, target=[[0, 1]] * 3, root=True, return_convergence_delta=True
    )
    expected = X[:, None] * model.weight.detach()
    torch.testing.assert_close(got, expected, **EXACT)
    assert delta.shape == (3, 2) and delta.abs().max() < 1e-12


def test_at_the_edge_of_a_relu_the_gradient_is_that_of_the_inputs_side() -> None:
    """relu(w x - 1) is 0 at the baseline and far beyond: the nearest root has a gradient."""
    model = nn.Sequential(nn.Linear(2, 1), nn.ReLU()).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 2.0]]))
        model[0].bias.fill_(-1)
    x = torch.tensor([[1.0, 1.0]], dtype=torch.float64)  # score 2, root at x / 3
    R, delta = relprop.Taylor(model).attribute(x, root=True, return_convergence_delta=True)
    torch.testing.assert_close(R, torch.tensor([[2 / 3, 4 / 3]], dtype=torch.float64), **EXACT)
    assert delta.abs().max() < 1e-12


def test_score_of_zero_is_its_own_root_and_negative_scores_have_roots() -> None:
    model = nn.Linear(1, 1).double()
    nn.init.ones_(model.weight)
    nn.init.constant_(model.bias, -1)
    x = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    R = relprop.Taylor(model).attribute(x, baselines=3.0, root=True)
    torch.testing.assert_close(R, torch.tensor([[0.0], [-1.0]], dtype=torch.float64), **EXACT)


def test_scores_of_one_sign_have_no_root_and_the_example_is_named() -> None:
    model = nn.Linear(1, 1).double()
    nn.init.ones_(model.weight)
    nn.init.ones_(model.bias)
    x = torch.tensor([[-3.0], [2.0]], dtype=torch.float64)
    sentence = r"different signs.*example 1 has 3 and 1: choose another baseline, or root=False"
    with pytest.raises(relprop.InvalidInputError, match=sentence):
        relprop.Taylor(model).attribute(x, root=True)


def network() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3))
    ).double()


IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize(
    "baseline, made",
    [
        ("blank", torch.zeros_like(IMAGES)),
        ("blur", BASELINES["blur"](IMAGES)),
        (0.3, torch.full_like(IMAGES, 0.3)),
        (lambda x: x.flip(3), IMAGES.flip(3)),
        (-IMAGES, -IMAGES),
    ],
)
def test_gradient_at_the_baseline_is_autograds(baseline: Any, made: Tensor) -> None:
    model = network()
    x0 = made.clone().requires_grad_()
    m = torch.autograd.grad(model(x0)[range(2), [2, 0]].sum(), x0)[0]
    got = relprop.Taylor(model).attribute(IMAGES, baseline, target=[2, 0])
    torch.testing.assert_close(got, m * (IMAGES - x0.detach()), **EXACT)


def test_one_target_at_a_common_baseline_is_swept_once_on_one_example(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taylor = relprop.Taylor(network())
    whole = taylor.attribute(IMAGES, torch.zeros_like(IMAGES), target=1)
    sizes, backward = [], Sweep.backward

    def counted(sweep: Sweep, context: Any, runs: Any, message: Tensor, **rest: Any) -> Any:
        sizes.append(len(message))
        return backward(sweep, context, runs, message, **rest)

    monkeypatch.setattr(Sweep, "backward", counted)
    got = taylor.attribute(IMAGES, target=1)
    assert sizes == [1]
    torch.testing.assert_close(got, whole, **EXACT)


def test_a_distribution_of_baselines_is_averaged_over() -> None:
    taylor, samples = relprop.Taylor(network()), torch.rand(4, 3, 8, 8, dtype=torch.float64)
    each = [taylor.attribute(IMAGES, one[None], target=1) for one in samples]
    got = taylor.attribute(IMAGES, relprop.Distribution(samples), target=1)
    torch.testing.assert_close(got, torch.stack(each).mean(0), **EXACT)
