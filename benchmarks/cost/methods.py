"""Our methods, as data: how to make each, what it should cost, and what it cannot do without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import relprop
from benchmarks.cost.networks import HIGH, LOW

Explain = Callable[[Tensor, Tensor], Tensor]
"""One explanation: of inputs, (N, 3, H, W), for one class each, (N,); in the inputs' shape."""

Prepare = Callable[[nn.Module], Explain]
"""What explains a model."""


@dataclass(frozen=True)
class Calls:
    """How often one layer's product is computed: forwards (F) and transposed, backwards (B)."""

    forward: int
    backward: int


@dataclass(frozen=True)
class Passes:
    """The fewest calls for each kind of layer; the first one is a convolution of a signed input."""

    first: Calls
    convolution: Calls
    dense: Calls


@dataclass(frozen=True)
class Goal:
    """Time in G, and memory in multiples of what the gradient takes at its peak."""

    time: float
    memory: float


ONCE = Calls(1, 1)


@dataclass(frozen=True)
class Method:
    """One of ours.

    Attributes:
        name: of the result, which is what peers compute as well.
        make: an attributor for a model.
        goal: what it should cost at most.
        passes: what it cannot do without.
        baseline: whether it compares with one.
    """

    name: str
    make: Callable[[nn.Module], Any]
    goal: Goal
    passes: Passes
    baseline: bool = False

    @property
    def computes(self) -> str:
        """Which result it gives: its own; peers name one of ours."""
        return self.name

    def prepare(self, model: nn.Module) -> Explain:
        """What explains the model, which is captured at the first explanation."""
        attributor = self.make(model)
        if self.baseline:
            return lambda x, target: attributor.attribute(x, torch.zeros_like(x[:1]), target)
        return lambda x, target: attributor.attribute(x, target)


PLAIN = Passes(ONCE, ONCE, ONCE)
TWICE = Calls(2, 2)
ZPLUS = Calls(2, 1)
# (x - h) W^T s + (h - l) W+^T s; what the bounds bring to z does not depend on x.
ZBOX = Calls(1, 2)

METHODS: tuple[Method, ...] = (
    Method(
        "LRP epsilon",
        lambda model: relprop.LRP(model, "epsilon"),
        Goal(time=1.0, memory=1.0),
        PLAIN,
    ),
    Method(
        "LRP epsilon_plus",
        lambda model: relprop.LRP(model, "epsilon_plus"),
        Goal(time=1.5, memory=1.1),
        Passes(first=TWICE, convolution=ZPLUS, dense=ONCE),
    ),
    Method(
        "LRP epsilon_plus_flat",
        lambda model: relprop.LRP(model, "epsilon_plus_flat"),
        Goal(time=1.5, memory=1.1),
        # Flat sends back a sum over channels and windows, which takes no convolution.
        Passes(first=Calls(1, 0), convolution=ZPLUS, dense=ONCE),
    ),
    Method(
        "LRP epsilon_alpha2_beta1",
        lambda model: relprop.LRP(model, "epsilon_alpha2_beta1"),
        Goal(time=2.0, memory=1.2),
        Passes(first=TWICE, convolution=TWICE, dense=ONCE),
    ),
    Method(
        "LRP epsilon_gamma_box",
        lambda model: relprop.LRP(model, "epsilon_gamma_box", low=LOW, high=HIGH),
        Goal(time=2.0, memory=1.2),
        Passes(first=ZBOX, convolution=TWICE, dense=ONCE),
    ),
    Method(
        "deep Taylor",
        lambda model: relprop.DeepTaylor(model, low=LOW, high=HIGH),
        Goal(time=1.5, memory=1.1),
        Passes(first=ZBOX, convolution=ZPLUS, dense=ZPLUS),
    ),
    Method(
        "DeepLIFT Rescale",
        lambda model: relprop.DeepLift(model, "rescale"),
        Goal(time=1.0, memory=1.0),
        PLAIN,
        baseline=True,
    ),
    Method(
        "DeepLIFT RevealCancel",
        lambda model: relprop.DeepLift(model, "reveal_cancel", "winner"),
        Goal(time=2.0, memory=1.3),
        # A dense layer's two products come from one read of its weight.
        Passes(first=TWICE, convolution=TWICE, dense=ONCE),
        baseline=True,
    ),
)
BY_NAME = {method.name: method for method in METHODS}

AGAINST_PEERS = Goal(time=3.0, memory=3.0)
"""How many times what we take the fastest peer, and the leanest one, should take at least."""


def gradient(model: nn.Module) -> Explain:
    """The unit: one forward pass, one pass back to the input."""

    def explain(x: Tensor, target: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        first = target.reshape(len(target), -1)[:, :1]  # where there are many, this one
        scores = model(x).gather(1, first)
        (found,) = torch.autograd.grad(scores.sum(), x)
        return found

    return explain
