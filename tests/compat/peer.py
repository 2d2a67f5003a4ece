"""captum's classes, called on a copy of the model, and the networks that they are right on."""

from __future__ import annotations

import copy
import functools
import warnings
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

EXACT = {"rtol": 1e-9, "atol": 1e-11}


class Network(nn.Module):
    """Two inputs, and a factor and an offset that are not explained.

    captum is right on it: every module is called once, what is functional is linear, and every
    activation function has a layer of its own below.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.rise = nn.Sigmoid()
        self.pair = Pair()
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Sequential(
            OrderedDict(dense=nn.Linear(2 * 4 * 9 + 5, 6), bend=nn.ELU(), out=nn.Linear(6, 3))
        )

    def forward(self, x: Tensor, v: Tensor, factor: float = 1.0, offset: Any = 0.0) -> Tensor:
        a, b = self.pair(self.rise(self.conv(x)))
        y = self.pool(torch.cat([a, b], 1)).flatten(1)
        return factor * self.head(torch.cat([y, v], 1)) + offset


class Pair(nn.Module):
    """One tensor becomes two."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Tanh())
        self.right = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Softplus())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.left(x), self.right(x)


@functools.cache
def network() -> Network:
    """The same one for all tests, so that it is captured once."""
    torch.manual_seed(3)
    return Network().double().eval()


def inputs(n: int = 3) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 2, 6, 6).double(), torch.randn(n, 5).double()


def captum(name: str, model: nn.Module, *path: str, **settings: Any) -> Any:
    """captum's class for a copy of the model, with layers by their paths."""
    own = copy.deepcopy(model)
    layers = [own.get_submodule(p) for p in path]
    return getattr(_package(), name)(own, *layers, **settings)


def call(explainer: Any, *args: Any, **kwargs: Any) -> Any:
    """What captum's `attribute` returns, without its warnings and its graph."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _detached(explainer.attribute(*args, **kwargs))


def _package() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("captum.attr")


def _detached(found: Any) -> Any:
    if isinstance(found, Tensor):
        return found.detach()
    return type(found)(map(_detached, found))
