"""Tensors in the shape of an activation, which depend on its sizes alone, count as constants."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import relprop
from relprop.graph.capture import find_capture

H = 5


class Written(nn.Module):
    """A forward written as a function, between two dense layers."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = forward
        self.before, self.hidden = nn.Linear(4, H), nn.Linear(H, H)
        self.c = nn.Parameter(torch.linspace(-1, 1, H))
        features = forward(self, self.before(torch.zeros(1, 4))).shape[1]
        self.after = nn.Linear(features, 3)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.function(self, self.before(x)))


#: Forwards with tensors made like an activation, and the same with numbers and broadcasting.
ALIKE: dict[str, tuple[Callable[[Any, Tensor], Tensor], Callable[[Any, Tensor], Tensor]]] = {
    "bounds": (
        lambda m, x: torch.maximum(x, torch.zeros_like(x)) + torch.min(torch.ones_like(x), x),
        lambda m, x: torch.maximum(x, 0 * m.c) + torch.minimum(0 * m.c + 1, x),
    ),
    "sums and products": (
        lambda m, x: (
            (x + torch.full_like(x, 0.5)) * x.new_full((x.shape[0], H), -2) - x.new_ones(1)
        ),
        lambda m, x: (x + 0.5) * -2 - 1,
    ),
    "quotients": (
        lambda m, x: torch.full_like(x, 3.0) / (x.exp() + torch.ones_like(x)),
        lambda m, x: 3 / (x.exp() + 1),
    ),
    "an initial state": (
        lambda m, x: torch.tanh(x + m.hidden(x.new_zeros(x.shape[0], H))),
        lambda m, x: torch.tanh(x + m.hidden.bias),
    ),
    "a parameter for every example": (
        lambda m, x: x * m.c.expand(x.shape[0], -1) + m.c.expand_as(x) - m.c.repeat(x.shape[0], 1),
        lambda m, x: x * m.c,
    ),
    "what is made of them": (
        lambda m, x: x * torch.sigmoid(m.c * torch.ones_like(x) + torch.ones_like(x)),
        lambda m, x: x * torch.sigmoid(m.c + 1),
    ),
    "written in place": (
        lambda m, x: torch.zeros_like(x).add_(x).mul_(torch.ones_like(x).add_(1)),
        lambda m, x: x * 2,
    ),
    "constants of one size": (
        lambda m, x: x @ x.new_ones(H, 2),
        lambda m, x: x.sum(1, keepdim=True).expand(-1, 2),
    ),
    "parts beside them": (
        lambda m, x: torch.cat([torch.ones_like(x), x, x.new_zeros(x.shape[0], 2), x.square()], 1),
        lambda m, x: F.pad(torch.cat([F.pad(x, (0, 2)), x.square()], 1), (H, 0)) + first(m.c),
    ),
}


def first(c: Tensor) -> Tensor:
    """1 for the first H of 3 H + 2, of the type of c."""
    return F.pad(torch.ones_like(c), (0, 2 * H + 2))


@pytest.fixture(params=ALIKE)
def pair(request: pytest.FixtureRequest) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    model, plain = (Written(forward) for forward in ALIKE[request.param])
    plain.load_state_dict(model.state_dict())
    return model, plain


METHODS: dict[str, Callable[[nn.Module], Any]] = {
    "gradient": relprop.Gradient,
    "DeepLIFT": lambda m: relprop.DeepLift(m, max_pool="shapley"),
    "RevealCancel": lambda m: relprop.DeepLift(m, rule="reveal_cancel"),
    "LRP": lambda m: relprop.LRP(m, "epsilon", epsilon=1e-12, stabilizer=1e-12),
}


def test_they_are_explained_as_numbers_that_broadcast(pair: tuple[nn.Module, nn.Module]) -> None:
    for method, n in itertools.product(METHODS.values(), (3, 1)):
        x = torch.randn(n, 4, dtype=torch.float64)
        found, expected = (method(one).attribute(x, target=1) for one in pair)
        torch.testing.assert_close(found, expected)


def test_contributions_add_up_and_gradients_are_those_of_autograd(
    pair: tuple[nn.Module, nn.Module],
) -> None:
    model, x = pair[0], torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    x0 = torch.randn(1, 4, dtype=torch.float64)
    _, delta = relprop.DeepLift(model).attribute(x, x0, target=2, return_convergence_delta=True)
    assert delta.abs().max() <= 1e-12
    (expected,) = torch.autograd.grad(model(x)[:, 2].sum(), x)
    found = relprop.Gradient(model).attribute(x.detach(), target=2)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_one_capture_serves_batches_of_all_sizes(pair: tuple[nn.Module, nn.Module]) -> None:
    first = find_capture(pair[0], [torch.randn(2, 4).double()])
    for n in (1, 7):
        assert find_capture(pair[0], [torch.randn(n, 4).double()]) is first


def test_those_of_images_are_cut_into_tiles() -> None:
    class Bounded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            y = torch.maximum(y, torch.zeros_like(y)) + torch.full_like(y, 0.1)
            return self.second(y).relu().mean((2, 3))

    method, x = relprop.LRP(Bounded().double().eval(), "epsilon"), torch.randn(1, 3, 256, 256)
    x = x.double()
    expected = method.attribute(x, target=1)
    assert len(method.tiling(x, "30MiB", target=1).boxes) > 1
    found = method.attribute(x, target=1, memory_budget="30MiB")
    torch.testing.assert_close(found, expected)


class ShapeAlone(nn.Module):
    """What is folded into the layer after it is padding, or a batch norm, and its shape is read."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv, self.last = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)
        nn.init.uniform_(self.norm.running_mean)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        y = F.pad(self.conv(x), (1, 1, 1, 1))
        inner = torch.ones_like(y)[..., 2:, 2:] + torch.ones_like(x)[:, :1, 2:, 2:]
        return torch.cat([inner, self.last(y)], 1).mean((2, 3))


def test_the_shape_of_what_is_folded_into_a_layer_is_known() -> None:
    model = ShapeAlone().double().eval()
    for size in ((2, 3, 6, 6), (1, 3, 8, 5)):
        x = torch.randn(size, dtype=torch.float64, requires_grad=True)
        (expected,) = torch.autograd.grad(model(x)[:, 5].sum(), x)
        found = relprop.Gradient(model).attribute(x.detach(), target=5)
        torch.testing.assert_close(found, expected)
