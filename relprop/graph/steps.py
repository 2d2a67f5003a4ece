"""The nodes that one operator is read as, one after another."""

from __future__ import annotations

from typing import Any

import torch

from relprop.graph.aten import AtenCall
from relprop.graph.linear import Affine, Fixed, Rearrange
from relprop.graph.node import Call, Node, Operand, Value
from relprop.graph.nonlinear import Activation, Product

aten = torch.ops.aten


class Steps:
    """The nodes of one operator, as they are added; the last one gives the operator's output."""

    def __init__(self, call: AtenCall) -> None:
        self._call = call
        self.nodes: list[Node] = []

    def add(self, kind: type[Node], *inputs: Value, **fields: Any) -> Value:
        """Add a node; returns the name of its output."""
        output = f"{self._call.output}.{len(self.nodes)}"
        origin = self._call.target._schema.name.split("::")[-1]
        fields |= {"inputs": inputs, "output": output, "where": self._call.where}
        self.nodes.append(kind(**fields, part_of=origin))
        return output

    def apply(self, kind: type[Call], target: Any, x: Value, *args: Any, **fields: Any) -> Value:
        """Add a call of `target` on one activation."""
        return self.add(kind, x, target=target, args=(Operand(0), *args), **fields)

    def activation(self, name: str, target: Any, x: Value, *parameters: float) -> Value:
        """Add an activation function."""
        return self.apply(Activation, target, x, *parameters, name=name, parameters=parameters)

    def reciprocal(self, x: Value, power: float = 1.0) -> Value:
        """Add `x ** -power`."""
        return self.activation("pow", aten.pow.Tensor_Scalar, x, -power)

    def fixed(self, target: Any, x: Value, *args: Any, **kwargs: Any) -> Value:
        """Add a linear operator without weights."""
        return self.apply(Fixed, target, x, *args, kwargs=kwargs, channel_dim=None)

    def rearrange(self, target: Any, x: Value, *args: Any, **kwargs: Any) -> Value:
        """Add a view, or a change of type."""
        return self.apply(Rearrange, target, x, *args, kwargs=kwargs, channel_dim=None)

    def affine(self, x: Value, weight: Value | None, bias: Value | None) -> Value:
        """Add `weight * x + bias`."""
        origin = self._call.target._schema.name.split("::")[-1]
        return self.add(Affine, x, weight=weight, bias=bias, channel_dim=None, origin=origin)

    def done(self) -> list[Node]:
        """All nodes, the last one with the operator's name for its output."""
        self.nodes[-1].output = self._call.output
        return self.nodes


def softmax(
    steps: Steps, x: Value, dim: int, dtype: torch.dtype, factor: Value | None = None
) -> Value:
    """`e / sum e` with `e = exp(x)`, times a constant factor; in float64, where exp has room."""
    wide = steps.rearrange(aten._to_copy.default, x, dtype=torch.float64)
    e = steps.activation("exp", aten.exp.default, wide)
    if factor is not None:
        e = steps.affine(e, factor, None)
    total = steps.fixed(aten.sum.dim_IntList, e, [dim], True)
    y = steps.add(Product, e, steps.reciprocal(total))
    return steps.rearrange(aten._to_copy.default, y, dtype=dtype)
