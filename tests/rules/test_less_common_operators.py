"""Operators that are read as several nodes: each computes what torch does, and adds up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import relprop

C = 6
BOUND = torch.linspace(-1, 1, C, dtype=torch.float64)

OPERATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "rrelu": lambda x: F.rrelu(x, 0.1, 0.5),
    "softshrink": lambda x: F.softshrink(x, 0.3),
    "glu": lambda x: F.glu(x, 1),
    "glu of space": lambda x: F.glu(x[..., :4]),
    "rms norm": lambda x: F.rms_norm(x, (4, 5)),
    "rms norm, weighted": lambda x: F.rms_norm(x, (5,), BOUND[:5] + 2, 1e-3),
    "maximum": lambda x: torch.maximum(x[:, :3], x[:, 3:] * 0.5),
    "minimum": lambda x: torch.minimum(x[:, :3], x[:, 3:] * 0.5),
    "min of two": lambda x: torch.min(x[:, :3], x[:, 3:]),
    "max of two": lambda x: torch.max(x.flatten(1), -x.flatten(1)),
    "maximum of sequences": lambda x: torch.maximum(x.flatten(2), x.flatten(2).flip(2)),
    "bounded below": lambda x: torch.maximum(x, BOUND[:, None, None]),
    "bounded above": lambda x: torch.minimum(BOUND[:, None, None], x),
}


class Read(nn.Module):
    def __init__(self, operator: str) -> None:
        super().__init__()
        self.operator, self.conv = OPERATORS[operator], nn.Conv2d(2, C, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.operator(self.conv(x)).flatten(1)
        return y.cumsum(1)[:, -3:]


def inputs() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 2, 4, 5, dtype=torch.float64), torch.randn(3, 2, 4, 5).double()


@pytest.mark.parametrize("operator", OPERATORS)
def test_contributions_add_up(operator: str) -> None:
    model, (x, x0) = Read(operator).double().eval(), inputs()
    change = (model(x) - model(x0))[:, 2]
    for rule, max_pool in (("rescale", "winner"), ("reveal_cancel", "shapley")):
        C, delta = relprop.DeepLift(model, rule, max_pool).attribute(
            x, x0, target=2, return_convergence_delta=True
        )
        torch.testing.assert_close(C.sum((1, 2, 3)), change, rtol=1e-10, atol=1e-10)
        assert delta.abs().max() <= 1e-10


@pytest.mark.parametrize("operator", OPERATORS)
def test_gradients_are_those_of_autograd(operator: str) -> None:
    model, (x, _) = Read(operator).double().eval(), inputs()
    (expected,) = torch.autograd.grad(model(x.requires_grad_())[:, 2].sum(), x)
    found = relprop.Gradient(model).attribute(x.detach(), target=2)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


class Smaller(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.minimum(x[:, :1], x[:, 1:])


def test_both_share_in_the_smaller_of_two() -> None:
    """The worked value of Shrikumar et al. (2017), sec. 3.4: min(3, 1) against 0."""
    x = torch.tensor([[3.0, 1.0]], dtype=torch.float64)
    C = relprop.DeepLift(Smaller(), max_pool="shapley").attribute(x, target=0)
    assert C[0].tolist() == pytest.approx([0.5, 0.5])


def test_shapes_that_broadcast_are_refused() -> None:
    class Spread(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.maximum(x, x[:, :1])

    with pytest.raises(relprop.UnsupportedOperatorError, match="two activations of one shape"):
        relprop.DeepLift(Spread()).attribute(torch.randn(2, 3), target=0)
