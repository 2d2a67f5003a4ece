"""Networks on which packages for DeepLIFT are compared: a table of small ones, and a trained one.

Each shows one thing that networks are made of. All small ones take one-hot sequences, because
some packages take nothing else; those that want a picture read the 64 letters as 8 x 8 pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.networks import PHOTO, Chain, Gate, Residual, Step, batch_norm, photo

LETTERS, SIDE, CHANNELS = 4, 8, 6
LENGTH = SIDE * SIDE
EXAMPLES = 3


@dataclass(frozen=True)
class Subject:
    """What a package is asked to explain.

    Attributes:
        model: has one output, shape (N, 1).
        x, x0: inputs of shape (N, ...), and a baseline of shape (1, ...) that is common to them.
        tolerance: the error of a sum, relative to the difference, that counts as rounding.
    """

    name: str
    model: nn.Module
    x: Tensor
    x0: Tensor
    tolerance: float


def first_output(y: Tensor) -> Tensor:
    return y[:, :1]


def picture(*layers: Step, pixels: int = LENGTH) -> list[Step]:
    """The layers between a first convolution and a dense head with three outputs."""
    unfold, first = nn.Unflatten(2, (SIDE, SIDE)), nn.Conv2d(LETTERS, CHANNELS, 3, padding=1)
    return [unfold, first, *layers, nn.Flatten(), nn.Linear(CHANNELS * pixels, 3)]


def conv(size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(CHANNELS, CHANNELS, size, padding=size // 2)


def pooled(pool: nn.Module, pixels: int) -> list[Step]:
    """A pool whose neighbours are linear, so that what goes wrong there is the pool's own."""
    return picture(nn.ReLU(), conv(), pool, conv(), nn.ReLU(), pixels=pixels)


def mlp() -> list[Step]:
    sizes = (LETTERS * LENGTH, 20, 10)
    hidden = [(nn.Linear(n, m), nn.ReLU()) for n, m in pairwise(sizes)]
    return [nn.Flatten(), *(layer for pair in hidden for layer in pair), nn.Linear(sizes[-1], 3)]


def reused_relu() -> list[Step]:
    relu = nn.ReLU()
    return picture(relu, conv(), relu)


NETWORKS: dict[str, Callable[[], list[Step]]] = {
    "dense, ReLU": mlp,
    "conv, ReLU, average pool": lambda: picture(
        nn.ReLU(), nn.AvgPool2d(2), conv(), nn.ReLU(), pixels=16
    ),
    "sigmoid": lambda: picture(nn.Sigmoid(), conv(), nn.Sigmoid()),
    "tanh": lambda: picture(nn.Tanh(), conv(), nn.Tanh()),
    "batch norm": lambda: picture(batch_norm(CHANNELS), nn.ReLU(), conv(), nn.ReLU()),
    "max pool between convs": lambda: pooled(nn.MaxPool2d(2), pixels=16),
    "overlapping max pool": lambda: pooled(nn.MaxPool2d(3, 2, 1), pixels=16),
    "adaptive max pool": lambda: pooled(nn.AdaptiveMaxPool2d(3), pixels=9),
    "max pool, then ReLU": lambda: picture(nn.MaxPool2d(2), nn.ReLU(), pixels=16),
    "ReLU, then max pool": lambda: picture(nn.ReLU(), nn.MaxPool2d(2), pixels=16),
    "`F.relu`": lambda: picture(F.relu, conv(), F.relu),
    "one `nn.ReLU`, used twice": reused_relu,
    "residual, bare `+`": lambda: picture(Residual(conv(), nn.ReLU()), conv(), nn.ReLU()),
    "PReLU": lambda: picture(nn.PReLU(CHANNELS), conv(), nn.PReLU(CHANNELS)),
    "SiLU": lambda: picture(nn.SiLU(), conv(), nn.SiLU()),
    "GELU": lambda: picture(nn.GELU(), conv(), nn.GELU()),
    "group norm": lambda: picture(nn.GroupNorm(2, CHANNELS), nn.ReLU()),
    "product: squeeze-and-excite": lambda: picture(
        nn.ReLU(), Gate(nn.AdaptiveAvgPool2d(1), conv(1), nn.Sigmoid())
    ),
    "product: softmax gate": lambda: picture(nn.Tanh(), Gate(conv(1), nn.Softmax(1))),
    "softmax, batch of three": lambda: picture(nn.Softmax(1)),
    "softmax, batch of one": lambda: picture(nn.Softmax(1)),
    "log-softmax output": lambda: [*picture(nn.ReLU()), nn.LogSoftmax(1)],
}
"""What each is made of, in float64."""

NAMES = (*NETWORKS, PHOTO)


def subject(name: str) -> Subject | None:
    """One of `NAMES`, the same every time; None if it needs a package that is not installed."""
    torch.manual_seed(0)
    if name == PHOTO:
        return _photo()
    model = Chain(*NETWORKS[name](), first_output).double().eval()
    letters = torch.randint(LETTERS, (1 + EXAMPLES, LENGTH))
    sequences = F.one_hot(letters, LETTERS).mT.double()
    examples = 1 if name.endswith("batch of one") else EXAMPLES
    return Subject(name, model, sequences[1 : 1 + examples], sequences[:1], 1e-6)


def _photo() -> Subject | None:
    """The trained network, with the likeliest class of the photo as its one output; float32."""
    found = photo()
    if found is None:
        return None
    network, x, target = found
    model = Chain(network, lambda y: y[:, target : target + 1]).eval()
    return Subject(PHOTO, model, x, torch.zeros_like(x), 1e-4)
