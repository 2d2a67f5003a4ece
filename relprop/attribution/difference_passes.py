"""The sweeps of one explanation by differences from baselines: as a whole, or by tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relprop.attribution.attributor import Plan, name_inputs, per_example, require_finite
from relprop.attribution.explanation import Explanation, Sent, Tensors, Watched
from relprop.attribution.kept import KeptRun
from relprop.attribution.references import References, have_examples_first, repeated
from relprop.attribution.tiling.passes import Sums, TiledPass
from relprop.graph.constants import Snapshot
from relprop.graph.node import Node, Run, Value
from relprop.graph.sweep import Sweep
from relprop.rules.deeplift.multiplier import DifferenceContext, Multiplier

#: From multipliers, inputs and baselines to contributions.
CustomAttribution = Callable[[Tensors, Tensors, Tensors], Tensors]
Watch = Callable[[Node, Multiplier, Any], None]


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
        kept for the next explanation if the budget allows. A graph for so many examples as there
        are, and no others, has each repeated.
        """
        held = sum(t.nbytes for t in x.values.values()) // len(x.values[self.plan.graph.output])
        n = x.shapes[self.plan.graph.inputs[0]][0]
        if not references.common:
            for k in range(references.count):
                yield references.baseline(k), self.forward((*references.baseline(k), *others))
            return
        chunk = max(1, budget // max(1, held))
        swept = references.baseline(0), tuple(t[:chunk] for t in references.tensors)
        if not all(self.plan.capture.holds((*batch, *others)) for batch in swept):
            for k in range(references.count):
                yield self._repeated(references.baseline(k), n, others)
            return
        if references.count == 1:
            keep = held <= budget and not torch.is_grad_enabled()
            run = self.single((*references.tensors, *others), keep)
            yield from self._apart(x, n, run, references.tensors, others)
            return
        if chunk == n > 1 and self.plan.by_examples is None:
            chunk -= 1  # sweeps of two sizes show whether examples can be told apart
        for start in range(0, references.count, chunk):
            batch = tuple(t[start : start + chunk] for t in references.tensors)
            yield from self._apart(x, n, self.forward((*batch, *others)), batch, others)

    def _apart(
        self, x: Run, n: int, x0: Run, batch: Tensors, others: tuple[Any, ...]
    ) -> Iterator[tuple[Tensors, Run]]:
        """The baselines of a batch one by one, each with its part of the sweep x0.

        Where this has no such parts, each baseline is swept again, as often as there are examples.
        """
        size = len(batch[0])
        apart = self.plan.has_examples_first((x, x0), (n, size))
        for k in range(size):
            baseline = tuple(t[k : k + 1] for t in batch)
            if apart:
                yield baseline, x0 if size == 1 else x0.example(k)
            else:
                yield self._repeated(baseline, n, others)

    def _repeated(self, one: Tensors, count: int, others: tuple[Any, ...]) -> tuple[Tensors, Run]:
        """A baseline for so many examples, and its sweep."""
        baseline = repeated(one, count)
        return baseline, self.forward((*baseline, *others))

    def against(
        self, x: Run, inputs: Tensors, baseline: Tensors, others: tuple[Any, ...]
    ) -> tuple[Tensors, Run]:
        """One baseline, repeated where a sweep of one example is of no use; and its sweep."""
        sizes, arguments = (len(inputs[0]), len(baseline[0])), (*baseline, *others)
        alike = sizes[0] == sizes[1]
        if alike or (self.plan.by_examples is not False and self.plan.capture.holds(arguments)):
            x0 = self.forward(arguments)
            if alike or self.plan.has_examples_first((x, x0), sizes):
                return baseline, x0
        return self._repeated(baseline, sizes[0], others)

    def single(self, arguments: Sequence[Any], keep: bool) -> Run:
        """The forward sweep of a common baseline: if kept, that of the last one, if it serves."""
        plan, constants = self.plan, self.constants
        if not keep:
            plan.kept = None
            return self.forward(arguments)
        tensors = tuple(a for a in arguments if isinstance(a, Tensor))
        kept = plan.kept
        if kept is not None and kept.serves(self.sweep, tensors, constants):
            return kept.run
        plan.kept = None  # let go of the old one before the new one grows
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

        m = self.multipliers(context, seed, values, watch, done)
        contributions = contributions_of(m, inputs, baseline)
        delta = sum(map(per_example, contributions)) - difference
        watched.update(zip(graph.inputs, contributions, strict=False))
        found = Explanation(self.make(m, inputs, baseline), delta, watched.by_name())
        return Sent(found, difference)

    def multipliers(
        self,
        context: DifferenceContext,
        seed: Tensor,
        values: tuple[Tensors, Tensors],
        watch: Watch | None = None,
        done: Sequence[Run] = (),
    ) -> Tensors:
        """What reaches each input of the difference at the output, times the seed."""
        runs = (context.x, context.x0)
        arrived = self.sweep.backward(context, runs, Multiplier(seed), watch, done)
        return tuple(
            arrived[name].along(a - a0) if name in arrived else torch.zeros_like(a)
            for name, a, a0 in zip(self.plan.graph.inputs, *values, strict=False)
        )


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
            baseline, others, runs = self._swept(filled, references.baseline(k))
            found, many = self._against(baseline, [filled, others], runs, seeds_of)
            sums = found if not sums else [a + b for a, b in zip(sums, found, strict=True)]
        return [total.over(references.count) for total in sums], many

    def _swept(self, filled: Sums, baseline: Tensors) -> tuple[Tensors, Sums, list[Run]]:
        """The head's sweeps; and the baseline, repeated where the sweep of one is of no use."""
        others = self.tiles.fill(self._named(baseline))
        runs = [self.tiles.through_head(filled), self.tiles.through_head(others)]
        sizes = [len(self.inputs[0]), len(baseline[0])]
        if sizes[0] != sizes[1] and not have_examples_first(runs, sizes):
            return self._swept(filled, repeated(baseline, sizes[0]))
        return baseline, others, runs

    def _against(
        self,
        baseline: Tensors,
        filled: Sequence[Sums],
        runs: Sequence[Run],
        seeds_of: Callable[[Tensor], tuple[list[Tensor], bool]],
    ) -> tuple[list[Explanation], bool]:
        graph = self.tiles.graph
        y, y0 = (run.values[graph.output] for run in runs)
        each, many = seeds_of(y)
        differences = [require_finite(per_example((y - y0) * seed)) for seed in each]
        found = []
        for sums, difference in zip(self.tiles.back(runs, filled, each), differences, strict=True):
            m = self.tiles.of_inputs(sums, self.inputs)
            contributions = contributions_of(m, self.inputs, baseline)
            delta = sum(map(per_example, contributions)) - difference
            of_inputs = dict(zip(graph.inputs, contributions, strict=False))
            layers = self.tiles.of_layers({**sums, **of_inputs}, y)
            found.append(Explanation(self.make(m, self.inputs, baseline), delta, layers))
        return found, many

    def _named(self, inputs: Tensors) -> dict[Value, Tensor]:
        return name_inputs(self.tiles.graph, (*inputs, *self.others))
