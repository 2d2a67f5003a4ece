"""Which node a product of matrices becomes: part of the table `READERS`, like `aten.py`."""

from __future__ import annotations

import torch

from relprop.graph.aten import READERS, AtenCall, Unreadable, reads
from relprop.graph.constants import Snapshot
from relprop.graph.fx_nodes import operator_name
from relprop.graph.linear import Dense, Fixed, MatrixProduct
from relprop.graph.node import Constant, Node, Operand, Scalar, Value
from relprop.graph.nonlinear import InnerProducts
from relprop.graph.steps import Steps

__all__ = ["READERS"]


@reads("linear")
def _linear(call: AtenCall) -> Node | list[Node]:
    """A dense layer; or, where its weight depends on the input, a product with its transpose."""
    weight, bias = call.constant("weight"), call.constant("bias")
    if weight is not None and len(call.operands) == 1:
        return Dense(**call.base, weight=weight, bias=bias)
    if isinstance(call["bias"], Operand):
        raise Unreadable("its bias depends on the model's input")
    steps = Steps(call)
    x, weight_t = call.side("input"), transposed(steps, call, call.side("weight"))
    z = multiply(steps, x, weight_t)
    if bias is not None:
        steps.affine(z, None, bias)
    return steps.done()


#: The names of both factors, and of the summand if there is one, for each operator.
PRODUCTS: dict[str, tuple[str, str, str | None]] = {
    "mm": ("self", "mat2", None),
    "mv": ("self", "vec", None),
    "bmm": ("self", "mat2", None),
    "matmul": ("self", "other", None),
    "addmm": ("mat1", "mat2", "self"),
    "baddbmm": ("batch1", "batch2", "self"),
}


@reads(*PRODUCTS)
def _product(call: AtenCall) -> Node | list[Node]:
    """A product, plus a constant."""
    left, right, summand = PRODUCTS[operator_name(call.target)]
    first, second = call.constant(left), call.constant(right)
    weight = second if first is None else first
    bias = None if summand is None else call.constant(summand)
    if summand is not None:
        if bias is None:
            raise Unreadable("its summand depends on the model's input")
        if call["beta"] != 1 or call["alpha"] != 1:
            raise Unreadable("only a product with beta = alpha = 1 is supported")
    if weight is None:
        return _of_activations(call, left, right, bias)
    constants = call.constants.now()
    if first is None and constants[weight].dim() == 2 and _along_last(constants, bias):
        return Dense(**call.base, weight=weight, bias=bias, input_major=True)
    return MatrixProduct(**call.base, weight=weight, bias=bias, weight_first=first is not None)


@reads("einsum")
def _einsum(call: AtenCall) -> Node | list[Node]:
    """Sums of products of two factors, or sums of one."""
    equation, factors = call["equation"], call["tensors"]
    if len(factors) == 1:
        return Fixed(**call.call, channel_dim=None)
    if len(factors) != 2 or any(isinstance(factor, Scalar) for factor in factors):
        raise Unreadable("only sums of products of two factors have a rule")
    a, b = factors
    if isinstance(a, Operand) and isinstance(b, Operand):
        inputs = (call.operands[a.index], call.operands[b.index])
        return InnerProducts(**{**call.base, "inputs": inputs}, equation=equation)
    weight = a.value if isinstance(a, Constant) else b.value
    first = isinstance(a, Constant)
    return MatrixProduct(**call.base, weight=weight, weight_first=first, equation=equation)


def _of_activations(call: AtenCall, left: str, right: str, bias: Value | None) -> list[Node]:
    if min(map(len, call.input_shapes)) < 2:
        raise Unreadable("both of its factors depend on the model's input, and one is a vector")
    steps = Steps(call)
    z = multiply(steps, call.side(left), call.side(right))
    if bias is not None:
        steps.affine(z, None, bias)
    return steps.done()


def multiply(steps: Steps, a: Value | Constant, b: Value | Constant) -> Value:
    """Add `a @ b`, of which one may be a constant."""
    if isinstance(b, Constant):
        assert not isinstance(a, Constant)
        return steps.add(MatrixProduct, a, weight=b.value, weight_first=False)
    if isinstance(a, Constant):
        return steps.add(MatrixProduct, b, weight=a.value, weight_first=True)
    return steps.add(InnerProducts, a, b)


def transposed(steps: Steps, call: AtenCall, matrix: Value | Constant) -> Value | Constant:
    """A matrix, an activation or a constant, with its last two dimensions exchanged."""
    if isinstance(matrix, Constant):
        return Constant(call.derive("transposed", lambda w: w.mT, matrix.value))
    return steps.rearrange(torch.ops.aten.transpose.int, matrix, -2, -1)


def _along_last(constants: Snapshot, bias: Value | None) -> bool:
    """Whether the summand is none, or a dense layer's bias."""
    return bias is None or constants[bias].dim() == 1
