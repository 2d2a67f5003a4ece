"""The methods that are compared, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

import relprop


@dataclass(frozen=True)
class Problem:
    """What is to be explained: the outputs of a network at `classes`, shape (N,), for `images`.

    Attributes:
        low, high: black and white, in shapes that broadcast to images, (N, C, H, W).
        seed: of methods that draw random numbers.
    """

    network: nn.Module
    images: Tensor
    classes: Tensor
    low: Tensor
    high: Tensor
    seed: int = 0


Explain = Callable[[Problem], Tensor]
"""What every value of the images has to do with the output, in their shape."""


@dataclass(frozen=True)
class Method:
    """How maps are made, beside which others they are drawn, and how many are averaged over."""

    family: str
    explain: Explain
    draws: int = 1

    def maps(self, problem: Problem) -> Iterator[Tensor]:
        """Maps of shape (N, 1, H, W), one for each draw: the sum over channels."""
        for seed in range(self.draws):
            yield self.explain(replace(problem, seed=seed)).detach().sum(1, keepdim=True)


def _attribute(attributor: Any, problem: Problem, **arguments: Any) -> Tensor:
    found: Tensor = attributor.attribute(problem.images, target=problem.classes, **arguments)
    return found


def _lrp(composite: str, *, bounded: bool = False) -> Explain:
    def explain(problem: Problem) -> Tensor:
        bounds = {"low": problem.low, "high": problem.high} if bounded else {}
        return _attribute(relprop.LRP(problem.network, composite, **bounds), problem)

    return explain


def _deep_taylor(problem: Problem) -> Tensor:
    return _attribute(relprop.DeepTaylor(problem.network, problem.low, problem.high), problem)


def _deep_lift(rule: str, baseline: str) -> Explain:
    return lambda problem: _attribute(
        relprop.DeepLift(problem.network, rule), problem, baselines=baseline
    )


def _plain(kind: Callable[[nn.Module], Any], **arguments: Any) -> Explain:
    return lambda problem: _attribute(kind(problem.network), problem, **arguments)


def _smooth_grad(problem: Problem) -> Tensor:
    return _attribute(relprop.SmoothGrad(problem.network), problem, seed=problem.seed)


def _magnitude(explain: Explain) -> Explain:
    return lambda problem: explain(problem).abs()


def _random(problem: Problem) -> Tensor:
    generator = torch.Generator().manual_seed(problem.seed)
    return torch.rand(problem.images.shape, generator=generator)


REFERENCE = "for reference"
"""The family that is drawn beside every other."""

RANDOM = "random"
"""What has no idea; the rest is measured against it."""

METHODS: dict[str, Method] = {
    RANDOM: Method(REFERENCE, _random, draws=3),
    "gradient": Method(REFERENCE, _plain(relprop.Gradient)),
    "LRP epsilon": Method("LRP, signed", _lrp("epsilon")),
    "LRP epsilon, gamma, box": Method("LRP, signed", _lrp("epsilon_gamma_box", bounded=True)),
    "LRP epsilon, alpha 2 beta 1": Method("LRP, signed", _lrp("epsilon_alpha2_beta1")),
    "LRP epsilon, alpha 2 beta 1, flat": Method("LRP, signed", _lrp("epsilon_alpha2_beta1_flat")),
    "LRP epsilon, plus": Method("LRP, z+", _lrp("epsilon_plus")),
    "LRP epsilon, plus, flat": Method("LRP, z+", _lrp("epsilon_plus_flat")),
    "LRP epsilon, plus, box": Method("LRP, z+", _lrp("epsilon_plus_box", bounded=True)),
    "deep Taylor": Method("LRP, z+", _deep_taylor),
    "DeepLIFT Rescale, blank": Method("DeepLIFT", _deep_lift("rescale", "blank")),
    "DeepLIFT Rescale, blur": Method("DeepLIFT", _deep_lift("rescale", "blur")),
    "DeepLIFT RevealCancel, blank": Method("DeepLIFT", _deep_lift("reveal_cancel", "blank")),
    "DeepLIFT RevealCancel, blur": Method("DeepLIFT", _deep_lift("reveal_cancel", "blur")),
    # Magnitudes as Simonyan et al. 2014 and Smilkov et al. 2017 draw them.
    "gradient magnitude": Method("Gradients", _magnitude(_plain(relprop.Gradient))),
    "SmoothGrad magnitude": Method("Gradients", _magnitude(_smooth_grad)),
    "guided backprop": Method("Gradients", _plain(relprop.GuidedBackprop)),
    "input x gradient": Method("Gradients", _plain(relprop.InputXGradient)),
    "integrated gradients, blank": Method(
        "Gradients", _plain(relprop.IntegratedGradients, baselines="blank", n_steps=20)
    ),
    "integrated gradients, blur": Method(
        "Gradients", _plain(relprop.IntegratedGradients, baselines="blur", n_steps=20)
    ),
}
