"""The sweeps of one explanation by relevance: back for one target, or recorded for several."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from relprop.attribution.attributor import Plan, per_example
from relprop.attribution.cuda_graphs import Sweeps
from relprop.attribution.explanation import Explanation, Sent, Tensors, Watched
from relprop.graph.node import Node, Run, Value
from relprop.graph.sweep import Sweep
from relprop.rules.lrp.relevance import LrpContext, Relevance

Watch = Callable[[Node, Relevance, Any], None]


def relevance_of(
    sweep: Sweep,
    context: LrpContext,
    inputs: Tensors,
    seed: Tensor,
    watch: Watch | None = None,
    done: Collection[Run] = (),
) -> Tensors:
    """What reaches each input of `sum(output * seed)`."""
    run = context.run
    arrived = sweep.backward(context, [run], Relevance(seed), watch, done)
    return tuple(
        arrived[name].total(run, x) if name in arrived else torch.zeros_like(x)
        for name, x in zip(sweep.graph.inputs, inputs, strict=False)
    )


def sent_back(
    sweep: Sweep,
    context: LrpContext,
    inputs: Tensors,
    seed: Tensor,
    layers: Mapping[str, Value],
    last: bool,
) -> Sent:
    """Relevance for one target, and score minus sum, unchecked: the CPU waits for nothing.

    After the `last` target nothing reads the forward sweep.
    """
    graph, run = sweep.graph, context.run
    score = per_example(run.values[graph.output] * seed)
    watched = Watched(layers, run.shapes, seed)

    def watch(node: Node, R: Relevance, _: Any) -> None:
        if node.output in watched:
            watched[node.output] = R.total(run, context[node.output])

    relevance = relevance_of(sweep, context, inputs, seed, watch, [run] if last else ())
    delta = score - sum(map(per_example, relevance))
    watched.update(zip(graph.inputs, relevance, strict=False))
    return Sent(Explanation(relevance, delta, watched.by_name()), score)


def recorded(plan: Plan, count: int, layers: Mapping[str, Value]) -> Sweeps:
    """The sweeps for a recording; the first `count` of the model's tensors are explained."""
    graph, constants, sweep = plan.graph, plan.constants(), plan.keeping(layers.values())

    def forward(tensors: Tensors) -> Run:
        return sweep.forward(constants, dict(zip(graph.inputs, tensors, strict=True)))

    def explain(tensors: Tensors, each: Sequence[Tensor]) -> list[Sent]:
        context = LrpContext(forward(tensors), graph.nonnegative, sweep.stand_in)
        return [
            sent_back(sweep, context, tensors[:count], seed, layers, last=seed is each[-1])
            for seed in each
        ]

    return Sweeps((sweep, *layers), constants, lambda t: forward(t).values[graph.output], explain)
