"""Operators that are read as several nodes, each of which rules exist for.

Softmax is a quotient of exponentials, a normalisation is a product of a centred tensor and the
inverse of its deviation, a PReLU is the difference of two ReLUs, a stack is a concatenation. Like
`aten.py`, this file is part of the table `READERS`.
"""

from __future__ import annotations

from typing import Any

import torch

from relprop.graph.aten import AtenCall, Unreadable, reads
from relprop.graph.linear import Affine, Fixed, Rearrange
from relprop.graph.matrix_products import READERS
from relprop.graph.node import Call, Node, Operand, Value
from relprop.graph.nonlinear import Activation, AdaptiveMaxPool, Cat, Product, Sum

__all__ = ["READERS"]

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


@reads("softmax", "_softmax", "log_softmax", "_log_softmax")
def _softmax(call: AtenCall) -> list[Node]:
    """`exp(x) / sum exp(x)`, or `x - log sum exp(x)`; in float64, where exp has room enough.

    Of the scores of classes, which know no bounds, a softmax takes the differences to the largest:
    a product of exponentials that grow by orders of magnitude would not add up.
    """
    steps, (x,) = Steps(call), call.operands
    dim, log = call["dim"], "log" in call.target._schema.name
    wide = steps.rearrange(aten._to_copy.default, x, dtype=torch.float64)
    if not log and call.ndim == 2 and dim in (1, -1):
        wide = steps.add(Sum, wide, _largest(steps, wide), alpha=-1.0)
    e = steps.activation("exp", aten.exp.default, wide)
    total = steps.fixed(aten.sum.dim_IntList, e, [dim], True)
    if log:
        y = steps.add(Sum, wide, steps.activation("log", aten.log.default, total), alpha=-1.0)
    else:
        y = steps.add(Product, e, steps.reciprocal(total))
    steps.rearrange(aten._to_copy.default, y, dtype=call.dtype)
    return steps.done()


def _largest(steps: Steps, x: Value) -> Value:
    """The largest of each row of (N, C), shape (N, 1): a max pool with one window."""
    x = steps.rearrange(aten.unsqueeze.default, x, 1)
    x = steps.apply(AdaptiveMaxPool, _adaptive_max, x)
    return steps.rearrange(aten.squeeze.dim, x, 1)


@reads("stack")
def _stack(call: AtenCall) -> list[Node]:
    """A concatenation along a dimension that each part is given before."""
    if any(not isinstance(item, Operand) for item in call["tensors"]):
        raise Unreadable("one of its parts is a constant")
    steps, dim = Steps(call), call["dim"] % call.ndim
    values = [call.operands[item.index] for item in call["tensors"]]
    parts = [steps.rearrange(aten.unsqueeze.default, value, dim) for value in values]
    steps.add(Cat, *parts, dim=dim)
    return steps.done()


@reads("div")
def _div(call: AtenCall) -> Node | list[Node]:
    """A quotient of activations is a product with the reciprocal."""
    if call.arguments.get("rounding_mode") is not None:
        raise Unreadable("rounding is not linear")
    a, b = call["self"], call["other"]
    if not isinstance(b, Operand):
        factor = call.derive("reciprocal", torch.reciprocal, call.lift(b))
        return Affine(**call.base, weight=factor, channel_dim=None, origin="div")
    steps = Steps(call)
    inverse = steps.reciprocal(call.operands[b.index])
    if isinstance(a, Operand):
        steps.add(Product, call.operands[a.index], inverse)
    else:
        steps.affine(inverse, call.lift(a), None)
    return steps.done()


def _normalise(steps: Steps, x: Value, dims: list[int], eps: Value) -> Value:
    """`(x - mean) / sqrt(var + eps)` over `dims`."""
    mean = steps.fixed(aten.mean.dim, x, dims, True)
    centred = steps.add(Sum, x, mean, alpha=-1.0)
    square = steps.activation("square", aten.square.default, centred)
    variance = steps.affine(steps.fixed(aten.mean.dim, square, dims, True), None, eps)
    return steps.add(Product, centred, steps.reciprocal(variance, 0.5))


@reads("layer_norm")
def _layer_norm(call: AtenCall) -> list[Node]:
    """Over the last dimensions, each element with a weight of its own."""
    steps = Steps(call)
    dims = list(range(-len(call["normalized_shape"]), 0))
    y = _normalise(steps, call.operands[0], dims, call.lift(call["eps"]))
    steps.affine(y, call.constant("weight"), call.constant("bias"))
    return steps.done()


@reads("group_norm")
def _group_norm(call: AtenCall) -> list[Node]:
    """Over groups of channels and all of space."""
    return _grouped(call, call["num_groups"], call["eps"])


@reads("instance_norm")
def _instance_norm(call: AtenCall) -> list[Node]:
    """Over space, each channel by itself."""
    if not call["use_input_stats"]:
        raise Unreadable("instance norm with running statistics is not supported")
    return _grouped(call, None, call["eps"])


def _grouped(call: AtenCall, groups: int | None, eps: float) -> list[Node]:
    steps, (x,) = Steps(call), call.operands
    space = call.ndim - 2
    if groups is not None:
        x = steps.rearrange(aten.unflatten.int, x, 1, [groups, -1])
    dims = list(range(2, call.ndim + (groups is not None)))
    y = _normalise(steps, x, dims, call.lift(eps))
    if groups is not None:
        y = steps.rearrange(aten.flatten.using_ints, y, 1, 2)

    def along_channels(w: torch.Tensor) -> torch.Tensor:
        return w.reshape([-1] + [1] * space)

    given = {name: call.constant(name) for name in ("weight", "bias")}
    weight, bias = (
        None if value is None else call.derive(name, along_channels, value)
        for name, value in given.items()
    )
    steps.affine(y, weight, bias)
    return steps.done()


@reads("prelu", "_prelu_kernel")
def _prelu(call: AtenCall) -> list[Node]:
    """`relu(x) - w relu(-x)`, w one slope, or one a channel."""
    weight = call.constant("weight")
    if weight is None:
        raise Unreadable("its slope depends on the model's input")
    steps, (x,) = Steps(call), call.operands

    def along_channels(w: torch.Tensor) -> torch.Tensor:
        return w if w.numel() == 1 else w.flatten().reshape([-1] + [1] * (call.ndim - 2))

    slope = call.derive("slope", along_channels, weight)
    rise = steps.activation("relu", aten.relu.default, x)
    turned = steps.affine(x, call.lift(-1.0), None)
    fall = steps.affine(steps.activation("relu", aten.relu.default, turned), slope, None)
    steps.add(Sum, rise, fall, alpha=-1.0)
    return steps.done()


@reads("amax", "max")
def _amax(call: AtenCall) -> list[Node]:
    """The maximum over some dimensions: a max pool with one window."""
    if "dim" not in call.arguments:
        raise Unreadable("only a maximum over given dimensions is supported")
    ndim = call.input_ndim
    given = call["dim"]
    dims = sorted(d % ndim for d in (given if isinstance(given, (list, tuple)) else [given]))
    dims = dims or list(range(1, ndim))
    others = [d for d in range(1, ndim) if d not in dims]
    if 0 in dims or len(others) > 1:
        raise Unreadable("a maximum must leave the batch and at most one other dimension")
    steps, (x,) = Steps(call), call.operands
    x = steps.rearrange(aten.permute.default, x, [0, *others, *dims])
    x = steps.rearrange(aten.flatten.using_ints, x, 1 + len(others), -1)
    if not others:
        x = steps.rearrange(aten.unsqueeze.default, x, 1)
    x = steps.apply(AdaptiveMaxPool, _adaptive_max, x)
    if not others:
        x = steps.rearrange(aten.squeeze.dim, x, 1)
    if not call["keepdim"]:
        steps.rearrange(aten.squeeze.dim, x, -1)
        return steps.done()
    # (N, others, 1): back to one size of 1 for every dimension of the window
    for _ in dims[1:]:
        x = steps.rearrange(aten.unsqueeze.default, x, -1)
    order = [0, *others, *dims]
    steps.rearrange(aten.permute.default, x, [order.index(d) for d in range(ndim)])
    return steps.done()


def _adaptive_max(x: torch.Tensor) -> torch.Tensor:
    """The maximum of each row of (N, C, L), shape (N, C, 1)."""
    return torch.nn.functional.adaptive_max_pool1d(x, 1)
