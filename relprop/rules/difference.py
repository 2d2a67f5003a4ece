"""DeepLIFT (Shrikumar et al. 2017): multipliers `m` of differences, one class a rule.

With `x` the input's and `x0` the baseline's value of an activation, its contribution is
`m * (x - x0)`. Each rule hands down multipliers so that the contributions of a node's inputs sum to
those of its output: summation-to-delta, from the output to the inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relprop import ops
from relprop.graph.linear import LinearMap
from relprop.graph.node import Call, Node, Run, Value, sum_to
from relprop.graph.nonlinear import Activation, AdaptiveMaxPool, Cat, MaxPool, Product, Sum
from relprop.rules.structure import transposed_jacobian, winner


@dataclass
class DifferenceContext:
    """The forward sweeps of the inputs and of their baselines.

    A baseline common to all examples has been run once: its tensors have size 1 along the batch.
    """

    x: Run
    x0: Run


class DifferenceRule:
    """A rule of DeepLIFT."""

    @property
    def name(self) -> str:
        """The rule's name in tables."""
        return type(self).__name__.lower()

    def keeps(self, node: Node) -> Sequence[Value]:
        """Nothing, unless a rule says otherwise."""
        return ()


class Linear(DifferenceRule):
    """`m_x = W^T m_z`: a linear map's differences add up by themselves (sec. 3.5.1)."""

    def backward(self, node: LinearMap, context: DifferenceContext, m: Tensor) -> tuple[Tensor]:
        """1B; the bias has no part in a difference."""
        run = context.x
        shape = run.shapes[node.inputs[0]]
        return (node.transpose(run, m, shape, run.constant(node.weight)),)


class Rescale(DifferenceRule):
    """`m_x = m_y (f(x) - f(x0)) / (x - x0)`; where x is next to x0, `f'` (sec. 3.5.2)."""

    def keeps(self, node: Node) -> Sequence[Value]:
        """The function's input."""
        return node.inputs

    def backward(self, node: Activation, context: DifferenceContext, m: Tensor) -> tuple[Tensor]:
        """One elementwise pass."""
        (value,) = node.inputs
        x, x0 = context.x.values[value], context.x0.values[value]
        return (ops.rescale(m, x, x0, activation=node.name, parameters=node.parameters),)


class Winner(DifferenceRule):
    """A max pool: the winner of each window, in x or in x0, takes the whole difference."""

    def keeps(self, node: Node) -> Sequence[Value]:
        """The pool's input."""
        return node.inputs

    def backward(
        self, node: MaxPool | AdaptiveMaxPool, context: DifferenceContext, m: Tensor
    ) -> tuple[Tensor]:
        """See `relprop.ops.max_pool_winner`."""
        (value,) = node.inputs
        return (winner(node, m, context.x.values[value], context.x0.values[value]),)


class Add(DifferenceRule):
    """`z = a + alpha b`: each branch keeps the multiplier."""

    def backward(self, node: Sum, context: DifferenceContext, m: Tensor) -> tuple[Tensor, ...]:
        """`m_a = m`, `m_b = alpha m`."""
        a, b = (context.x.shapes[value] for value in node.inputs)
        return sum_to(m, a), sum_to(m if node.alpha == 1 else m * node.alpha, b)


class Part(DifferenceRule):
    """A concatenation: each part keeps its own."""

    def backward(self, node: Cat, context: DifferenceContext, m: Tensor) -> tuple[Tensor, ...]:
        """Slices of the multiplier."""
        sizes = [context.x.shapes[value][node.dim] for value in node.inputs]
        return tuple(torch.split(m, sizes, node.dim))


class Midpoint(DifferenceRule):
    """A product, as a game of two players: `a b - a0 b0 = (a - a0)(b + b0)/2 + (b - b0)(a + a0)/2`.

    Both terms are Shapley values.
    """

    def keeps(self, node: Node) -> Sequence[Value]:
        """Both factors."""
        return node.inputs

    def backward(self, node: Product, context: DifferenceContext, m: Tensor) -> tuple[Tensor, ...]:
        """`m_a = m (b + b0) / 2`, `m_b = m (a + a0) / 2`."""
        x, x0 = context.x.values, context.x0.values
        shapes = [context.x.shapes[value] for value in node.inputs]
        middle = [(x[value] + x0[value]) / 2 for value in node.inputs]
        return sum_to(m * middle[1], shapes[0]), sum_to(m * middle[0], shapes[1])


class Gradient(DifferenceRule):
    """An operator without a rule, crossed by its gradient at x: sums to nothing in particular."""

    def keeps(self, node: Node) -> Sequence[Value]:
        """The operator's inputs."""
        return node.inputs

    def backward(self, node: Call, context: DifferenceContext, m: Tensor) -> tuple[Tensor, ...]:
        """`J^T m`."""
        inputs = [context.x.values[value] for value in node.inputs]
        return transposed_jacobian(node, context.x, inputs, m)
