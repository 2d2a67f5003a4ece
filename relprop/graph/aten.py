"""Which ATen operator becomes which node: one table, `READERS`, that the capture looks up.

A reader gets the call with its arguments by name, activations, constants and scalars in them as
placeholders, and returns a node; or raises `Unreadable`, saying why there is none for it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from relprop.graph.constants import Constants
from relprop.graph.convolution import Convolution
from relprop.graph.folding import NormScale, NormShift
from relprop.graph.fx_nodes import operator_name
from relprop.graph.linear import Affine, Fixed, Rearrange
from relprop.graph.node import Constant, Node, Operand, Scalar, Value, Where
from relprop.graph.nonlinear import Activation, AdaptiveMaxPool, MaxPool, Product, Sum

NO_BATCH = "its input has no batch dimension"


class Unreadable(Exception):
    """No node type fits the call; the message says why."""


@dataclass
class AtenCall:
    """A call as it is read: `arguments` by the schema's names, `operands` the activations."""

    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    arguments: dict[str, Any]
    operands: tuple[Value, ...]
    output: Value
    where: Where
    constants: Constants
    ndim: int  # dimensions of the output
    input_shapes: tuple[tuple[Any, ...], ...]  # of the tensors it reads, constants too
    dtype: torch.dtype  # of the output

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    @property
    def base(self) -> dict[str, Any]:
        """What every node is made with."""
        return {"inputs": self.operands, "output": self.output, "where": self.where}

    @property
    def call(self) -> dict[str, Any]:
        """What every node that simply calls the operator is made with."""
        return {**self.base, "target": self.target, "args": self.args, "kwargs": self.kwargs}

    def constant(self, argument: str) -> Value | None:
        """The name of the constant given for `argument`, or None where nothing is given."""
        given = self.arguments[argument]
        return given.value if isinstance(given, Constant) else None

    def side(self, argument: str) -> Value | Constant:
        """The activation given for `argument`, by its name, or the constant."""
        given = self.arguments[argument]
        if isinstance(given, Operand):
            return self.operands[given.index]
        if isinstance(given, Constant):
            return given
        raise Unreadable(f"its {argument} depends on a size known only when the model runs")

    def derive(self, suffix: str, make: Callable[..., torch.Tensor], *sources: Value) -> Value:
        """A new constant, made from others."""
        return self.constants.add(f"{self.output}.{suffix}", make, *sources)

    def lift(self, given: Any) -> Value:
        """The name of a constant for `given`, a constant tensor or a number."""
        if isinstance(given, Constant):
            return given.value
        if isinstance(given, Scalar):
            raise Unreadable("its constant side has a size known only when the model runs")
        return self.derive(repr(given), lambda: torch.tensor(given, dtype=torch.float64))


Reader = Callable[[AtenCall], Node | list[Node]]
READERS: dict[str, Reader] = {}


def reads(*operators: str) -> Callable[[Reader], Reader]:
    """Enter a reader in the table under the operators' names, without overloads."""

    def enter(reader: Reader) -> Reader:
        READERS.update(dict.fromkeys(operators, reader))
        return reader

    return enter


def _spread(setting: Any, d: int) -> list[int]:
    """One entry for each of `d` dimensions: torch's operators also take a single one for all."""
    entries = list(setting) if isinstance(setting, (list, tuple)) else [setting]
    return entries * d if len(entries) == 1 else entries


def _convolution(call: AtenCall, d: int, transposed: bool, padding: list[int]) -> Convolution:
    if call.ndim != d + 2:
        raise Unreadable(NO_BATCH)
    weight = call.constant("weight")
    if weight is None or len(call.operands) != 1:
        raise Unreadable("its weight depends on the model's input")
    return Convolution(
        **call.base,
        weight=weight,
        bias=call.constant("bias"),
        stride=_spread(call["stride"], d),
        padding=padding,
        dilation=_spread(call["dilation"], d),
        groups=call["groups"],
        transposed=transposed,
        output_padding=_spread(call.arguments.get("output_padding", 0), d),
    )


@reads("conv1d", "conv2d", "conv3d")
def _conv(call: AtenCall) -> Node:
    d = int(call.target._schema.name[-2])
    padding = call["padding"]
    if isinstance(padding, str):
        return _conv_same(call, d) if padding == "same" else _convolution(call, d, False, [0] * d)
    return _convolution(call, d, False, _spread(padding, d))


def _conv_same(call: AtenCall, d: int) -> Convolution:
    node = _convolution(call, d, False, [0] * d)
    assert node.weight is not None
    kernel = call.constants.now()[node.weight].shape[2:]
    total = [dil * (k - 1) for dil, k in zip(node.dilation, kernel, strict=True)]
    node.padding = [t // 2 for t in total]
    if any(t % 2 for t in total):
        node.border = tuple(itertools.chain(*((0, t % 2) for t in reversed(total))))
    return node


@reads("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv_transpose(call: AtenCall) -> Node:
    d = int(call.target._schema.name[-2])
    return _convolution(call, d, True, _spread(call["padding"], d))


@reads("convolution")
def _general_convolution(call: AtenCall) -> Node:
    d = len(call["stride"])
    return _convolution(call, d, call["transposed"], _spread(call["padding"], d))


@reads("batch_norm", "_native_batch_norm_legit_no_training")
def _batch_norm(call: AtenCall) -> Node:
    mean, var = call.constant("running_mean"), call.constant("running_var")
    if mean is None or var is None:
        raise Unreadable(
            "it has no running statistics, so every example depends on the whole batch"
        )
    weight, bias = call.constant("weight"), call.constant("bias")
    scale = NormScale(call["eps"], call.ndim)
    w = call.derive("scale", scale, *([var] if weight is None else [var, weight]))
    b = call.derive("shift", NormShift(), *([mean, w] if bias is None else [mean, w, bias]))
    return Affine(**call.base, weight=w, bias=b, origin="batch_norm")


def _number(given: Any, default: float) -> float:
    if isinstance(given, (Operand, Constant, Scalar)):
        raise Unreadable("its parameter is a tensor")
    return default if given is None else float(given)


def _elu(call: AtenCall) -> tuple[float, ...]:
    """`scale * (x if x > 0 else alpha * (exp(input_scale * x) - 1))`, for all three of them."""
    match operator_name(call.target):
        case "selu":
            return (1.6732632423543772, 1.0507009873554805, 1.0)
        case "celu":
            return (float(call["alpha"]), 1.0, 1 / float(call["alpha"]))
    return tuple(float(call[name]) for name in ("alpha", "scale", "input_scale"))


def _bounds(call: AtenCall) -> tuple[float, ...]:
    low = _number(call.arguments.get("min"), -math.inf)
    return low, _number(call.arguments.get("max"), math.inf)


#: The activation function, by its name in `relprop.ops`, and its parameters, for each operator.
ACTIVATIONS: dict[str, tuple[str, Callable[[AtenCall], tuple[float, ...]]]] = {
    **dict.fromkeys(("elu", "selu", "celu"), ("elu", _elu)),
    **dict.fromkeys(("clamp", "clip", "clamp_min", "clamp_max"), ("hardtanh", _bounds)),
    **{
        name: (name, lambda call: ())
        for name in (
            *("relu", "sigmoid", "tanh", "silu", "mish", "hardswish", "hardsigmoid"),
            *("exp", "log", "sqrt", "square", "abs"),
        )
    },
    "relu6": ("hardtanh", lambda call: (0.0, 6.0)),
    "hardtanh": ("hardtanh", lambda call: (float(call["min_val"]), float(call["max_val"]))),
    "threshold": ("threshold", lambda call: (float(call["threshold"]), float(call["value"]))),
    "leaky_relu": ("leaky_relu", lambda call: (float(call["negative_slope"]),)),
    "softplus": ("softplus", lambda call: (float(call["beta"]), float(call["threshold"]))),
    "log_sigmoid": ("logsigmoid", lambda call: ()),
    "rsqrt": ("pow", lambda call: (-0.5,)),
    "reciprocal": ("pow", lambda call: (-1.0,)),
}


@reads(*ACTIVATIONS)
def _activation(call: AtenCall) -> Node:
    name, parameters = ACTIVATIONS[operator_name(call.target)]
    return Activation(**call.call, name=name, parameters=parameters(call))


@reads("gelu")
def _gelu(call: AtenCall) -> Node:
    name = "gelu_tanh" if call["approximate"] == "tanh" else "gelu"
    return Activation(**call.call, name=name)


@reads("pow")
def _pow(call: AtenCall) -> Node:
    if not isinstance(call["self"], Operand):
        raise Unreadable("its exponent depends on the model's input")
    exponent = _number(call["exponent"], 1.0)
    return Activation(**call.call, name="pow", parameters=(exponent,))


@reads("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices")
def _max_pool(call: AtenCall) -> Node:
    d = int(operator_name(call.target)[8])
    if call.ndim != d + 2:
        raise Unreadable(NO_BATCH)
    return MaxPool(
        **call.call,
        kernel_size=_spread(call["kernel_size"], d),
        stride=_spread(call["stride"] or call["kernel_size"], d),
        padding=_spread(call["padding"], d),
        dilation=_spread(call["dilation"], d),
        ceil_mode=call["ceil_mode"],
    )


@reads("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def _adaptive_max_pool(call: AtenCall) -> Node:
    d = int(operator_name(call.target)[-2])
    if call.ndim != d + 2:
        raise Unreadable(NO_BATCH)
    return AdaptiveMaxPool(**call.call)


@reads(
    *(f"{kind}avg_pool{d}d" for kind in ("", "adaptive_") for d in (1, 2, 3)),
    *("mean", "sum", "cumsum"),
    *(f"upsample_{kind}" for kind in ("linear1d", "bilinear2d", "bicubic2d", "trilinear3d")),
)
def _fixed(call: AtenCall) -> Node:
    return Fixed(**call.call, channel_dim=None)


@reads("view", "_unsafe_view")
def _view(call: AtenCall) -> Node:
    """As a reshape: rules apply it to tensors in other memory layouts than the model's own."""
    node = _rearrange(call)
    assert isinstance(node, Rearrange)
    if node.target in (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default):
        node.target = torch.ops.aten.reshape.default
    return node


@reads(
    *("reshape", "flatten", "unflatten", "squeeze", "unsqueeze"),
    *("permute", "transpose", "t", "mT", "movedim", "swapaxes", "alias", "clone", "contiguous"),
    *("slice", "select", "narrow", "index_select", "diagonal", "flip", "roll", "rot90"),
    *("expand", "repeat", "expand_as", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
    *("constant_pad_nd", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"),
    *("reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d"),
    *("replication_pad2d", "replication_pad3d", "split", "split_with_sizes", "chunk", "unbind"),
    *("native_channel_shuffle", "unfold", "to", "_to_copy"),
)
def _rearrange(call: AtenCall) -> Node:
    if len(call.operands) != 1 or call.args[0] != Operand(0):
        raise Unreadable("the places that it reads depend on the model's input")
    if call.arguments.get("value"):
        raise Unreadable("padding with another value than zero adds a constant")
    return Rearrange(**call.call, channel_dim=None)


@reads("pad")
def _pad(call: AtenCall) -> Node:
    if call["mode"] == "constant" and call["value"]:
        raise Unreadable("padding with another value than zero adds a constant")
    return Rearrange(**call.call, channel_dim=None)


@reads("add", "sub")
def _add(call: AtenCall) -> Node:
    sign = -1 if operator_name(call.target) == "sub" else 1
    a, b, alpha = call["self"], call["other"], call.arguments.get("alpha", 1) * sign
    if len(call.operands) == 2 or a == b:
        inputs = call.operands if len(call.operands) == 2 else call.operands * 2
        return Sum(inputs=inputs, output=call.output, where=call.where, alpha=float(alpha))
    constant = call.lift(b if isinstance(a, Operand) else a)
    if isinstance(a, Operand):
        shift = call.derive("shift", lambda c: c * alpha, constant)
        return Affine(**call.base, bias=shift, channel_dim=None, origin=operator_name(call.target))
    return Affine(
        **call.base,
        weight=call.lift(alpha),
        bias=constant,
        channel_dim=None,
        origin=operator_name(call.target),
    )


@reads("rsub")
def _rsub(call: AtenCall) -> Node:
    if len(call.operands) != 1:
        raise Unreadable("it subtracts one activation from another")
    return Affine(
        **call.base,
        weight=call.lift(-float(call["alpha"])),
        bias=call.lift(call["other"]),
        channel_dim=None,
        origin="rsub",
    )


@reads("neg")
def _neg(call: AtenCall) -> Node:
    return Affine(**call.base, weight=call.lift(-1.0), channel_dim=None, origin="neg")


@reads("mul")
def _mul(call: AtenCall) -> Node:
    a, b = call["self"], call["other"]
    if len(call.operands) == 2 or a == b:
        inputs = call.operands if len(call.operands) == 2 else call.operands * 2
        return Product(inputs=inputs, output=call.output, where=call.where)
    factor = call.lift(b if isinstance(a, Operand) else a)
    return Affine(**call.base, weight=factor, channel_dim=None, origin="mul")
