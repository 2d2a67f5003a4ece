"""The networks and the sizes of input on which costs are measured, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.torchvision_operators import define_torchvision_operators
from relprop.cli.zoo import BUILT_IN

LOW, HIGH = -2.0, 2.0
"""Bounds of the inputs, which are uniform between them: what the z^B rule is told."""

TINY = 64
"""Pixels along a side of the input on which libraries are woken up, and models captured.

Not fewer: where a layer's plane comes to one pixel, the capture would hold for no other size.
"""


@dataclass(frozen=True)
class Case:
    """A network, and the input that it is to explain.

    Attributes:
        network: a name in `NETWORKS`.
        batch: examples.
        pixels: along each side of a picture.
        threads: of torch; 0 for as many as it takes by itself.
    """

    network: str
    batch: int = 1
    pixels: int = 224
    threads: int = 0

    def __str__(self) -> str:
        threads = f", {self.threads} thread{'s'[: self.threads > 1]}" if self.threads else ""
        return f"{self.network}, {self.batch} x {self.pixels}²{threads}"

    @property
    def megapixels(self) -> float:
        """Of the whole batch."""
        return self.batch * self.pixels**2 / 1e6

    def as_dict(self) -> dict[str, Any]:
        """Its fields, as JSON has them."""
        return asdict(self)


@dataclass(frozen=True)
class Subject:
    """A model with frozen parameters, inputs (N, 3, H, W), and their likeliest classes, (N,)."""

    model: nn.Module
    x: Tensor
    target: Tensor

    @property
    def tiny(self) -> Subject:
        """The same with a crop of each picture."""
        return replace(self, x=self.x[..., :TINY, :TINY].contiguous())


def torchvision_models() -> Any:
    """`torchvision.models`, also where torchvision comes from PyPI, built for CUDA, to a CPU torch.

    Then its own operators, which no network here calls, are missing, and it does not import.
    """
    define_torchvision_operators()
    from torchvision import models

    return models


def _torchvision(name: str) -> nn.Module:
    model: nn.Module = getattr(torchvision_models(), name)(weights=None)
    settle_batch_norm(model)
    return model


def _efficientnet_lite0() -> nn.Module:
    """With the weights that it was trained to: there is a package that holds them."""
    built_in = BUILT_IN["efficientnet-lite0"]
    model = built_in.build()
    model.load_state_dict(torch.load(built_in.weights(), map_location="cpu", weights_only=True))
    return model


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "VGG16": lambda: _torchvision("vgg16"),
    "ResNet50": lambda: _torchvision("resnet50"),
    "EfficientNet-Lite0": _efficientnet_lite0,
}
"""How to build each, after the generator has been seeded."""


def settle_batch_norm(model: nn.Module) -> None:
    """Set the statistics of batch norms to those of their inputs for random pictures.

    Untrained, they would say mean 0 and variance 1 of activations that have neither.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of what is seen
    model.train()
    with torch.no_grad():
        model(pictures(8, TINY))
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def pictures(batch: int, pixels: int) -> Tensor:
    """Random ones, shape (batch, 3, pixels, pixels)."""
    return torch.empty(batch, 3, pixels, pixels).uniform_(LOW, HIGH)


def build(name: str) -> nn.Module:
    """The network, the same every time, in evaluation mode, with frozen parameters.

    Raises:
        KeyError: there is none of that name. ImportError: a package that has it is not installed.
    """
    torch.manual_seed(0)
    return NETWORKS[name]().eval().requires_grad_(False)


def subject(model: nn.Module, batch: int, pixels: int) -> Subject:
    """The model with pictures to explain, the same every time."""
    torch.manual_seed(1)
    x = pictures(batch, pixels)
    with torch.no_grad():
        target = model(x).argmax(1)
    return Subject(model, x, target)


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes:
        networks, batches, pixels: every combination is a case.
        seconds: how long a case may take.
    """

    networks: tuple[str, ...]
    batches: tuple[int, ...]
    pixels: tuple[int, ...]
    seconds: float

    def cases(self) -> Iterator[Case]:
        """Small inputs first."""
        for network in self.networks:
            for pixels in self.pixels:
                for batch in self.batches:
                    yield Case(network, batch, pixels)


ALL = tuple(NETWORKS)
QUICK = {
    "methods": Extent(ALL, batches=(1,), pixels=(224,), seconds=180),
    "memory": Extent(ALL, batches=(1,), pixels=(224,), seconds=180),
}
"""By parts of the measurements: what takes minutes."""
FULL = {
    "methods": Extent(ALL, batches=(1, 8), pixels=(224, 512), seconds=220),
    # A process for each method takes longer than the methods do, so there are fewer cases.
    "memory": Extent(ALL, batches=(1,), pixels=(224, 512), seconds=180),
}
"""The same with everything: about 50 minutes and 15."""
