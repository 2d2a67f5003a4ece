"""What the networks of all comparisons are made of, and the trained one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from relprop.cli.images import read_picture
from relprop.cli.zoo import BUILT_IN, sample_pictures
from relprop.errors import MissingPackageError

Step = Callable[[Tensor], Tensor]

PHOTO = "EfficientNet-Lite0, photo of a cat"


class Chain(nn.Module):
    """Modules and functions, one after another: for a function there is nothing to hook."""

    def __init__(self, *steps: Step) -> None:
        super().__init__()
        modules = dict.fromkeys(step for step in steps if isinstance(step, nn.Module))
        self.layers = nn.ModuleList(modules)
        places = {module: place for place, module in enumerate(modules)}
        self.steps = [places[step] if isinstance(step, nn.Module) else step for step in steps]

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = self.layers[step](x) if isinstance(step, int) else step(x)
        return x


class Residual(nn.Module):
    """`x + body(x)`."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Gate(nn.Module):
    """`x * gate(x)`."""

    def __init__(self, *gate: nn.Module) -> None:
        super().__init__()
        self.gate = nn.Sequential(*gate)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """As after training: no statistic is 0 or 1."""
    norm = nn.BatchNorm2d(channels)
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    return norm


def photo() -> tuple[nn.Module, Tensor, int] | None:
    """The trained network, a picture, its likeliest class; float32. None if not installed."""
    try:
        built_in = BUILT_IN["efficientnet-lite0"]
        network = built_in.build()
        network.load_state_dict(torch.load(built_in.weights(), weights_only=True))
        pixels = built_in.preprocessing.crop(read_picture(sample_pictures()[0]))
    except MissingPackageError:
        return None
    x = built_in.preprocessing.tensor(pixels)
    with torch.no_grad():
        return network, x, int(network.eval()(x).argmax())
