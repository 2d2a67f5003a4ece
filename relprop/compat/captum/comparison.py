"""DeepLIFT as captum's classes need it: baseline by baseline, multipliers, and at any layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

import relprop
from relprop.attribution.attributor import Plan, name_inputs, per_example, require_finite
from relprop.attribution.deeplift import MEMORY_BUDGET
from relprop.attribution.differences import Pass, contributions_of
from relprop.attribution.explanation import Tensors
from relprop.attribution.references import Baseline, References, as_references
from relprop.compat.captum.layers import Place, unwrapped
from relprop.compat.captum.selection import NeuronSelector, neuron_seeds
from relprop.graph.node import Node, Run, Value
from relprop.rules.deeplift.multiplier import DifferenceContext, Multiplier

#: From the output to what is sent back from it.
Seed = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Compared:
    """Inputs, or a layer's activations, next to those of one baseline.

    `difference` is `f(x) - f(x0)` of each example, shape (N,); baselines may have size 1 along the
    batch.
    """

    multipliers: Tensors
    inputs: Tensors
    baselines: Tensors
    difference: Tensor


class Comparison(relprop.DeepLift):
    """relprop's DeepLIFT, handing out multipliers in place of contributions.

    Args:
        model: the model.
        layers: whether inner layers are asked for: then the graph has all of them.
    """

    model: nn.Module

    def __init__(self, model: nn.Module, layers: bool) -> None:
        super().__init__(unwrapped(model))
        self.simplified = not layers

    @torch.no_grad()
    def outputs(
        self,
        inputs: Tensors,
        baselines: tuple[Baseline, ...],
        others: tuple[Any, ...],
        seed: Seed,
        place: Place | None = None,
    ) -> Iterator[Compared]:
        """For each baseline, what explains the output: at the inputs, or at a layer."""
        tensors, arguments = self._arguments(inputs, others)
        references = as_references(baselines, tensors, others)
        plan = self._plan(arguments)
        values = () if place is None else place.values(plan.graph, self.model)
        yield from _Comparing(plan, tensors, references, others, values).each(seed)

    @torch.no_grad()
    def neurons(
        self,
        inputs: Tensors,
        baselines: tuple[Baseline, ...],
        others: tuple[Any, ...],
        selector: NeuronSelector,
        place: Place,
    ) -> Iterator[Compared]:
        """For each baseline, what explains neurons of a layer, at the inputs."""
        tensors, arguments = self._arguments(inputs, others)
        references = as_references(baselines, tensors, others)
        plan = self._plan(arguments)
        values = place.values(plan.graph, self.model)
        seeds = self._seeds_at(plan, values, arguments, selector)
        each = [
            _Comparing(self._ending(plan, value), tensors, references, others).each(seed)
            for value, seed in zip(values, seeds, strict=True)
        ]
        for parts in zip(*each, strict=True):
            m = tuple(map(sum, zip(*(part.multipliers for part in parts), strict=True)))
            difference = sum(part.difference for part in parts)
            yield replace(parts[0], multipliers=m, difference=difference)

    def _seeds_at(
        self,
        plan: Plan,
        values: Sequence[Value],
        arguments: Sequence[Any],
        selector: NeuronSelector,
    ) -> list[Seed]:
        """What is sent back from each of a layer's activations."""
        if len(values) == 1:
            return [lambda activation: neuron_seeds(selector, (activation,))[0]]
        run = plan.keeping(values).forward(plan.constants(), name_inputs(plan.graph, arguments))
        found = neuron_seeds(selector, tuple(run.values[value] for value in values))
        return [_always(seed) for seed in found]

    def _ending(self, plan: Plan, value: Value) -> Plan:
        """The plan for the part of the model below an activation."""
        graph = plan.graph.ending_at(value)
        return Plan(replace(plan.capture, graph=graph), self._sweep(graph))


@dataclass(frozen=True)
class _Comparing:
    """The sweeps of one comparison; `values` are a layer's activations, or none for the inputs."""

    plan: Plan
    inputs: Tensors
    references: References
    others: tuple[Any, ...]
    values: tuple[Value, ...] = ()

    def each(self, make_seed: Seed) -> Iterator[Compared]:
        """One baseline after another."""
        plan, references = self.plan, self.references
        sweep = plan.keeping(self.values)
        sweeps = Pass(plan, plan.constants(), sweep, {}, contributions_of)
        x = sweeps.forward((*self.inputs, *self.others))
        seed = make_seed(x.values[plan.graph.output])
        baselines = sweeps.baselines(x, references, self.others, MEMORY_BUDGET)
        for k, (baseline, x0) in enumerate(baselines):
            context = DifferenceContext(x, x0, plan.makers)
            done = [x, x0] if k == references.count - 1 else [x0]
            yield self._back(context, seed, baseline, done)

    def _back(
        self, context: DifferenceContext, seed: Tensor, baseline: Tensors, done: list[Run]
    ) -> Compared:
        graph, x, x0 = self.plan.graph, context.x, context.x0
        change = x.values[graph.output] - x0.values[graph.output]
        difference = require_finite(per_example(change * seed))
        ends = dict(zip(graph.inputs, zip(self.inputs, baseline, strict=True), strict=False))
        for value in self.values:
            ends.setdefault(value, (x.values[value], x0.values[value]))
        changes = {value: a - a0 for value, (a, a0) in ends.items()}
        multipliers: dict[Value, Tensor] = {}

        def watch(node: Node, m: Multiplier, _: Any) -> None:
            if node.output in self.values:
                multipliers[node.output] = m.along(changes[node.output])
            context.forget(node)

        sweep = self.plan.keeping(self.values)
        arrived = sweep.backward(context, (x, x0), Multiplier(seed), watch, done)
        for name in graph.inputs:
            if name in arrived and name in ends:
                multipliers[name] = arrived[name].along(changes[name])
        wanted = self.values or graph.inputs[: len(self.inputs)]
        return Compared(
            tuple(multipliers.get(value, torch.zeros_like(ends[value][0])) for value in wanted),
            tuple(ends[value][0] for value in wanted),
            tuple(ends[value][1] for value in wanted),
            difference,
        )


def _always(seed: Tensor) -> Seed:
    return lambda activation: seed
