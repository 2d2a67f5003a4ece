"""The gradient's way back through a graph, and two that leave it at ReLUs.

With `m` the gradient of the score by a node's output, a plain tensor, a crossing gives the gradient
by each of the node's inputs: `J^T m`. Every crossing has the conventions of torch's autograd where
a function has a kink. Deconvnets and guided backpropagation cross ReLUs by a rule of their own.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor

from relprop import ops
from relprop.graph.linear import WEIGHTED, Affine, Beside, Fixed, Rearrange
from relprop.graph.linear_map import LinearMap
from relprop.graph.node import Call, Graph, Node, Run, Value, is_scalar, sum_to
from relprop.graph.nonlinear import (
    Activation,
    AdaptiveMaxPool,
    Bilinear,
    Cat,
    InnerProducts,
    MaxPool,
    Opaque,
    Product,
    Sum,
)
from relprop.rules.support import choose, transposed_jacobian, winner


class GradientRule:
    """A crossing whose messages are gradients, and whose context is the forward sweep's run."""

    @property
    def name(self) -> str:
        """The rule's name in tables."""
        return type(self).__name__.lower()

    def keeps(self, node: Any) -> tuple[Value, ...]:
        """The activations that `backward` reads."""
        return ()

    def backward(self, node: Any, run: Run, m: Tensor) -> tuple[Tensor, ...]:
        """`J^T m`, for each of the node's inputs."""
        raise NotImplementedError


class Transpose(GradientRule):
    """A linear map: `W^T m`."""

    def backward(self, node: LinearMap, run: Run, m: Tensor) -> tuple[Tensor]:
        """1B."""
        return (node.transpose(run, m, run.shapes[node.inputs[0]]),)


class Cast(GradientRule):
    """A change of type: the gradient by a tensor is of that tensor's type."""

    def keeps(self, node: Rearrange) -> tuple[Value, ...]:
        """The input, for its type."""
        return node.inputs

    def backward(self, node: Rearrange, run: Run, m: Tensor) -> tuple[Tensor]:
        """Back to the input's type."""
        return (m.to(run.values[node.inputs[0]].dtype),)


class Slope(GradientRule):
    """An elementwise function: `m f'(x)`."""

    def keeps(self, node: Activation) -> tuple[Value, ...]:
        """The function's input; of an exponential, its value."""
        return (node.output,) if node.name == "exp" else node.inputs

    def backward(self, node: Activation, run: Run, m: Tensor) -> tuple[Tensor]:
        """Between x and itself, Rescale's secant is the derivative."""
        if node.name == "exp":  # also of scores that a mask made -inf
            return (m * run.values[node.output],)
        x = run.values[node.inputs[0]]
        return (ops.rescale(m, x, x, activation=node.name, parameters=node.parameters),)


class ClosedSlope(GradientRule):
    """A function that is linear from `low` to `high`, with slope 1 at these bounds as well.

    Such is torch's `clamp` in most versions, unlike its `hardtanh`; and the falling side of its
    `prelu`.
    """

    def keeps(self, node: Activation) -> tuple[Value, ...]:
        """The function's input."""
        return node.inputs

    def backward(self, node: Activation, run: Run, m: Tensor) -> tuple[Tensor]:
        """`m [low <= x <= high]`."""
        x = run.values[node.inputs[0]]
        low, high = node.parameters or (0.0, math.inf)
        return (m * ((x >= low) & (x <= high)),)


class Deconvolution(GradientRule):
    """A ReLU on the way back in place of the one on the way forth (Zeiler and Fergus 2014)."""

    def backward(self, node: Activation, run: Run, m: Tensor) -> tuple[Tensor]:
        """`relu(m)`."""
        return (m.relu(),)


class Guided(GradientRule):
    """A ReLU on both ways (Springenberg et al. 2015, sec. 3.4)."""

    def keeps(self, node: Activation) -> tuple[Value, ...]:
        """The ReLU's input."""
        return node.inputs

    def backward(self, node: Activation, run: Run, m: Tensor) -> tuple[Tensor]:
        """`relu(m) [x > 0]`."""
        x = run.values[node.inputs[0]]
        return (ops.rescale(m.relu(), x, x, activation="relu"),)


class Winner(GradientRule):
    """A max pool: the winner of a window takes all."""

    def keeps(self, node: MaxPool | AdaptiveMaxPool) -> tuple[Value, ...]:
        """The pool's input."""
        return node.inputs

    def backward(self, node: MaxPool | AdaptiveMaxPool, run: Run, m: Tensor) -> tuple[Tensor]:
        """See `relprop.ops.max_pool_winner`."""
        return (winner(node, m, run.values[node.inputs[0]]),)


class Add(GradientRule):
    """`z = a + alpha b`."""

    def backward(self, node: Sum, run: Run, m: Tensor) -> tuple[Tensor, Tensor]:
        """`m_a = m`, `m_b = alpha m`."""
        a, b = (run.shapes[value] for value in node.inputs)
        return sum_to(m, a), sum_to(m if node.alpha == 1 else node.alpha * m, b)


class Multiply(GradientRule):
    """`z = a b`, element by element or as matrices."""

    def keeps(self, node: Bilinear) -> tuple[Value, ...]:
        """Both factors."""
        return node.inputs

    def backward(self, node: Bilinear, run: Run, m: Tensor) -> tuple[Tensor, Tensor]:
        """`m_a = m b`, `m_b = a m`."""
        a, b = (run.values[value] for value in node.inputs)
        return node.transpose_first(m, b, a.shape), node.transpose_second(m, a, b.shape)


class Split(GradientRule):
    """A concatenation: each part gets its own."""

    def backward(self, node: Cat, run: Run, m: Tensor) -> tuple[Tensor, ...]:
        """Slices."""
        sizes = [run.shapes[value][node.dim] for value in node.inputs]
        return tuple(torch.split(m, sizes, node.dim))


class Jacobian(GradientRule):
    """Any operator that no node type describes, by torch's autograd."""

    def keeps(self, node: Call) -> tuple[Value, ...]:
        """The operator's inputs."""
        return node.inputs

    def backward(self, node: Call, run: Run, m: Tensor) -> tuple[Tensor, ...]:
        """`J^T m`."""
        return transposed_jacobian(node, run, [run.values[value] for value in node.inputs], m)


RULES: dict[type[Node], GradientRule] = {
    **dict.fromkeys((*WEIGHTED, Affine, Fixed, Rearrange, Beside), Transpose()),
    **dict.fromkeys((MaxPool, AdaptiveMaxPool), Winner()),
    Activation: Slope(),
    Sum: Add(),
    **dict.fromkeys((Product, InnerProducts), Multiply()),
    Cat: Split(),
    Opaque: Jacobian(),
}
RELU_RULES: dict[str, GradientRule] = {
    "gradient": Slope(),
    "deconvolution": Deconvolution(),
    "guided": Guided(),
}
#: Activation functions that are a ReLU, by whatever name the model calls it.
RELUS = {("relu", ()), ("hardtanh", (0.0, math.inf)), ("threshold", (0.0, 0.0))}
CASTS = {"to", "_to_copy"}
CLAMPS = {"clamp", "clip", "clamp_min", "clamp_max"}


def gradient_rules(graph: Graph, relu: str = "gradient") -> list[GradientRule | None]:
    """A crossing for every node, ReLUs by the one that `relu` names; None for scalars."""
    relu_rule = choose(RELU_RULES, relu, "relu")
    producers = graph.producers()

    def rule_of(node: Node) -> GradientRule | None:
        if is_scalar(node):
            return None
        if isinstance(node, Rearrange) and node.label in CASTS:
            return Cast()
        if not isinstance(node, Activation):
            return RULES[type(node)]
        if relu != "gradient" and _is_relu(node):
            chosen: GradientRule = relu_rule
            return chosen
        if node.label in CLAMPS and _clamp_is_closed():
            return ClosedSlope()
        if _falls(node, producers.get(node.inputs[0])):
            return ClosedSlope()
        return RULES[Activation]

    return [rule_of(node) for node in graph.nodes]


@cache
def _clamp_is_closed() -> bool:
    """Whether the torch that runs gives its `clamp` the slope 1 at the bounds, and not 0."""
    with torch.inference_mode(False), torch.enable_grad():
        bound = torch.zeros((), requires_grad=True)
        (slope,) = torch.autograd.grad(bound.clamp(0, 1), bound)
    return bool(slope)


def _is_relu(node: Activation) -> bool:
    """Whether the function is a ReLU of the model's, and not one step of another operator."""
    return not node.part_of and (node.name, node.parameters) in RELUS


def _falls(node: Activation, below: Node | None) -> bool:
    """Whether this is `relu(-x)` of a PReLU, `relu(x) - w relu(-x)`: its slope at 0 is w."""
    return "prelu" in node.part_of and isinstance(below, Affine) and below.part_of == node.part_of
