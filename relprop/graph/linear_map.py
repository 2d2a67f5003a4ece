"""What a node is that is linear in one activation: `z = W x + b`.

Each can be applied with what is made of its weight in place of it, and transposed: this is all that
the rules need to know of a convolution, a dense layer, a batch norm or an average pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relprop.graph.node import Node, Run, Value
from relprop.graph.weights import WHOLE, Take


@dataclass(kw_only=True)
class LinearMap(Node):
    """`z = W x + b`; `weight` and `bias` name constants, or are None where there is none.

    A one-dimensional bias runs along `channel_dim` of the output; any other (`channel_dim` None)
    broadcasts to it.
    """

    weight: Value | None = None
    bias: Value | None = None
    channel_dim: int | None = 1

    def taken(self, run: Run, take: Take) -> Tensor:
        """The weight, or what is made of it."""
        assert self.weight is not None
        whole = take is WHOLE
        return run.constants[self.weight] if whole else run.constants.derive(self.weight, take)

    def apply(self, run: Run, x: Tensor, take: Take = WHOLE) -> Tensor:
        """`W x`, without the bias."""
        raise NotImplementedError

    def transpose(self, run: Run, s: Tensor, shape: Sequence[int], take: Take = WHOLE) -> Tensor:
        """`W^T s`, in the given shape of the input `x`.

        Where a node knows no better way, torch's autograd transposes it: the gradient of a linear
        map is its transpose, at any input.
        """
        recorded = torch.is_grad_enabled()
        with torch.enable_grad():
            x = s.new_zeros(()).expand(*shape).requires_grad_()
            z = self.apply(run, x, take)
            return torch.autograd.grad(z, x, s, create_graph=recorded)[0]

    def rounds_by_tile(self, run: Run, x: Tensor, take: Take) -> bool:
        """Whether errors of `W x` are in proportion to large numbers nearby, not to the result."""
        return False

    def affine(self, run: Run, x: Tensor, take: Take, bias: Tensor | None) -> Tensor:
        """`W x + b`, with any bias of the layer's shape."""
        z = self.apply(run, x, take)
        return z if bias is None else z + self.broadcast(bias, z.dim())

    def compute(self, run: Run, *operands: Tensor) -> Tensor:
        """`W x + b`."""
        return self.affine(run, operands[0], WHOLE, run.constant(self.bias))

    def broadcast(self, bias: Tensor, ndim: int) -> Tensor:
        """The bias in a shape that broadcasts to an output of `ndim` dimensions."""
        if self.channel_dim is None:
            return bias
        return bias.reshape([-1] + [1] * (ndim - self.channel_dim % ndim - 1))
