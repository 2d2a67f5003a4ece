"""How the messages of each method are taken apart at a cut, and put together at the images.

Given the activations, what a message becomes on its way back is linear in it, for nearly every
rule. So the message at a cut may be sent back box by box, and what arrives at the images added up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from torch import Tensor

from relprop.graph.intervals import Box
from relprop.graph.linear import Rearrange
from relprop.graph.node import Graph, Node, Run, Value
from relprop.graph.nonlinear import Activation
from relprop.graph.sweep import Sweep
from relprop.rules import gradient
from relprop.rules.deeplift import choice
from relprop.rules.deeplift.multiplier import DifferenceContext, Halves, InParts, Multiplier
from relprop.rules.lrp.composite import DEFAULTS
from relprop.rules.lrp.input_layers import ZBox
from relprop.rules.lrp.relevance import LrpContext, Relevance
from relprop.rules.lrp.structure import PassAmount
from relprop.rules.support import Rule

Message = TypeVar("Message")
Move = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Packed:
    """A message in a form that files hold: tensors by name, and which form of message they are."""

    form: str
    tensors: Mapping[str, Tensor]


class Method(Protocol[Message]):
    """What tiling has to know of a method; a message is its own type of message."""

    @property
    def window(self) -> Rule:
        """The rule for a part of an activation."""

    def refuses(self, node: Node, rule: Rule) -> str:
        """Why a node with such a rule cannot run by tiles, or nothing."""

    def crosses(self, rule: Rule) -> bool:
        """Whether the message at a node with such a rule is all that the rule needs from above."""

    def placed(self, rule: Rule, box: Box) -> Rule:
        """The rule for a node of which there is a box of the input."""

    def context(self, graph: Graph, sweep: Sweep, runs: Sequence[Run]) -> Any:
        """What the rules read, of the forward sweeps `runs`."""

    def start(self, seed: Tensor) -> Message:
        """The message at the output."""

    def each(self, message: Message, move: Move) -> Message:
        """A linear `move` of every tensor in a message."""

    def flows(self, message: Message) -> bool:
        """Whether there is anything in a message but zeros."""

    def arrived(self, message: Message, runs: Sequence[Run], value: Value) -> Tensor:
        """What a message is worth at an input."""

    def attributed(self, message: Message, context: Any, value: Value) -> Tensor:
        """What is attributed to a layer that a message arrived at."""

    def packed(self, message: Message) -> Packed:
        """A message, to be kept outside of memory. Those of one form add up tensor by tensor."""

    def unpacked(self, packed: Packed, makers: Mapping[Value, Node]) -> Message:
        """The message again; `makers` are the graph's nodes by what they compute."""


@dataclass(frozen=True)
class ByRelevance:
    """LRP's messages."""

    window = DEFAULTS[Rearrange]

    def refuses(self, node: Node, rule: Rule) -> str:
        """Whatever needs a mean over the layer, or moves relevance by its place in a tensor."""
        if getattr(rule, "reads_whole_output", False):
            return "its rule's stabilizer is relative to the mean over all of the layer"
        if isinstance(rule, PassAmount) and not isinstance(node, Activation):
            return "the pass rule goes by an element's place in the whole"
        return ""

    def crosses(self, rule: Rule) -> bool:
        """Relevance is all."""
        return True

    def placed(self, rule: Rule, box: Box) -> Rule:
        """Bounds of z^B for every pixel are those of the box."""
        if not isinstance(rule, ZBox):
            return rule
        return replace(rule, low=_part(rule.low, box), high=_part(rule.high, box))

    def context(self, graph: Graph, sweep: Sweep, runs: Sequence[Run]) -> LrpContext:
        """The one sweep."""
        return LrpContext(runs[0], graph.nonnegative, sweep.stand_in)

    def start(self, seed: Tensor) -> Relevance:
        """The score, as a multiplier."""
        return Relevance(seed)

    def each(self, message: Relevance, move: Move) -> Relevance:
        """The multiplier and the amount; the activation function stays."""
        m, amount = message.multiplier, message.amount
        return replace(
            message,
            multiplier=None if m is None else move(m),
            amount=None if amount is None else move(amount),
        )

    def flows(self, message: Relevance) -> bool:
        """Whether the multiplier or the amount does."""
        return any(t is not None and bool(t.any()) for t in (message.multiplier, message.amount))

    def arrived(self, message: Relevance, runs: Sequence[Run], value: Value) -> Tensor:
        """Relevance."""
        return message.total(runs[0], runs[0].values[value])

    def attributed(self, message: Relevance, context: LrpContext, value: Value) -> Tensor:
        """Relevance."""
        return message.total(context.run, context[value])

    def packed(self, message: Relevance) -> Packed:
        """The form is the activation function still to be applied, by its output."""
        tensors = {"multiplier": message.multiplier, "amount": message.amount}
        form = message.activation.output if message.activation else ""
        return Packed(form, {name: t for name, t in tensors.items() if t is not None})

    def unpacked(self, packed: Packed, makers: Mapping[Value, Node]) -> Relevance:
        """With the activation function out of the graph."""
        activation = makers.get(packed.form)
        assert activation is None or isinstance(activation, Activation)
        get = packed.tensors.get
        return Relevance(get("multiplier"), get("amount"), activation)


@dataclass(frozen=True)
class ByMultiplier:
    """DeepLIFT's messages, between the sweeps of the input and of the baseline."""

    window = choice.RULES[Rearrange]

    def refuses(self, node: Node, rule: Rule) -> str:
        """Nothing."""
        return ""

    def crosses(self, rule: Rule) -> bool:
        """Unless a RevealCancel above reads the parts that the rule makes."""
        return not isinstance(rule, InParts)

    def placed(self, rule: Rule, box: Box) -> Rule:
        """It is the same everywhere."""
        return rule

    def context(self, graph: Graph, sweep: Sweep, runs: Sequence[Run]) -> DifferenceContext:
        """Both sweeps."""
        pairs = zip(graph.nodes, sweep.crossings, strict=True)
        makers = {node.output: (node, rule) for node, rule in pairs if rule is not None}
        return DifferenceContext(runs[0], runs[1], makers)

    def start(self, seed: Tensor) -> Multiplier:
        """One at the target."""
        return Multiplier(seed)

    def each(self, message: Multiplier, move: Move) -> Multiplier:
        """Both multipliers, or the one."""
        return message.each(move)

    def flows(self, message: Multiplier) -> bool:
        """Whether one of both does."""
        return bool(message.positive.any()) or bool(message.negative.any())

    def arrived(self, message: Multiplier, runs: Sequence[Run], value: Value) -> Tensor:
        """The multiplier of the difference."""
        return message.along(runs[0].values[value] - runs[1].values[value])

    def attributed(self, message: Multiplier, context: DifferenceContext, value: Value) -> Tensor:
        """The contribution."""
        return message.contribution(context, value)

    def packed(self, message: Multiplier) -> Packed:
        """One multiplier, or both, as they are or by halves."""
        if isinstance(message, Halves):
            return Packed("halves", {"u": message.u, "v": message.v})
        if message.single:
            return Packed("single", {"m": message.positive})
        return Packed("pair", {"positive": message.positive, "negative": message.negative})

    def unpacked(self, packed: Packed, makers: Mapping[Value, Node]) -> Multiplier:
        """In the form that it had."""
        kind = Halves if packed.form == "halves" else Multiplier
        return kind(*packed.tensors.values())


@dataclass(frozen=True)
class ByGradient:
    """Gradients."""

    window = gradient.RULES[Rearrange]

    def refuses(self, node: Node, rule: Rule) -> str:
        """ReLUs that ask for the sign of all that arrives, of which a tile knows a part."""
        if isinstance(rule, (gradient.Guided, gradient.Deconvolution)):
            return "its rule is not linear in what arrives"
        return ""

    def crosses(self, rule: Rule) -> bool:
        """The gradient is all."""
        return True

    def placed(self, rule: Rule, box: Box) -> Rule:
        """It is the same everywhere."""
        return rule

    def context(self, graph: Graph, sweep: Sweep, runs: Sequence[Run]) -> Run:
        """The one sweep."""
        return runs[0]

    def start(self, seed: Tensor) -> Tensor:
        """The gradient by the output."""
        return seed

    def each(self, message: Tensor, move: Move) -> Tensor:
        """It is a tensor."""
        return move(message)

    def flows(self, message: Tensor) -> bool:
        """Whether it is not 0."""
        return bool(message.any())

    def arrived(self, message: Tensor, runs: Sequence[Run], value: Value) -> Tensor:
        """The gradient by the input."""
        return message

    def attributed(self, message: Tensor, context: Run, value: Value) -> Tensor:
        """The gradient by the layer."""
        return message

    def packed(self, message: Tensor) -> Packed:
        """It is a tensor."""
        return Packed("", {"gradient": message})

    def unpacked(self, packed: Packed, makers: Mapping[Value, Node]) -> Tensor:
        """The tensor."""
        return packed.tensors["gradient"]


def _part(bound: float | Tensor | None, box: Box) -> float | Tensor | None:
    """The part of a bound that lies in a box, but for dimensions that it broadcasts along."""
    if not isinstance(bound, Tensor):
        return bound
    for dim, (start, stop) in zip(range(-1, -len(box) - 1, -1), reversed(box), strict=True):
        if bound.dim() >= -dim and bound.shape[dim] != 1:
            bound = bound.narrow(dim, start, stop - start)
    return bound
