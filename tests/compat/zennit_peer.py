"""zennit's modules, and the networks that it is right on."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

EXACT = {"rtol": 1e-9, "atol": 1e-12}
BOX = {"low": -3 * torch.ones(1, 3, 1, 1).double(), "high": 4 * torch.ones(1, 3, 1, 1).double()}


def both(name: str) -> tuple[ModuleType, ModuleType]:
    """A module of zennit's, and ours of that name."""
    theirs = pytest.importorskip(f"zennit.{name}")
    return theirs, import_module(f"relprop.compat.zennit.{name}")


@functools.cache
def plain() -> nn.Sequential:
    """A network like VGG, the same one for all tests, so that it is captured once."""
    torch.manual_seed(1)
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten(), nn.Dropout()),
        *(nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 5)),
    ).double()


@functools.cache
def residual() -> nn.Module:
    """A ResNet of torchvision's, with batch norms whose epsilon zennit's canonizer can leave."""
    models = pytest.importorskip("torchvision.models.resnet")
    torch.manual_seed(2)
    model = models.ResNet(models.BasicBlock, [1, 1, 1, 1], num_classes=5, width_per_group=64)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.eps = 0.0
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    evaluated: nn.Module = model.double().eval()
    return evaluated


def images(n: int = 2, size: int = 12) -> Tensor:
    return torch.randn(n, 3, size, size, dtype=torch.float64)


def explained(
    attribution: ModuleType,
    model: nn.Module,
    composite: Any,
    x: Tensor,
    attr_output: Any = None,
    **settings: Any,
) -> tuple[Tensor, Tensor]:
    """Output and relevance by a package's `Gradient`, or by another attributor of its."""
    name = settings.pop("attributor", "Gradient")
    own = copy.deepcopy(model).eval() if attribution.__name__.startswith("zennit") else model
    attributor = getattr(attribution, name)(model=own, composite=composite, **settings)
    with attributor:
        output, found = attributor(x.clone(), attr_output)
    return output.detach(), found.detach()


def assert_same(
    model: nn.Module,
    make: Callable[[Callable[[str], ModuleType]], Any],
    x: Tensor,
    attr_output: Any = None,
    **settings: Any,
) -> None:
    """Output and relevance are zennit's; `make` makes a composite of a package's modules."""

    def by(side: int) -> tuple[Tensor, Tensor]:
        composite = make(lambda name: both(name)[side])
        return explained(both("attribution")[side], model, composite, x, attr_output, **settings)

    for got, expected in zip(by(1), by(0), strict=True):
        assert expected.abs().max() > 0
        torch.testing.assert_close(got, expected, **EXACT)
