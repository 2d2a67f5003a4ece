"""What the rules of DeepLIFT hand on, and what they read.

With `x` an activation's value for the input and `x0` for the baseline, its difference is
`d = x - x0` and its contribution `m * d`. RevealCancel wants differences in two parts,
`d = P + N` with `P >= 0 >= N`, and gives each a multiplier of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from relprop.graph.node import Node, Run, Value

Parts = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Multiplier:
    """`contribution = positive * P + negative * N`; `negative` None means: the same for both."""

    positive: Tensor
    negative: Tensor | None = None

    @property
    def other(self) -> Tensor:
        """The multiplier of N."""
        return self.positive if self.negative is None else self.negative

    def __add__(self, other: Multiplier) -> Multiplier:
        """What flows together from two readers of one activation."""
        if self.negative is None and other.negative is None:
            return Multiplier(self.positive + other.positive)
        return Multiplier(self.positive + other.positive, self.other + other.other)

    def each(self, move: Callable[[Tensor], Tensor]) -> Multiplier:
        """`move` applied to both."""
        negative = None if self.negative is None else move(self.negative)
        return Multiplier(move(self.positive), negative)

    def scaled(self, w: Tensor | float) -> Multiplier:
        """Through a multiplication by w, element by element: a negative w swaps the parts."""
        if self.negative is None:
            return Multiplier(self.positive * w)
        w_p, w_n = _signs(w)
        return Multiplier(
            w_p * self.positive + w_n * self.negative, w_p * self.negative + w_n * self.positive
        )

    def contribution(self, context: DifferenceContext, value: Value) -> Tensor:
        """`m d`, or `m+ P + m- N`: what the activation `value` contributes."""
        if self.negative is None:
            return self.positive * context.difference(value)
        P, N = context.parts(value)
        return self.positive * P + self.negative * N

    def along(self, d: Tensor) -> Tensor:
        """The one multiplier of a difference whose parts are `d+` and `d-`."""
        if self.negative is None:
            return self.positive
        m_p, m_n = self.positive, self.negative
        return torch.where(d > 0, m_p, torch.where(d < 0, m_n, (m_p + m_n) / 2))


def sign_parts(d: Tensor) -> Parts:
    """A difference in parts by its sign: `(d+, d-)`."""
    return d.clamp(min=0), d.clamp(max=0)


def scaled_parts(w: Tensor | float, parts: Parts) -> Parts:
    """The parts after a multiplication by w: a negative w swaps them."""
    w_p, w_n = _signs(w)
    P, N = parts
    return w_p * P + w_n * N, w_p * N + w_n * P


def _signs(w: Tensor | float) -> tuple[Any, Any]:
    if isinstance(w, Tensor):
        return w.clamp(min=0), w.clamp(max=0)
    return max(w, 0.0), min(w, 0.0)


@dataclass
class DifferenceContext:
    """The forward sweeps of the inputs and of their baselines.

    A baseline common to all examples has been run once: its tensors have size 1 along the batch.
    `makers` are the nodes that compute each activation, with their rules.
    """

    x: Run
    x0: Run
    makers: Mapping[Value, tuple[Node, Any]]
    _parts: dict[Value, Parts] = field(default_factory=dict)

    def difference(self, value: Value) -> Tensor:
        """`x - x0`."""
        return self.x.values[value] - self.x0.values[value]

    def parts(self, value: Value) -> Parts:
        """`P, N` of an activation, as its rule has them; made once, until `forget`."""
        if value not in self._parts:
            if value in self.makers:
                node, rule = self.makers[value]
                self._parts[value] = rule.parts(node, self)
            else:
                self._parts[value] = sign_parts(self.difference(value))
        return self._parts[value]

    def forget(self, node: Node) -> None:
        """Let go of the parts of a node that relevance has crossed."""
        self._parts.pop(node.output, None)


class DifferenceRule:
    """A rule of DeepLIFT; unless it says otherwise, it sees only the sign of its output's d."""

    #: Whether the parts of the output are made from the parts of the inputs.
    passes_parts = False

    @property
    def name(self) -> str:
        """The rule's name in tables."""
        return type(self).__name__.lower()

    def keeps(self, node: Any) -> tuple[Value, ...]:
        """The activations that `backward` reads, where multipliers come one by one."""
        return ()

    def keeps_for_parts(self, node: Any) -> tuple[Value, ...]:
        """The activations that it reads beside, where they come in pairs."""
        return (node.output,)

    def parts(self, node: Any, context: DifferenceContext) -> Parts:
        """`P, N` of the node's output."""
        return sign_parts(context.difference(node.output))

    def single(self, node: Any, context: DifferenceContext, m: Multiplier) -> Tensor:
        """One multiplier of the node's output in place of two, for parts by sign."""
        return m.positive if m.negative is None else m.along(context.difference(node.output))

    def backward(
        self, node: Any, context: DifferenceContext, m: Multiplier
    ) -> tuple[Multiplier, ...]:
        """Multipliers of the inputs, so that their contributions sum to the output's."""
        raise NotImplementedError


@dataclass(frozen=True)
class InParts:
    """A rule at a node whose output a RevealCancel above wants in parts."""

    rule: DifferenceRule

    def parts(self, node: Node, context: DifferenceContext) -> Parts:
        """The rule's."""
        return self.rule.parts(node, context)

    @property
    def name(self) -> str:
        """The rule's."""
        return self.rule.name

    def keeps(self, node: Node) -> tuple[Value, ...]:
        """What the rule reads, for parts too."""
        return (*self.rule.keeps(node), *self.rule.keeps_for_parts(node))

    def backward(
        self, node: Node, context: DifferenceContext, m: Multiplier
    ) -> tuple[Multiplier, ...]:
        """The rule's."""
        return self.rule.backward(node, context, m)
