"""Attention, read as products of matrices around a softmax; part of the table `READERS`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from relprop.graph.aten import AtenCall, Unreadable, reads
from relprop.graph.decompose import READERS
from relprop.graph.matrix_products import multiply, transposed
from relprop.graph.node import Node, Operand, Value
from relprop.graph.steps import Steps, softmax

__all__ = ["READERS"]


@reads("scaled_dot_product_attention")
def _attention(call: AtenCall) -> list[Node]:
    """`softmax(scale q k^T + mask) v`: a mask is constant, and multiplies the exponentials."""
    if call["is_causal"] or call.arguments.get("enable_gqa"):
        raise Unreadable("only attention without is_causal and enable_gqa has a rule; pass a mask")
    if call["dropout_p"]:
        raise Unreadable("it drops out at random")
    steps = Steps(call)
    q, k, v = (call.side(name) for name in ("query", "key", "value"))
    scale = call["scale"] or 1 / math.sqrt(call.input_shapes[0][-1])
    scores = multiply(steps, q, transposed(steps, call, k))
    scores = steps.affine(scores, call.lift(scale), None)
    weights = softmax(steps, scores, -1, call.dtype, _factor(call))
    multiply(steps, weights, v)
    return steps.done()


def _factor(call: AtenCall) -> Value | None:
    """What the mask makes of exponentials: `exp(s + mask) = exp(s) exp(mask)`."""
    if isinstance(call["attn_mask"], Operand):
        raise Unreadable("its mask depends on the model's input")
    mask = call.constant("attn_mask")

    def exponential(mask: Tensor) -> Tensor:
        return mask.double() if mask.dtype == torch.bool else mask.double().exp()

    return None if mask is None else call.derive("factor", exponential, mask)
