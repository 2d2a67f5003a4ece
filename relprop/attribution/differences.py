"""The sweeps of DeepLIFT: inputs and their baselines through the graph, multipliers back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relprop.attribution.attributor import (
    Plan,
    name_inputs,
    per_example,
    require_finite,
)
from relprop.attribution.explanation import Explanation, Sent, Tensors, Watched
from relprop.attribution.kept import KeptRun
from relprop.attribution.references import References
from relprop.attribution.tiling.passes import TiledPass
from relprop.graph.constants import Snapshot
from relprop.graph.node import Node, Run, Value
from relprop.graph.sweep import Sweep
from relprop.rules.deeplift.multiplier import DifferenceContext, Multiplier

CustomAttribution = Callable[[Tensors, Tensors, Tensors], Tensors]


def contributions_of(multipliers: Tensors, inputs: Tensors, baselines: Tensors) -> Tensors:
    """`m * (x - x0)` for each input."""
    return tuple(m * (x - x0) for m, x, x0 in zip(multipliers, inputs, baselines, strict=True))


@dataclass(frozen=True)
class Pass:
    """The sweeps of one explanation.

    `layers` are the activations that attributions are wanted of besides, by name; `make` makes the
    inputs' contributions of multipliers, inputs and baselines.
    """

    plan: Plan
    constants: Snapshot
    sweep: Sweep
    layers: Mapping[str, Value]
    make: CustomAttribution

    def forward(self, arguments: Sequence[Any]) -> Run:
        """The forward sweep."""
        return self.sweep.forward(self.constants, name_inputs(self.plan.graph, arguments))

    def baselines(
        self, x: Run, references: References, others: tuple[Any, ...], budget: int
    ) -> Iterator[tuple[Tensors, Run]]:
        """One after another the baselines, and what the forward sweep kept for each.

        Common baselines are swept many at a time. A single one is swept as a batch of one, and
        kept for the next explanation if the budget allows.
        """
        held = sum(t.nbytes for t in x.values.values()) // len(x.values[self.plan.graph.output])
        chunk = max(1, budget // max(1, held)) if references.common else 1
        if references.common and references.count == 1:
            yield references.tensors, self.single((*references.tensors, *others), held <= budget)
            return
        for start in range(0, references.count, chunk):
            if not references.common:
                baseline = tuple(t[:, start] for t in references.tensors)
                yield baseline, self.forward((*baseline, *others))
                continue
            batch = tuple(t[start : start + chunk] for t in references.tensors)
            run, size = self.forward((*batch, *others)), len(batch[0])
            for k in range(size):
                yield tuple(t[k : k + 1] for t in batch), run if size == 1 else run.example(k)

    def single(self, arguments: Sequence[Any], keep: bool) -> Run:
        """The forward sweep of a common baseline: that of the last explanation, if it serves."""
        plan, constants = self.plan, self.constants
        tensors = tuple(a for a in arguments if isinstance(a, Tensor))
        kept = plan.kept
        if kept is not None and kept.serves(self.sweep, tensors, constants):
            return kept.run
        plan.kept = None  # let go of the old one before the new one grows
        if not keep:
            return self.forward(arguments)
        own = tuple(tensor.clone() for tensor in tensors)
        run = self.sweep.forward(constants, name_inputs(plan.graph, own))
        run.lasting = True
        plan.kept = KeptRun(self.sweep, own, constants.versions(), run)
        return run

    def back(
        self,
        context: DifferenceContext,
        seed: Tensor,
        values: tuple[Tensors, Tensors],
        done: Sequence[Run],
    ) -> Explanation:
        """Contributions for one target against one baseline, and the error of their sum.

        `values` are the inputs and their baselines; `done` the sweeps that nothing reads hereafter.
        """
        found, difference = self.sent_back(context, seed, values, done)
        require_finite(difference)
        return found

    def sent_back(
        self,
        context: DifferenceContext,
        seed: Tensor,
        values: tuple[Tensors, Tensors],
        done: Sequence[Run],
    ) -> Sent:
        """The same, unchecked: the CPU waits for nothing."""
        graph, x, x0 = self.plan.graph, context.x, context.x0
        inputs, baseline = values
        change = x.values[graph.output] - x0.values[graph.output]
        difference = per_example(change * seed)
        watched = Watched(self.layers, x.shapes, seed)

        def watch(node: Node, m: Multiplier, _: Any) -> None:
            if node.output in watched:
                watched[node.output] = m.contribution(context, node.output)
            if done:
                context.forget(node)

        runs = (context.x, context.x0)
        arrived = self.sweep.backward(context, runs, Multiplier(seed), watch, done)
        m = tuple(
            arrived[name].along(a - a0) if name in arrived else torch.zeros_like(a)
            for name, a, a0 in zip(graph.inputs, inputs, baseline, strict=False)
        )
        contributions = contributions_of(m, inputs, baseline)
        delta = sum(map(per_example, contributions)) - difference
        watched.update(zip(graph.inputs, contributions, strict=False))
        found = Explanation(self.make(m, inputs, baseline), delta, watched.by_name())
        return Sent(found, difference)


@dataclass(frozen=True)
class PassByTiles:
    """The sweeps of one explanation of large images; `make` as in `Pass`."""

    tiles: TiledPass
    inputs: Tensors
    others: tuple[Any, ...]
    make: CustomAttribution

    def explain(
        self, references: References, seeds_of: Callable[[Tensor], tuple[list[Tensor], bool]]
    ) -> tuple[list[Explanation], bool]:
        """For every target the mean over baselines; whether there are many targets."""
        filled = self.tiles.fill(self._named(self.inputs))
        sums: list[Explanation] = []
        for k in range(references.count):
            baseline = references.baseline(k)
            runs = [
                self.tiles.through_head(filled, self._named(self.inputs)),
                self.tiles.through_head(
                    self.tiles.fill(self._named(baseline)), self._named(baseline)
                ),
            ]
            found, many = self._against(baseline, runs, seeds_of)
            sums = found if not sums else [a + b for a, b in zip(sums, found, strict=True)]
        return [total.over(references.count) for total in sums], many

    def _against(
        self,
        baseline: Tensors,
        runs: Sequence[Run],
        seeds_of: Callable[[Tensor], tuple[list[Tensor], bool]],
    ) -> tuple[list[Explanation], bool]:
        graph = self.tiles.graph
        y, y0 = (run.values[graph.output] for run in runs)
        each, many = seeds_of(y)
        differences = [require_finite(per_example((y - y0) * seed)) for seed in each]
        arguments = [self._named(self.inputs), self._named(baseline)]
        found = []
        for sums, difference in zip(
            self.tiles.back(runs, arguments, each), differences, strict=True
        ):
            m = tuple(
                sums[name] if name in sums else torch.zeros_like(x)
                for name, x in zip(graph.inputs, self.inputs, strict=False)
            )
            delta = sum(map(per_example, contributions_of(m, self.inputs, baseline))) - difference
            found.append(Explanation(self.make(m, self.inputs, baseline), delta))
        return found, many

    def _named(self, inputs: Tensors) -> dict[Value, Tensor]:
        return name_inputs(self.tiles.graph, (*inputs, *self.others))
