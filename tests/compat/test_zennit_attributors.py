"""Attributors under zennit's names return what zennit's return."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.compat.zennit_peer import EXACT, assert_same, both, explained, images, plain

pytestmark = pytest.mark.peers

COMPOSITES: dict[str, Callable[[Callable[[str], ModuleType]], Any]] = {
    "none": lambda package: None,
    "epsilon_plus": lambda package: package("composites").EpsilonPlus(),
    "guided_backprop": lambda package: package("composites").GuidedBackprop(),
}


def halves(x: Tensor) -> Tensor:
    return x / 2 - 1


#: Steps are powers of two, as zennit has 1/n in float32; windows divide the input.
ATTRIBUTORS: dict[str, dict[str, Any]] = {
    "gradient": {},
    "integrated": {"attributor": "IntegratedGradients", "n_iter": 4},
    "integrated from a baseline": {
        "attributor": "IntegratedGradients",
        "baseline_fn": halves,
        "n_iter": 4,
    },
    "occlusion": {"attributor": "Occlusion", "window": 4, "stride": 4},
    "occlusion by channel": {"attributor": "Occlusion", "window": (1, 6, 3), "stride": (1, 6, 3)},
    "occlusion by other strides": {
        "attributor": "Occlusion",
        "window": (1, 6, 6),
        "stride": (6, 6),
    },
    "occlusion of all channels": {"attributor": "Occlusion", "window": (4, 4), "stride": (4, 4)},
}


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("attributor", ATTRIBUTORS)
def test_output_and_attribution_are_zennits(attributor: str, composite: str) -> None:
    settings = ATTRIBUTORS[attributor]
    assert_same(plain(), COMPOSITES[composite], images(), **settings)
    assert_same(plain(), COMPOSITES[composite], images(), lambda y: y.abs(), **settings)


@pytest.mark.parametrize("composite", COMPOSITES)
def test_noise_is_zennits_too(composite: str) -> None:
    found = []
    x = images()
    for side in (0, 1):
        made = COMPOSITES[composite](lambda name, side=side: both(name)[side])
        torch.manual_seed(7)
        settings = {"attributor": "SmoothGrad", "n_iter": 3, "noise_level": 0.2}
        found.append(explained(both("attribution")[side], plain(), made, x, **settings))
    torch.testing.assert_close(found[1], found[0], **EXACT)


def test_occlusion_by_a_function_of_ones_own() -> None:
    def fill(x: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, 1.0, x)

    settings = {"attributor": "Occlusion", "occlusion_fn": fill, "window": 6, "stride": 6}
    assert_same(plain(), COMPOSITES["none"], images(), **settings)


@pytest.mark.parametrize("invert", [True, False])
def test_what_is_occluded_is_filled_as_in_zennit(invert: bool) -> None:
    x = images()
    mask = x > 0
    one, other = (
        package.occlude_independent(x, mask, torch.ones_like, invert)
        for package in both("attribution")
    )
    torch.testing.assert_close(one, other, **EXACT)


def test_windows_end_with_the_input() -> None:
    """zennit's go on at the other end: a window at the right edge takes in what is at the left."""
    theirs, ours = both("attribution")
    x = images(1, 12)
    settings = {"attributor": "Occlusion", "window": (5, 5), "stride": (5, 5)}
    _, got = explained(ours, plain(), None, x, **settings)
    corner = torch.zeros_like(x)
    corner[..., 10:, 10:] = x[..., 10:, 10:]
    expected = plain().eval()(corner).sum().detach().expand(1, 3, 2, 2)
    torch.testing.assert_close(got[..., 10:, 10:], expected, **EXACT)
    _, wrapped = explained(theirs, plain(), None, x, **settings)
    assert (wrapped[..., 10:, 10:] - expected).abs().max() > 1e-3


def test_an_output_with_a_graph_can_be_sent_back_from_again() -> None:
    (_, attribution), (_, composites) = both("attribution"), both("composites")
    x = images().requires_grad_()
    attributor = attribution.Gradient(plain(), composites.EpsilonPlus(), retain_graph=True)
    output, relevance = attributor(x)
    (again,) = torch.autograd.grad(output, x, output)
    torch.testing.assert_close(again, relevance, **EXACT)
    plainly = attribution.Gradient(plain(), composites.EpsilonPlus())(x)
    assert not plainly[0].requires_grad
    torch.testing.assert_close(plainly[1], relevance, **EXACT)


@pytest.mark.parametrize(
    ("attributor", "name"),
    [
        *(("Gradient", name) for name in ("EpsilonPlus", "EpsilonAlpha2Beta1", "EpsilonGammaBox")),
        *((name, "EpsilonPlus") for name in ("SmoothGrad", "IntegratedGradients")),
    ],
)
def test_gradients_of_relevance_are_zennits(attributor: str, name: str) -> None:
    """By the input; by the weights, zennit leaves out what its copies of them did."""
    model, given = plain().eval(), images()
    bounds = {"low": -4.0, "high": 4.0} if "Box" in name else {}
    few = {} if attributor == "Gradient" else {"n_iter": 2}
    weights, found = torch.randn(2, 3, 12, 12, dtype=torch.float64), []
    for side in (0, 1):
        x = given.clone().requires_grad_()
        composite = getattr(both("composites")[side], name)(**bounds)
        made = getattr(both("attribution")[side], attributor)(
            model=model, composite=composite, create_graph=True, **few
        )
        torch.manual_seed(0)
        with made:
            output, relevance = made(x, lambda y: y * torch.eye(5, dtype=y.dtype)[[1, 3]])
            with made.inactive():
                loss = (relevance * weights).sum() + output.square().sum()
                found.append(torch.autograd.grad(loss, x)[0])
    torch.testing.assert_close(*found)
