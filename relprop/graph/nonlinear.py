"""Nodes that are not a linear map of one activation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from relprop.graph.node import Call, Node, Run

#: Activation functions that take no longer than a copy.
PIECEWISE_LINEAR = {"relu", "hardtanh", "threshold", "leaky_relu", "abs"}


@dataclass(kw_only=True)
class Activation(Call):
    """An elementwise function, by its name in `relprop.ops` and its parameters."""

    name: str
    parameters: tuple[float, ...] = ()


@dataclass(kw_only=True)
class MaxPool(Call):
    """The maximum over windows; settings have one entry for each spatial dimension."""

    kernel_size: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    ceil_mode: bool


@dataclass(kw_only=True)
class AdaptiveMaxPool(Call):
    """The maximum over as many windows as the output has elements."""


@dataclass(kw_only=True)
class Sum(Node):
    """`a + alpha * b` of two activations that broadcast."""

    alpha: float = 1.0

    def compute(self, run: Run, *operands: Tensor) -> Tensor:
        """The sum."""
        return torch.add(operands[0], operands[1], alpha=self.alpha)

    @property
    def label(self) -> str:
        """`add`, or `sub`."""
        return "add" if self.alpha > 0 else "sub"


@dataclass(kw_only=True)
class Product(Node):
    """`a * b` of two activations that broadcast."""

    def compute(self, run: Run, *operands: Tensor) -> Tensor:
        """The product."""
        return operands[0] * operands[1]

    @property
    def label(self) -> str:
        """`mul`."""
        return "mul"


@dataclass(kw_only=True)
class Cat(Node):
    """Activations side by side along `dim`."""

    dim: int

    def compute(self, run: Run, *operands: Tensor) -> Tensor:
        """The concatenation."""
        return torch.cat(operands, self.dim)


@dataclass(kw_only=True)
class Opaque(Call):
    """An operator that no node type describes; it can be run, and differentiated."""

    reason: str
