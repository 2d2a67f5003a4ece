"""Operators that are read as several nodes, each of which rules exist for.

Softmax is a quotient of exponentials, a normalisation is a product of a centred tensor and the
inverse of its deviation, a PReLU is the difference of two ReLUs, a stack is a concatenation. Like
`aten.py`, this file is part of the table `READERS`.
"""

from __future__ import annotations

from typing import Any

import torch

from relprop.graph.aten import AtenCall, Unreadable, reads
from relprop.graph.linear import Affine, Beside
from relprop.graph.matrix_products import READERS
from relprop.graph.node import Constant, Node, Operand, Value
from relprop.graph.nonlinear import AdaptiveMaxPool, Cat, MaxPool, Product, Sum
from relprop.graph.steps import Steps, softmax

__all__ = ["READERS"]

aten = torch.ops.aten


@reads("softmax", "_softmax")
def _softmax(call: AtenCall) -> list[Node]:
    """`exp(x) / sum exp(x)`.

    Of the scores of classes, which know no bounds, a softmax takes the differences to the largest:
    a product of exponentials that grow by orders of magnitude would not add up.
    """
    steps, (x,), dim = Steps(call), call.operands, call["dim"]
    if call.ndim == 2 and dim in (1, -1):
        x = steps.rearrange(aten._to_copy.default, x, dtype=torch.float64)
        x = steps.add(Sum, x, _largest(steps, x), alpha=-1.0)
    softmax(steps, x, dim, call.dtype)
    return steps.done()


@reads("log_softmax", "_log_softmax")
def _log_softmax(call: AtenCall) -> list[Node]:
    """`x - log sum exp(x)`; in float64, where exp has room enough."""
    steps, (x,) = Steps(call), call.operands
    wide = steps.rearrange(aten._to_copy.default, x, dtype=torch.float64)
    e = steps.activation("exp", aten.exp.default, wide)
    total = steps.fixed(aten.sum.dim_IntList, e, [call["dim"]], True)
    y = steps.add(Sum, wide, steps.activation("log", aten.log.default, total), alpha=-1.0)
    steps.rearrange(aten._to_copy.default, y, dtype=call.dtype)
    return steps.done()


def _largest(steps: Steps, x: Value) -> Value:
    """The largest of each row of (N, C), shape (N, 1): a max pool with one window."""
    x = steps.rearrange(aten.unsqueeze.default, x, 1)
    x = steps.apply(AdaptiveMaxPool, _adaptive_max, x)
    return steps.rearrange(aten.squeeze.dim, x, 1)


@reads("cat", "concat", "concatenate")
def _cat(call: AtenCall) -> Node | list[Node]:
    """Activations side by side, each of them beside the constants that follow it."""
    items, dim = call["tensors"], call["dim"] % call.ndim
    if all(isinstance(item, Operand) for item in items):
        # Operands come once each, also where one of them is a part twice.
        inputs = tuple(call.operands[item.index] for item in items)
        return Cat(inputs=inputs, output=call.output, where=call.where, dim=dim)
    groups = _with_constants(items)
    if len(groups) == 1:
        return Beside(**call.call, channel_dim=None)
    steps = Steps(call)
    steps.add(Cat, *(_beside(steps, call, group, dim) for group in groups), dim=dim)
    return steps.done()


def _with_constants(items: list[Any]) -> list[list[Any]]:
    """The parts of a concatenation, in groups of which each has one activation."""
    groups: list[list[Any]] = [[]]
    for item in items:
        if isinstance(item, Operand) and any(isinstance(one, Operand) for one in groups[-1]):
            groups.append([])
        groups[-1].append(item)
    return groups


def _beside(steps: Steps, call: AtenCall, group: list[Any], dim: int) -> Value:
    """One activation and the constants of its group."""
    (value,) = (call.operands[item.index] for item in group if isinstance(item, Operand))
    if len(group) == 1:
        return value
    parts = [Operand(0) if isinstance(item, Operand) else item for item in group]
    return steps.add(Beside, value, target=aten.cat.default, args=(parts, dim), channel_dim=None)


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


@reads("rms_norm")
def _rms_norm(call: AtenCall) -> list[Node]:
    """`x / sqrt(mean(x^2) + eps)` over the last dimensions, each element with a weight."""
    steps, (x,) = Steps(call), call.operands
    dims = list(range(-len(call["normalized_shape"]), 0))
    eps = torch.finfo(call.dtype).eps if call["eps"] is None else call["eps"]
    square = steps.fixed(
        aten.mean.dim, steps.activation("square", aten.square.default, x), dims, True
    )
    root = steps.reciprocal(steps.affine(square, None, call.lift(eps)), 0.5)
    y = steps.add(Product, x, root)
    if call.constant("weight") is not None:
        steps.affine(y, call.constant("weight"), None)
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


@reads("rrelu")
def _rrelu(call: AtenCall) -> list[Node]:
    """In evaluation a leaky ReLU with the mean of its slopes."""
    if call["training"]:
        raise Unreadable("its slope is random")
    steps, (x,) = Steps(call), call.operands
    slope = (call["lower"] + call["upper"]) / 2
    steps.activation("leaky_relu", aten.leaky_relu.default, x, slope)
    return steps.done()


@reads("softshrink")
def _softshrink(call: AtenCall) -> list[Node]:
    """`x - clamp(x, -lambd, lambd)`."""
    steps, (x,), lambd = Steps(call), call.operands, float(call["lambd"])
    middle = steps.activation("hardtanh", aten.hardtanh.default, x, -lambd, lambd)
    steps.add(Sum, x, middle, alpha=-1.0)
    return steps.done()


@reads("glu")
def _glu(call: AtenCall) -> list[Node]:
    """`a sigmoid(b)`, a and b the halves of x."""
    steps, (x,), dim = Steps(call), call.operands, call["dim"]
    half = call.input_shapes[0][dim] // 2
    if not isinstance(half, int):
        raise Unreadable("the dimension that it halves has a size known only when the model runs")
    a, b = (steps.rearrange(aten.narrow.default, x, dim, start, half) for start in (0, half))
    steps.add(Product, a, steps.activation("sigmoid", aten.sigmoid.default, b))
    return steps.done()


@reads("maximum")
def _maximum(call: AtenCall) -> list[Node]:
    """The larger of two activations."""
    return _of_two(call, least=False)


@reads("minimum")
def _minimum(call: AtenCall) -> list[Node]:
    """The smaller of two activations."""
    return _of_two(call, least=True)


def _of_two(call: AtenCall, least: bool) -> list[Node]:
    """The larger of two sides, by a max pool over both; the smaller is that of `-x`, turned."""
    steps = Steps(call)
    sides = [call.side(name) for name in ("self", "other")]
    constants = [side.value for side in sides if isinstance(side, Constant)]
    sign = call.lift(-1.0)
    turned = [steps.affine(v, sign, None) if least else v for v in call.operands]
    if constants:
        larger = _above(steps, turned[0], call, constants[0], -1.0 if least else 1.0)
    elif call.input_shapes != call.input_shapes[:1] * 2 or not 2 <= call.ndim <= 4:
        raise Unreadable("it has a rule for two activations of one shape, of 2 to 4 dimensions")
    else:
        larger = _larger(steps, turned, call.ndim)
    if least:
        steps.affine(larger, sign, None)
    return steps.done()


def _above(steps: Steps, x: Value, call: AtenCall, constant: Value, sign: float) -> Value:
    """`max(x, c) = relu(x - c) + c`, c the constant times a sign."""
    c = call.derive("bound", lambda c: c * sign, constant)
    less = call.derive("less", torch.neg, c)
    above = steps.activation("relu", aten.relu.default, steps.affine(x, None, less))
    return steps.affine(above, None, c)


def _larger(steps: Steps, values: list[Value], ndim: int) -> Value:
    """The larger of two activations, by a pool along a new dimension."""
    both = steps.add(
        Cat, *(steps.rearrange(aten.unsqueeze.default, v, -1) for v in values), dim=ndim
    )
    d = ndim - 1
    kernel, zero, one = [1] * (d - 1) + [2], [0] * d, [1] * d
    pools = (aten.max_pool1d.default, aten.max_pool2d.default, aten.max_pool3d.default)
    fields = {"kernel_size": kernel, "stride": kernel, "padding": zero, "dilation": one}
    settings = (kernel, kernel, zero, one, False)
    pooled = steps.apply(MaxPool, pools[d - 1], both, *settings, **fields, ceil_mode=False)
    return steps.rearrange(aten.squeeze.dim, pooled, -1)


@reads("amax", "max")
def _amax(call: AtenCall) -> list[Node]:
    """The maximum over some dimensions: a max pool with one window."""
    if "other" in call.arguments:
        return _of_two(call, least=False)
    if "dim" not in call.arguments:
        raise Unreadable("only a maximum over given dimensions is supported")
    ndim = len(call.input_shapes[0])
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


@reads("min")
def _min(call: AtenCall) -> list[Node]:
    """The smaller of two activations."""
    if "other" not in call.arguments:
        raise Unreadable("a minimum over dimensions has no rule; write it as -(-x).amax()")
    return _of_two(call, least=True)


def _adaptive_max(x: torch.Tensor) -> torch.Tensor:
    """The maximum of each row of (N, C, L), shape (N, C, 1)."""
    return torch.nn.functional.adaptive_max_pool1d(x, 1)
