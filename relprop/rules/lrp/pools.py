"""LRP through max pools, where it is not the maximum alone that takes a window's relevance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from relprop.graph.node import Node, Value
from relprop.graph.nonlinear import AdaptiveMaxPool, MaxPool
from relprop.rules.lrp.relevance import LrpContext, Relevance
from relprop.rules.lrp.structure import StructureRule, Winner, each
from relprop.rules.lrp.weighted import Settings, WeightedRule

Pool = MaxPool | AdaptiveMaxPool


@dataclass(frozen=True)
class _Windows:
    """Which element of the flattened input lies at each tap of each window, and if any does."""

    places: Tensor  # (windows, taps)
    inside: Tensor  # (windows, taps)

    @classmethod
    def of(cls, node: Pool, x: Tensor, size: Sequence[int]) -> _Windows:
        """The windows of a pool of x with outputs of that size."""
        places = torch.zeros(1, 1, dtype=torch.long, device=x.device)
        inside = torch.ones(1, 1, dtype=torch.bool, device=x.device)
        for dim, (length, count) in enumerate(zip(x.shape[2:], size, strict=True)):
            j = torch.arange(count, device=x.device)[:, None]
            if isinstance(node, MaxPool):
                taps = torch.arange(node.kernel_size[dim], device=x.device) * node.dilation[dim]
                i = j * node.stride[dim] - node.padding[dim] + taps
                there = (i >= 0) & (i < length)
            else:
                i = j * length // count + torch.arange(length // count + 2, device=x.device)
                there = i < ((j + 1) * length + count - 1) // count
            i = i.clamp(0, length - 1)
            places = (places[:, None, :, None] * length + i[None, :, None, :]).flatten(2)
            inside = (inside[:, None, :, None] & there[None, :, None, :]).flatten(2)
            places, inside = places.flatten(0, 1), inside.flatten(0, 1)
        return cls(places, inside)

    def gather(self, x: Tensor) -> Tensor:
        """The elements of every window, (N, C, windows, taps)."""
        return x.flatten(2)[..., self.places]

    def scatter(self, parts: Tensor, x: Tensor) -> Tensor:
        """The parts, each back to the place it is of, in the shape of x: the transpose."""
        flat = parts.new_zeros(*x.shape[:2], math.prod(x.shape[2:]))
        places, parts = self.places.flatten(), parts.flatten(2)
        if x.device.type == "cpu":
            return flat.index_add_(2, places, parts).reshape(x.shape)
        return add_in_order(flat, places, parts).reshape(x.shape)


def add_in_order(flat: Tensor, places: Tensor, parts: Tensor) -> Tensor:
    """`flat.index_add_(2, places, parts)`, which a GPU sorts by place before it adds.

    There, index_add_ itself adds in whatever order.
    """
    added: Tensor = torch.ops.aten.index_put_(flat, [None, None, places], parts, True)
    return added


class Shared(StructureRule):
    """A max pool: those that are equal to the maximum share, `R_i = R_j / n_j`."""

    nodes = (MaxPool, AdaptiveMaxPool)

    def keeps(self, node: Node) -> Sequence[Value]:
        """The pool's input and output."""
        return (node.inputs[0], node.output)

    def backward(self, node: Pool, context: LrpContext, R: Relevance) -> tuple[Relevance]:
        """The value of each is the output's: multipliers pass in equal parts."""
        x = context[node.inputs[0]]
        windows = _Windows.of(node, x, context.run.shapes[node.output][2:])
        values = windows.gather(x).masked_fill(~windows.inside, -math.inf)
        best = ((values == values.amax(-1, keepdim=True)) & windows.inside).to(x.dtype)
        part = best / best.sum(-1, keepdim=True)
        return (each(R, lambda t: windows.scatter(part * t.flatten(2).unsqueeze(-1), x)),)


class ProportionalPool(WeightedRule):
    """A max pool as if it were a sum: `R_i = x_i R_j / stab(sum_i' x_i')` over a window."""

    nodes: ClassVar[tuple[type[Node], ...]] = (MaxPool, AdaptiveMaxPool)

    @property
    def name(self) -> str:
        """By what it does."""
        return "proportional"

    def fits(self, node: Node) -> bool:
        """Max pools."""
        return isinstance(node, self.nodes)

    def keeps(self, node: Node) -> Sequence[Value]:
        """The pool's input and output."""
        return (node.inputs[0], node.output)

    def backward(self, node: Pool, context: LrpContext, R: Relevance) -> tuple[Relevance]:
        """One multiplier for every window."""
        x, shape = context[node.inputs[0]], context.run.shapes[node.output]
        windows = _Windows.of(node, x, shape[2:])
        z = (windows.gather(x) * windows.inside).sum(-1).reshape(shape)
        s = self.ratio(node, context, R, denominator=z)
        inside = windows.inside.to(x.dtype)
        c = windows.scatter(s.flatten(2).unsqueeze(-1) * inside, x)
        if not self.settles(context):
            return (Relevance(c),)
        stabilizer = self.division.added(z) * s
        if self.bias == "redistribute":
            equal = inside / inside.sum(-1, keepdim=True)
            return (Relevance(c, windows.scatter(stabilizer.flatten(2).unsqueeze(-1) * equal, x)),)
        context.charge(node, stabilizer=stabilizer)
        return (Relevance(c),)


MAX_POOLS: dict[str, StructureRule | WeightedRule] = {
    "winner": Winner(),
    "shared": Shared(),
    "proportional": ProportionalPool(),
}


class AsTold(StructureRule):
    """The rule for max pools that `LRP` was told, where a composite has none."""

    nodes = (MaxPool, AdaptiveMaxPool)

    def placed(self, node: Node, settings: Settings) -> StructureRule | WeightedRule:
        """One of `MAX_POOLS`."""
        return MAX_POOLS[settings.max_pool].placed(node, settings)
