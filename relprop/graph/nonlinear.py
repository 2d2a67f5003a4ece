"""Nodes that are not a linear map of one activation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relprop.graph.node import Call, Node, Run, sum_to

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
class Bilinear(Node):
    """An operator that is linear in each of two activations, while the other is held."""

    def multiply(self, a: Tensor, b: Tensor) -> Tensor:
        """The output for any two factors."""
        raise NotImplementedError

    def transpose_first(self, m: Tensor, b: Tensor, shape: Sequence[int]) -> Tensor:
        """The transpose of `a -> multiply(a, b)` at m, in the shape of a."""
        raise NotImplementedError

    def transpose_second(self, m: Tensor, a: Tensor, shape: Sequence[int]) -> Tensor:
        """The transpose of `b -> multiply(a, b)` at m, in the shape of b."""
        raise NotImplementedError

    def compute(self, run: Run, *operands: Tensor) -> Tensor:
        """The product."""
        return self.multiply(operands[0], operands[1])


@dataclass(kw_only=True)
class Product(Bilinear):
    """`a * b` of two activations that broadcast."""

    @property
    def label(self) -> str:
        """`mul`."""
        return "mul"

    def multiply(self, a: Tensor, b: Tensor) -> Tensor:
        """`a * b`."""
        return a * b

    def transpose_first(self, m: Tensor, b: Tensor, shape: Sequence[int]) -> Tensor:
        """`m * b`, summed over what was broadcast."""
        return sum_to(m * b, shape)

    def transpose_second(self, m: Tensor, a: Tensor, shape: Sequence[int]) -> Tensor:
        """`m * a`, summed over what was broadcast."""
        return sum_to(m * a, shape)


@dataclass(kw_only=True)
class InnerProducts(Bilinear):
    """`a @ b` of two activations, as `torch.matmul` has it for two dimensions and more.

    With an `equation`, the sums of products are those of `torch.einsum`.
    """

    equation: str = ""

    @property
    def label(self) -> str:
        """`matmul`, or `einsum`."""
        return "einsum" if self.equation else "matmul"

    def multiply(self, a: Tensor, b: Tensor) -> Tensor:
        """`a @ b`."""
        return torch.einsum(self.equation, a, b) if self.equation else a @ b

    def transpose_first(self, m: Tensor, b: Tensor, shape: Sequence[int]) -> Tensor:
        """`m b^T`, summed over what was broadcast."""
        if self.equation:
            return _transposed(lambda a: self.multiply(a, b), m, shape)
        return sum_to(m @ b.mT, shape)

    def transpose_second(self, m: Tensor, a: Tensor, shape: Sequence[int]) -> Tensor:
        """`a^T m`, summed over what was broadcast."""
        if self.equation:
            return _transposed(lambda b: self.multiply(a, b), m, shape)
        return sum_to(a.mT @ m, shape)


def _transposed(apply: Callable[[Tensor], Tensor], m: Tensor, shape: Sequence[int]) -> Tensor:
    """The transpose of a linear map at m: its gradient, at any point."""
    with torch.enable_grad():
        x = m.new_zeros(()).expand(*shape).requires_grad_()
        return torch.autograd.grad(apply(x), x, m)[0]


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
