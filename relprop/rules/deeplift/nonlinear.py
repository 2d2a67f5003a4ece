"""DeepLIFT through activation functions and max pools (Shrikumar et al. 2017, sec. 3.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from relprop import ops
from relprop.graph.node import Call, Value
from relprop.graph.nonlinear import Activation, AdaptiveMaxPool, MaxPool
from relprop.rules.deeplift.multiplier import (
    DifferenceContext,
    DifferenceRule,
    Halves,
    Multiplier,
    Parts,
    scaled_parts,
)
from relprop.rules.support import transposed_jacobian, windows, winner


class Rescale(DifferenceRule):
    """`m_x = m_y (f(x) - f(x0)) / (x - x0)`; where x is next to x0, `f'` (sec. 3.5.2)."""

    passes_parts = True

    def keeps(self, node: Activation) -> tuple[Value, ...]:
        """The function's input."""
        return node.inputs

    def keeps_for_parts(self, node: Activation) -> tuple[Value, ...]:
        """Nothing more."""
        return ()

    def _times_slope(
        self, node: Activation, context: DifferenceContext
    ) -> Callable[[Tensor], Tensor]:
        (value,) = node.inputs
        x, x0 = context.x.values[value], context.x0.values[value]

        def times_slope(m: Tensor) -> Tensor:
            return ops.rescale(m, x, x0, **_function(node))

        return times_slope

    def parts(self, node: Activation, context: DifferenceContext) -> Parts:
        """Both parts of the input, scaled alike."""
        P, N = context.parts(node.inputs[0])
        slope = self._times_slope(node, context)(torch.ones_like(P))
        return scaled_parts(slope, (P, N))

    def has_size(self, node: Activation, context: DifferenceContext) -> bool:
        """If the input has."""
        return context.has_size(node.inputs[0])

    def size(self, node: Activation, context: DifferenceContext) -> Tensor:
        """The input's, times the slope's absolute value."""
        size = context.size(node.inputs[0])
        return self._times_slope(node, context)(torch.ones_like(size)).abs_().mul_(size)

    def backward(
        self, node: Activation, context: DifferenceContext, m: Multiplier
    ) -> tuple[Multiplier]:
        """One elementwise pass."""
        times_slope = self._times_slope(node, context)
        if m.single:
            return (Multiplier(times_slope(m.positive)),)
        return (m.scaled(times_slope(torch.ones_like(m.positive))),)


class RevealCancel(DifferenceRule):
    """`m+ = m_y+ y+ / P`, `m- = m_y- y- / N`: each part by its own effect (sec. 3.5.3).

    `y+` is what P does, averaged over N being there or not, and `y-` what N does. Where the
    function is not defined with one of them alone, that element is crossed by Rescale.
    """

    passes_parts = True

    def keeps(self, node: Activation) -> tuple[Value, ...]:
        """The function's input."""
        return node.inputs

    def keeps_for_parts(self, node: Activation) -> tuple[Value, ...]:
        """Nothing more."""
        return ()

    def parts(self, node: Activation, context: DifferenceContext) -> Parts:
        """`y+, y-`."""
        (value,) = node.inputs
        x, x0 = context.x.values[value], context.x0.values[value]
        return ops.reveal_cancel_parts(*context.parts(value), x0, x, **_function(node))

    def has_size(self, node: Activation, context: DifferenceContext) -> bool:
        """If the input has."""
        return context.has_size(node.inputs[0])

    def size(self, node: Activation, context: DifferenceContext) -> Tensor:
        """`y+ - y-`."""
        (value,) = node.inputs
        x, x0 = context.x.values[value], context.x0.values[value]
        return ops.reveal_cancel_size(x, x0, context.size(value), **_function(node))

    def backward(
        self, node: Activation, context: DifferenceContext, m: Multiplier
    ) -> tuple[Multiplier]:
        """One elementwise pass over both parts."""
        (value,) = node.inputs
        x, x0 = context.x.values[value], context.x0.values[value]
        if context.has_size(value):
            operands = (m.positive, None if m.single else m.negative, x, x0, context.size(value))
            return (Halves(*ops.signed_reveal_cancel(*operands, **_function(node))),)
        parts = context.parts(value)
        pair = ops.reveal_cancel(m.positive, m.negative, *parts, x0, x, **_function(node))
        return (Multiplier(*pair),)


def _function(node: Activation) -> dict[str, Any]:
    """An activation function, as the operators of `relprop.ops` take it."""
    return {"activation": node.name, "parameters": node.parameters}


class Winner(DifferenceRule):
    """A max pool: the winner of each window, in x or in x0, takes the whole difference."""

    def keeps(self, node: MaxPool | AdaptiveMaxPool) -> tuple[Value, ...]:
        """The pool's input."""
        return node.inputs

    def backward(
        self, node: MaxPool | AdaptiveMaxPool, context: DifferenceContext, m: Multiplier
    ) -> tuple[Multiplier]:
        """See `relprop.ops.max_pool_winner`."""
        (value,) = node.inputs
        one = self.single(node, context, m)
        return (Multiplier(winner(node, one, context.x.values[value], context.x0.values[value])),)


class Shapley(DifferenceRule):
    """A max pool: each input of a window gets its Shapley value, of all orders of arrival.

    The parts of a window's difference are the values of what rose and of what fell.
    """

    passes_parts = False

    def keeps(self, node: MaxPool | AdaptiveMaxPool) -> tuple[Value, ...]:
        """The pool's input."""
        return node.inputs

    def keeps_for_parts(self, node: MaxPool | AdaptiveMaxPool) -> tuple[Value, ...]:
        """Nothing more."""
        return ()

    def parts(self, node: MaxPool | AdaptiveMaxPool, context: DifferenceContext) -> Parts:
        """See `relprop.ops.max_pool_shapley_parts`."""
        (value,) = node.inputs
        x, x0 = context.x.values[value], context.x0.values[value]
        if isinstance(node, AdaptiveMaxPool):
            size = context.x.shapes[node.output][2:]
            return ops.adaptive_max_pool_shapley_parts(x, x0, output_size=size)
        return ops.max_pool_shapley_parts(x, x0, **windows(node))

    def backward(
        self, node: MaxPool | AdaptiveMaxPool, context: DifferenceContext, m: Multiplier
    ) -> tuple[Multiplier]:
        """See `relprop.ops.max_pool_shapley`."""
        (value,) = node.inputs
        x, x0 = context.x.values[value], context.x0.values[value]
        negative = None if m.single else m.negative
        if isinstance(node, AdaptiveMaxPool):
            return (Multiplier(ops.adaptive_max_pool_shapley(m.positive, x, x0, negative)),)
        return (Multiplier(ops.max_pool_shapley(m.positive, x, x0, negative, **windows(node))),)


class Gradient(DifferenceRule):
    """An operator without a rule, crossed by its gradient at x: sums to nothing in particular."""

    def keeps(self, node: Call) -> tuple[Value, ...]:
        """The operator's inputs."""
        return node.inputs

    def backward(
        self, node: Call, context: DifferenceContext, m: Multiplier
    ) -> tuple[Multiplier, ...]:
        """`J^T m`."""
        inputs = [context.x.values[value] for value in node.inputs]
        one = self.single(node, context, m)
        return tuple(map(Multiplier, transposed_jacobian(node, context.x, inputs, one)))
