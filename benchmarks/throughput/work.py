"""What is explained, as data: networks, methods, and how other packages do the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from benchmarks.cost import networks
from benchmarks.cost.peers import canonizers, own_copy
from benchmarks.throughput.loops import by_captum, by_zennit
from relprop import LRP, DeepLift
from relprop.batch.engine import Method

Explain = Callable[[Tensor], Tensor]
"""Relevance for the likeliest class of each picture, both of shape (N, 3, H, W)."""


def vgg16() -> nn.Module:
    """For the command line to build in its own process."""
    return networks.build("VGG16")


def efficientnet_lite0() -> nn.Module:
    """The same, of the trained one."""
    return networks.build("EfficientNet-Lite0")


@dataclass(frozen=True)
class Work:
    """A network, a method, and what other package's loop does the same.

    Attributes:
        network: how to build it; `relprop batch` finds it by its name in this module.
        title, method, peer: what they are called.
        make: our method for a model, and `arguments` of its `attribute`.
        options: of `relprop batch`, for the same.
        explain_as_peer: the other package's explanation, for a copy of the model.
        pictures, batch, rounds: how many are explained, how many together, and how often.
    """

    title: str
    network: Callable[[], nn.Module]
    method: str
    make: Callable[[nn.Module], Method]
    options: tuple[str, ...]
    peer: str
    explain_as_peer: Callable[[nn.Module], Explain]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    pictures: int = 96
    batch: int = 8
    rounds: int = 5

    @property
    def name(self) -> str:
        """What tells it from the others."""
        return f"{self.title}, {self.method}"


def _epsilon_plus_flat(model: nn.Module) -> Explain:
    own = own_copy(model)
    known = canonizers(own)  # which also sees to it that zennit can be imported
    from zennit.composites import EpsilonPlusFlat

    return by_zennit(own, EpsilonPlusFlat(canonizers=known))


LRP_OPTIONS = ("--method", "lrp", "--composite", "epsilon_plus_flat")
WORKS = (
    Work(
        "EfficientNet-Lite0",
        efficientnet_lite0,
        "LRP epsilon_plus_flat",
        lambda model: LRP(model, "epsilon_plus_flat"),
        LRP_OPTIONS,
        "zennit EpsilonPlusFlat",
        _epsilon_plus_flat,
    ),
    Work(
        "VGG16",
        vgg16,
        "LRP epsilon_plus_flat",
        lambda model: LRP(model, "epsilon_plus_flat"),
        LRP_OPTIONS,
        "zennit EpsilonPlusFlat",
        _epsilon_plus_flat,
        pictures=16,
        rounds=3,
    ),
    Work(
        "VGG16",
        vgg16,
        "DeepLIFT Rescale",
        lambda model: DeepLift(model, "rescale"),
        ("--method", "deep-lift", "--rule", "rescale", "--baseline", "blank"),
        "captum DeepLift",
        lambda model: by_captum(own_copy(model)),
        {"baselines": "blank"},
        pictures=16,
        rounds=3,
    ),
)
