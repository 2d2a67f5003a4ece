"""LRP in half precision: finite by default, and as near the truth as plain torch in that type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.rules import lrp as rules

# With three digits, sums of parts of either sign may be far from the score.
pytestmark = pytest.mark.filterwarnings("ignore::relprop.InexactWarning")

HALVES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])


def network() -> nn.Sequential:
    return nn.Sequential(
        *(nn.ReLU(), nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 8, 3, bias=False), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(32, 10), nn.ReLU(), nn.Linear(10, 4)),
    )


def pictures(dtype: torch.dtype) -> Tensor:
    """With regions of zeros, where a layer without bias gives 0."""
    x = torch.randn(4, 3, 12, 12)
    x[:2, :, :8] = 0
    return x.to(dtype)


@HALVES
@pytest.mark.parametrize("composite", rules.COMPOSITES)
def test_defaults_keep_relevance_finite(composite: str, dtype: torch.dtype) -> None:
    bounds = {"low": 0.0, "high": 4.0} if rules.COMPOSITES[composite].needs_bounds else {}
    model, x = network().to(dtype), pictures(dtype)
    for target in range(2):
        R = relprop.LRP(model, composite, **bounds).attribute(x, target=target)
        assert R.dtype == dtype and R.isfinite().all() and R.any()


@HALVES
def test_defaults_keep_relevance_finite_where_all_denominators_are_zero(dtype: torch.dtype) -> None:
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(800, 2))
    ).to(dtype)
    for composite in ("epsilon", "epsilon_plus", "epsilon_alpha2_beta1"):
        R = relprop.LRP(model, composite).attribute(torch.zeros(2, 3, 12, 12, dtype=dtype), 1)
        assert not R.any()


Parts = list[tuple[float, Callable[[Tensor], Tensor]]]
#: For each rule and x >= 0: the factors of its parts, and what becomes of weights and biases.
PLAIN: dict[str, tuple[Any, Parts]] = {
    "epsilon": (rules.Epsilon(), [(1.0, lambda w: w)]),
    "zplus": (rules.ZPlus(), [(1.0, lambda w: w.clamp(min=0))]),
    "alphabeta": (
        rules.AlphaBeta(2, 1),
        [(2.0, lambda w: w.clamp(min=0)), (-1.0, lambda w: w.clamp(max=0))],
    ),
}


def by_plain_torch(model: nn.Sequential, x: Tensor, parts: Parts, epsilon: float) -> Tensor:
    """Relevance from layer to layer in the formula's own steps, all in the type of x."""
    activations = [x]
    for module in model:
        activations.append(module(activations[-1]).detach())
    R = activations[-1] * torch.eye(4)[1].to(x.dtype)
    for module, a in zip(reversed(model), reversed(activations[:-1]), strict=True):
        if isinstance(module, nn.ReLU):
            continue
        of_pool = isinstance(module, nn.AvgPool2d)
        shares = [(1.0, lambda w: w)] if of_pool else parts
        if isinstance(module, (nn.MaxPool2d, nn.Flatten)):
            R = transposed(module, {}, a, R)[1]
            continue
        total = torch.zeros_like(a)
        for factor, part in shares:
            changed = {name: part(w.detach()) for name, w in module.named_parameters()}
            z, _ = transposed(module, changed, a, None)
            s = R / (z + epsilon * torch.where(z < 0, -1, 1).to(z.dtype))
            total = total + factor * a * transposed(module, changed, a, s)[1]
        R = total
    return R


def transposed(
    module: nn.Module, weights: dict[str, Tensor], a: Tensor, s: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The module's output with other weights, and its transposed Jacobian times s."""
    a = a.clone().requires_grad_()
    z = torch.func.functional_call(module, weights, a)
    return z.detach(), torch.autograd.grad(z, a, torch.zeros_like(z) if s is None else s)[0]


@HALVES
@pytest.mark.parametrize("name", PLAIN)
def test_relevance_is_as_near_the_truth_as_by_plain_torch(name: str, dtype: torch.dtype) -> None:
    """The truth is the formula in float64, of the same weights; the type's error is torch's own."""
    rule, parts = PLAIN[name]
    model, x = network().to(dtype).requires_grad_(False), pictures(dtype)
    epsilon = {torch.float16: 1e-3, torch.bfloat16: 1e-2}[dtype]
    plain = by_plain_torch(model, x, parts, epsilon)
    composite = relprop.Composite([("dense", rule), ("convolution", rule)])
    ours = relprop.LRP(model, composite).attribute(x, target=1)
    truth = by_plain_torch(model.double(), x.double(), parts, epsilon)
    theirs, own = ((R - truth).norm() / truth.norm() for R in (plain, ours))
    assert own <= 2 * theirs + torch.finfo(dtype).eps, (own, theirs)
