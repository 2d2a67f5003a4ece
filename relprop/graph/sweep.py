"""The way through a graph and back.

The forward sweep computes every activation and keeps those that a rule asks for; the backward
sweep hands messages (multipliers, relevances) from the output to the inputs. A tensor dies as soon
as nothing still to come reads it. Of rules, the sweeps know nothing but the protocol `Crossing`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from relprop.graph.autocast import without_autocast
from relprop.graph.constants import Snapshot
from relprop.graph.layout import channels_last
from relprop.graph.node import Graph, Node, Run, Value, is_scalar
from relprop.graph.nonlinear import PIECEWISE_LINEAR, Activation

Message = TypeVar("Message")
Context = TypeVar("Context", contravariant=True)


class Crossing(Protocol[Context, Message]):
    """How messages cross one node, from its output to its inputs."""

    def keeps(self, node: Node) -> Sequence[Value]:
        """The activations that `backward` will read."""

    def backward(self, node: Node, context: Context, message: Message) -> Sequence[Message | None]:
        """One message for every input of the node, or None where nothing flows."""


class Sweep:
    """A graph with a rule for each node: what to keep, and when to let it go.

    `crossings[i]` belongs to `graph.nodes[i]`, and is None for scalars. `stand_in` names, for some
    activations, another one to keep in their place. `also` are kept until relevance has passed
    them, whatever the rules ask for. `winograd` is for `Run`.
    """

    def __init__(
        self,
        graph: Graph,
        crossings: Sequence[Crossing[Any, Any] | None],
        stand_in: Mapping[Value, Value] | None = None,
        keep_all: bool = False,
        also: Collection[Value] = (),
        winograd: bool = True,
    ) -> None:
        self.graph = graph
        self.crossings = crossings
        self.stand_in = dict(stand_in or {})
        self.keep_all = keep_all
        self.winograd = winograd
        self._first_use: dict[Value, int] = {}
        for index, (node, crossing) in enumerate(zip(graph.nodes, crossings, strict=True)):
            for value in crossing.keeps(node) if crossing else ():
                self._first_use.setdefault(self.stand_in.get(value, value), index)
            if node.output in also:
                kept = self.stand_in.get(node.output, node.output)
                self._first_use[kept] = min(index, self._first_use.get(kept, index))
        self._again = {} if keep_all else self._computed_again(also)
        self._dies_forward = self._last_reads()
        self._dies_backward: list[list[Value]] = [[] for _ in graph.nodes]
        for value, index in self._first_use.items():
            self._dies_backward[index].append(value)

    def keeping(self, also: Collection[Value]) -> Sweep:
        """The same sweep, which keeps some activations besides."""
        return Sweep(self.graph, self.crossings, self.stand_in, self.keep_all, also, self.winograd)

    def plainly(self) -> Sweep:
        """The same sweep, with convolutions as torch has them."""
        return Sweep(self.graph, self.crossings, self.stand_in, self.keep_all, winograd=False)

    @property
    def kept(self) -> frozenset[Value]:
        """The activations that are kept from the way through to the way back."""
        if self.keep_all:
            return frozenset(node.output for node in self.graph.nodes)
        return frozenset(self._first_use) - {*self._again}

    def keeping_all(self) -> Sweep:
        """The same sweep, which keeps every activation, in none's stead another."""
        return Sweep(self.graph, self.crossings, keep_all=True, winograd=self.winograd)

    def _computed_again(self, also: Collection[Value]) -> dict[Value, Node]:
        """The activations to compute a second time rather than keep: simple functions of kept ones.

        Those must be there for as long.
        """
        again: dict[Value, Node] = {}
        for node in self.graph.nodes:
            if not isinstance(node, Activation) or node.name not in PIECEWISE_LINEAR:
                continue
            first, before = (self._first_use.get(v) for v in (node.output, *node.inputs))
            wanted = first is not None and before is not None and before <= first
            own = {node.output, *node.inputs}.isdisjoint({*also, *again, self.graph.output})
            if wanted and own:
                again[node.output] = node
        return again

    def _last_reads(self) -> list[list[Value]]:
        """For every node, the activations that no later node reads and no rule asked for."""
        last: dict[Value, int] = {}
        for index, node in enumerate(self.graph.nodes):
            last[node.output] = index
            for value in node.inputs:
                last[value] = index
        dies: list[list[Value]] = [[] for _ in self.graph.nodes]
        kept = {*self._first_use, *self.graph.inputs, self.graph.output} - {*self._again}
        for value, index in last.items():
            if value not in kept:
                dies[index].append(value)
        return dies

    @without_autocast
    def forward(self, constants: Snapshot, arguments: Mapping[Value, Tensor]) -> Run:
        """Run the graph; the run returned holds the output and what the rules asked for."""
        winograd = self.winograd and not torch.is_grad_enabled()
        run = Run(constants, winograd, self._again)
        for value, tensor in arguments.items():
            run.values[value] = channels_last(tensor) if self.graph.channels_last else tensor
            run.shapes[value], run.dtypes[value] = tensor.shape, tensor.dtype
        for node, dying in zip(self.graph.nodes, self._dies_forward, strict=True):
            result = node.compute(run, *(run.values[value] for value in node.inputs))
            if is_scalar(node):
                run.scalars[node.output] = result
                continue
            run.values[node.output] = result
            if isinstance(result, Tensor):
                run.shapes[node.output], run.dtypes[node.output] = result.shape, result.dtype
            if not self.keep_all:
                for value in dying:
                    del run.values[value]
        return run

    @without_autocast
    def backward(
        self,
        context: Any,
        runs: Sequence[Run],
        message: Message,
        watch: Callable[[Node, Message, Sequence[Message | None]], None] | None = None,
        done: Collection[Run] = (),
    ) -> dict[Value, Message]:
        """Send `message` from the output back; returns what reached each input of the graph.

        `runs` are those that the rules read; of them those that are `done`, as nothing reads them
        hereafter, let their tensors go. `watch` is called with every node, the message at its
        output and those at its inputs.
        """
        waiting: dict[Value, Any] = {self.graph.output: message}
        for index in range(len(self.graph.nodes) - 1, -1, -1):
            node, crossing = self.graph.nodes[index], self.crossings[index]
            arrived = waiting.pop(node.output, None)
            if crossing is not None and arrived is not None:
                sent = crossing.backward(node, context, arrived)
                if watch is not None:
                    watch(node, arrived, sent)
                del arrived
                for value, part in zip(node.inputs, sent, strict=True):
                    if part is not None:
                        have = waiting.get(value)
                        waiting[value] = part if have is None else have + part
                del sent
            for value in self._dies_backward[index]:
                for run in runs:
                    if not self.keep_all and value not in self.graph.inputs:
                        run.values.drop(value, only_computed=run.lasting or run not in done)
        return waiting
