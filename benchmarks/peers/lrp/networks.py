"""Networks on which packages for LRP are compared: small ones, torchvision's, and a trained one.

Each small one shows one thing that networks are made of. They have no biases but where their names
say so, and read pictures of values between 0 and 1, but for those that iNNvestigate has explained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.keras_networks import (
    INNVESTIGATE,
    TARGET,
    cases,
    channels_first,
    innvestigate_maps,
    innvestigate_network,
)
from benchmarks.peers.networks import PHOTO, Chain, Gate, Residual, Step, batch_norm, photo
from benchmarks.torchvision_operators import define_torchvision_operators

EXAMPLES, COLORS, SIDE, CHANNELS = 3, 3, 8, 6


@dataclass(frozen=True)
class Subject:
    """What a package is asked to explain, in float64.

    Attributes:
        x: inputs, shape (N, ...).
        target: the output to explain.
        maps: relevance that iNNvestigate gives, by its analyzers.
    """

    name: str
    model: nn.Module
    x: Tensor
    target: int
    maps: Mapping[str, Tensor] = field(default_factory=dict)


class AddedInPlace(Residual):
    """`y = body(x); y += x`."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        y += x
        return y


class Branches(nn.Module):
    """What two branches give, side by side."""

    def __init__(self, a: nn.Module, b: nn.Module) -> None:
        super().__init__()
        self.a, self.b = a, b

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.a(x), self.b(x)], 1)


def flatten(x: Tensor) -> Tensor:
    return x.flatten(1)


def first() -> nn.Conv2d:
    return nn.Conv2d(COLORS, CHANNELS, 3, padding=1, bias=False)


def conv() -> nn.Conv2d:
    return nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)


def head(pixels: int = SIDE * SIDE, channels: int = CHANNELS) -> nn.Linear:
    return nn.Linear(channels * pixels, 3, bias=False)


def picture(*steps: Step) -> list[Step]:
    """Steps that keep the size, between a first convolution and a dense head."""
    return [first(), *steps, flatten, head()]


def volume(layer: type[nn.Conv1d | nn.Conv3d]) -> list[Step]:
    """Convolutions along the 64 pixels as a line, or as a cube."""
    shape = (SIDE * SIDE,) if layer is nn.Conv1d else (4, 4, 4)
    first = layer(COLORS, CHANNELS, 3, padding=1, bias=False)
    second = layer(CHANNELS, CHANNELS, 3, padding=1, bias=False)
    return [lambda x: x.unflatten(2, shape), first, nn.ReLU(), second, nn.ReLU(), flatten, head()]


def unfolded(layer: type[nn.Conv1d | nn.Conv3d]) -> list[Step]:
    """`volume`, from pictures."""
    return [lambda x: x.flatten(2), *volume(layer)]


def used_twice(modules: int) -> list[Step]:
    """Two convolutions of equal weights, or one that is called twice."""
    a, b = conv(), conv()
    b.load_state_dict(a.state_dict())
    return picture(nn.ReLU(), a, nn.ReLU(), b if modules == 2 else a, nn.ReLU())


def one_relu() -> list[Step]:
    relu = nn.ReLU()
    return picture(relu, conv(), relu)


def upsampled() -> list[Step]:
    up = nn.ConvTranspose2d(CHANNELS, CHANNELS, 3, stride=2, bias=False)
    return [first(), nn.ReLU(), up, nn.ReLU(), flatten, head(17 * 17)]


def concatenated() -> list[Step]:
    both = Branches(conv(), nn.Sequential(conv(), nn.ReLU(), conv()))
    return [first(), nn.ReLU(), both, nn.ReLU(), flatten, head(channels=2 * CHANNELS)]


def squeezed() -> list[Step]:
    gate = (nn.AdaptiveAvgPool2d(1), nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False), nn.Sigmoid())
    return picture(nn.ReLU(), Gate(*gate))


NETWORKS: dict[str, Callable[[], list[Step]]] = {
    "1-d convolutions": lambda: unfolded(nn.Conv1d),
    "3-d convolutions": lambda: unfolded(nn.Conv3d),
    "transposed convolution": upsampled,
    "batch norm after a convolution": lambda: picture(
        batch_norm(CHANNELS), nn.ReLU(), conv(), batch_norm(CHANNELS), nn.ReLU()
    ),
    "batch norm before a convolution": lambda: picture(
        nn.ReLU(), batch_norm(CHANNELS), conv(), nn.ReLU()
    ),
    "overlapping max pool": lambda: [
        *(first(), nn.ReLU(), nn.MaxPool2d(3, 2, 1), conv(), nn.ReLU(), flatten, head(16)),
    ],
    "`F.relu`": lambda: picture(F.relu, conv(), F.relu),
    "`nn.Flatten`": lambda: [first(), nn.ReLU(), nn.Flatten(), head()],
    "one `nn.ReLU`, used twice": one_relu,
    "two convolutions of equal weights": lambda: used_twice(2),
    "the same, but one, used twice": lambda: used_twice(1),
    "residual, bare `+`": lambda: picture(nn.ReLU(), Residual(conv()), nn.ReLU()),
    "the same, added in place": lambda: picture(nn.ReLU(), AddedInPlace(conv()), nn.ReLU()),
    "branches, concatenated": concatenated,
    "product: squeeze-and-excite": squeezed,
}
"""What each is made of, in float64."""

KERAS = {
    "mlp": "dense, ReLU",
    "cnn": "conv, ReLU, max pool",
    "cnn_avg": "conv, ReLU, average pool",
}
EXPLAINED = {
    KERAS[case["kind"]] + (", biases" if case["bias"] else ""): case for case in cases(INNVESTIGATE)
}
"""The networks that iNNvestigate has explained."""

TORCHVISION = {
    "ResNet18, random weights": "resnet18",
    "SqueezeNet 1.1, random weights": "squeezenet1_1",
}
LARGE = (*TORCHVISION, PHOTO)
NAMES = (*EXPLAINED, *NETWORKS, *LARGE)


def subject(name: str) -> Subject | None:
    """One of `NAMES`, the same every time; None if it needs a package that is not installed."""
    torch.manual_seed(0)
    if name in EXPLAINED:
        case = EXPLAINED[name]
        x = channels_first(INNVESTIGATE[f"{case['key']}/x"])
        return Subject(name, innvestigate_network(case), x, TARGET, innvestigate_maps(case))
    if name in TORCHVISION:
        return _torchvision(name)
    if name == PHOTO:
        found = photo()
        if found is None:
            return None
        network, x, target = found
        return Subject(name, network.double().eval(), x.double(), target)
    model = Chain(*NETWORKS[name]()).double().eval()
    return Subject(name, model, torch.rand(EXAMPLES, COLORS, SIDE, SIDE).double(), 0)


def _torchvision(name: str) -> Subject | None:
    """A network as torchvision draws it, noise, and the likeliest class."""
    if find_spec("torchvision") is None:
        return None
    define_torchvision_operators()
    from torchvision import models

    network = getattr(models, TORCHVISION[name])(weights=None).double().eval()
    x = torch.randn(1, 3, 64, 64).double()
    with torch.no_grad():
        return Subject(name, network, x, int(network(x).argmax()))
