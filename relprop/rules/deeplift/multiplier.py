"""What the rules of DeepLIFT hand on, and what they read.

With `x` an activation's value for the input and `x0` for the baseline, its difference is
`d = x - x0` and its contribution `m * d`. RevealCancel wants differences in two parts,
`d = P + N`, and gives each a multiplier of its own. A layer with weights makes `P >= 0 >= N`; a
function that falls turns their signs, but not who is who. Where d is known, the parts are known by
their size `P - N`, too, which may so be negative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from relprop.graph.node import Node, Run, Value

Parts = tuple[Tensor, Tensor]


class Multiplier:
    """`contribution = positive * P + negative * N`; `single` where both are the same."""

    def __init__(self, positive: Tensor, negative: Tensor | None = None) -> None:
        self._positive, self._negative = positive, negative

    @property
    def single(self) -> bool:
        """Whether P and N have the same multiplier."""
        return self._negative is None

    @property
    def positive(self) -> Tensor:
        """The multiplier of P."""
        return self._positive

    @property
    def negative(self) -> Tensor:
        """The multiplier of N."""
        return self._positive if self._negative is None else self._negative

    def __add__(self, other: Multiplier) -> Multiplier:
        """What flows together from two readers of one activation."""
        if isinstance(other, Halves):
            return other + self
        if self.single and other.single:
            return Multiplier(self.positive + other.positive)
        return Multiplier(self.positive + other.positive, self.negative + other.negative)

    def each(self, move: Callable[[Tensor], Tensor]) -> Multiplier:
        """`move`, which is linear and has no negative weights, applied to both."""
        negative = None if self._negative is None else move(self._negative)
        return Multiplier(move(self._positive), negative)

    def scaled(self, w: Tensor | float) -> Multiplier:
        """Through a multiplication by w, element by element: a negative w swaps the parts."""
        if self._negative is None:
            return Multiplier(self._positive * w)
        w_p, w_n = _signs(w)
        return Multiplier(
            w_p * self._positive + w_n * self._negative, w_p * self._negative + w_n * self._positive
        )

    def contribution(self, context: DifferenceContext, value: Value) -> Tensor:
        """`m d`, or `m+ P + m- N`: what the activation `value` contributes."""
        if self.single:
            return self.positive * context.difference(value)
        P, N = context.parts(value)
        return self.positive * P + self.negative * N

    def along(self, d: Tensor) -> Tensor:
        """The one multiplier of a difference whose parts are `d+` and `d-`."""
        if self.single:
            return self.positive
        m_p, m_n = self.positive, self.negative
        return torch.where(d > 0, m_p, torch.where(d < 0, m_n, (m_p + m_n) / 2))

    def halves(self) -> tuple[Tensor, Tensor | None]:
        """`u, v = (m+ ± m-) / 2`; v is None where it is 0."""
        if self._negative is None:
            return self._positive, None
        u = torch.lerp(self._positive, self._negative, 0.5)
        return u, self._positive - u


class Halves(Multiplier):
    """Two multipliers by their mean and half of their difference: `m+, m- = u ± v`.

    So layers with weights have them: `W^T u + sign(d) |W|^T v`.
    """

    def __init__(self, u: Tensor, v: Tensor) -> None:
        self.u, self.v = u, v

    @property
    def single(self) -> bool:
        """They are two."""
        return False

    @property
    def positive(self) -> Tensor:
        """`u + v`."""
        return self.u + self.v

    @property
    def negative(self) -> Tensor:
        """`u - v`."""
        return self.u - self.v

    def __add__(self, other: Multiplier) -> Multiplier:
        """What flows together from two readers of one activation."""
        u, v = other.halves()
        return Halves(self.u + u, self.v if v is None else self.v + v)

    def each(self, move: Callable[[Tensor], Tensor]) -> Multiplier:
        """`move`, applied to both."""
        return Halves(move(self.u), move(self.v))

    def scaled(self, w: Tensor | float) -> Multiplier:
        """The parts that a negative w swaps have multipliers whose difference it turns round."""
        return Halves(self.u * w, self.v * (w.abs() if isinstance(w, Tensor) else abs(w)))

    def along(self, d: Tensor) -> Tensor:
        """`u + sign(d) v`."""
        return torch.addcmul(self.u, d.sign(), self.v)

    def halves(self) -> tuple[Tensor, Tensor]:
        """`u, v`."""
        return self.u, self.v


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
    _sizes: dict[Value, Tensor] = field(default_factory=dict)

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

    def has_size(self, value: Value) -> bool:
        """Whether `size` is cheaper than `parts`, and enough, as the difference is known."""
        if value not in self.makers:
            return False
        node, rule = self.makers[value]
        return bool(rule.has_size(node, self))

    def size(self, value: Value) -> Tensor:
        """`P - N` of an activation; made once, until `forget`."""
        if not self.has_size(value):
            P, N = self.parts(value)
            return P - N
        if value not in self._sizes:
            node, rule = self.makers[value]
            self._sizes[value] = rule.size(node, self)
        return self._sizes[value]

    def forget(self, node: Node) -> None:
        """Let go of the parts of a node that relevance has crossed."""
        self._parts.pop(node.output, None)
        self._sizes.pop(node.output, None)


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

    def has_size(self, node: Any, context: DifferenceContext) -> bool:
        """Whether the size of the output's difference, `P - N`, is cheaper than its parts."""
        return False

    def size(self, node: Any, context: DifferenceContext) -> Tensor:
        """`P - N`, where `has_size`."""
        raise NotImplementedError

    def single(self, node: Any, context: DifferenceContext, m: Multiplier) -> Tensor:
        """One multiplier of the node's output in place of two, for parts by sign."""
        return m.positive if m.single else m.along(context.difference(node.output))

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

    def has_size(self, node: Node, context: DifferenceContext) -> bool:
        """The rule's."""
        return self.rule.has_size(node, context)

    def size(self, node: Node, context: DifferenceContext) -> Tensor:
        """The rule's."""
        return self.rule.size(node, context)

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
