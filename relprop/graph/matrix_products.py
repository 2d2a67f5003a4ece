"""Which node a product of matrices becomes: part of the table `READERS`, like `aten.py`."""

from __future__ import annotations

from relprop.graph.aten import READERS, AtenCall, Unreadable, reads
from relprop.graph.constants import Snapshot
from relprop.graph.fx_nodes import operator_name
from relprop.graph.linear import Dense, MatrixProduct
from relprop.graph.node import Node, Value

__all__ = ["READERS"]


@reads("linear")
def _linear(call: AtenCall) -> Node:
    weight = call.constant("weight")
    if weight is None or len(call.operands) != 1:
        raise Unreadable("its weight depends on the model's input")
    return Dense(**call.base, weight=weight, bias=call.constant("bias"))


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
def _product(call: AtenCall) -> Node:
    """A product with one constant side, plus a constant."""
    left, right, summand = PRODUCTS[operator_name(call.target)]
    first, second = call.constant(left), call.constant(right)
    weight = second if first is None else first
    if weight is None:
        raise Unreadable("both of its factors depend on the model's input")
    bias = None if summand is None else call.constant(summand)
    if summand is not None:
        if bias is None:
            raise Unreadable("its summand depends on the model's input")
        if call["beta"] != 1 or call["alpha"] != 1:
            raise Unreadable("only a product with beta = alpha = 1 is supported")
    constants = call.constants.now()
    if first is None and constants[weight].dim() == 2 and _along_last(constants, bias):
        return Dense(**call.base, weight=weight, bias=bias, input_major=True)
    return MatrixProduct(**call.base, weight=weight, bias=bias, weight_first=first is not None)


def _along_last(constants: Snapshot, bias: Value | None) -> bool:
    """Whether the summand is none, or a dense layer's bias."""
    return bias is None or constants[bias].dim() == 1
