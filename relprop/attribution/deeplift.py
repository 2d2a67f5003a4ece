"""DeepLIFT (Shrikumar et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from relprop.attribution.arguments import Inputs, Target, as_bytes, seeds
from relprop.attribution.attributor import (
    Plan,
    name_inputs,
    per_example,
    require_finite,
)
from relprop.attribution.explanation import Explanation, Tensors, Watched, results
from relprop.attribution.kept import KeptRun
from relprop.attribution.references import Baselines, References, as_references
from relprop.attribution.tiled import Tiled
from relprop.attribution.tiling.methods import ByMultiplier
from relprop.attribution.tiling.passes import TiledPass
from relprop.graph.constants import Snapshot
from relprop.graph.layers import find_layers
from relprop.graph.node import Graph, Node, Run, Value
from relprop.graph.outputs import Output
from relprop.graph.sweep import Sweep
from relprop.rules.deeplift.choice import (
    MAX_POOL_RULES,
    RuleChoice,
    check_rule,
    difference_rules,
)
from relprop.rules.deeplift.multiplier import DifferenceContext, Multiplier
from relprop.rules.support import choose

CustomAttribution = Callable[[Tensors, Tensors, Tensors], Tensors]
MEMORY_BUDGET = 2**30  # bytes, for activations of common baselines that are held at once


class DeepLift(Tiled):
    """Contribution of every input value to the difference that an output makes to a baseline.

    Args:
        model: a module, explained in evaluation mode, or an exported program.
        rule: how activation functions are crossed: `"rescale"`; `"reveal_cancel"`; `"genomics"`,
            which is Rescale after convolutions and RevealCancel after dense layers; a mapping of
            patterns to these names, matched against a node's module path or operator name, such as
            `{"classifier.*": "reveal_cancel"}` (Rescale where none fits); or a function that gives
            the name for a node.
        max_pool: how max pools are crossed: `"winner"`, all to the winner of a window; or
            `"shapley"`, to each input its Shapley value.
        mean_normalized: explain the target's output minus the mean of all outputs, as the paper
            advises for the inputs of a softmax (sec. 3.6).
        output: which of several tensors to explain that the model returns: its index or key, a
            tuple of these where they are nested.
        unsupported: `"error"`, or `"gradient"` to cross operators without a rule by their gradient.

    Raises:
        InvalidInputError, InvalidTypeError: an argument is none of the above.

    Example:
        >>> contributions = DeepLift(model).attribute(images, baselines="blur", target=281)
    """

    METHOD: ClassVar[ByMultiplier] = ByMultiplier()
    SWEEPS: ClassVar[float] = 2.0
    LEAST_SPACE: ClassVar[int] = 2

    def __init__(
        self,
        model: nn.Module | ExportedProgram,
        rule: RuleChoice = "rescale",
        max_pool: str = "winner",
        *,
        mean_normalized: bool = False,
        output: Output = None,
        unsupported: str = "error",
    ) -> None:
        super().__init__(model, output=output, unsupported=unsupported)
        choose(MAX_POOL_RULES, max_pool, "max_pool")
        self.rule, self.max_pool = check_rule(rule), max_pool
        self.mean_normalized = mean_normalized

    def attribute(
        self,
        inputs: Inputs,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
        layers: Sequence[str | nn.Module] | None = None,
        memory_budget: int | str | None = None,
    ) -> Any:
        """The contributions of `inputs` to `f(inputs) - f(baselines)` at `target`.

        Args:
            inputs: a tensor of shape (N, ...) or a tuple of them, in the model's dtype.
            baselines: what to compare with: None or `"blank"` for zeros, `"blur"` for the input out
                of focus, a number, a tensor of shape (1, ...) or (N, ...), a function of the input,
                or a `Distribution` to average over; a tuple with one for each of several inputs. A
                baseline common to all examples is run once.
            target: which output to explain: an int, a tuple for outputs of more dimensions, a
                tensor or list with one for each example; None where there is only one output. A
                tensor of shape (N, T), or a list of N lists, has T targets for each example, all
                explained from one forward sweep. Or a function of the model's output that gives one
                of these: `lambda y: y.argmax(1)`.
            additional_forward_args: further positional arguments of the model, not explained.
            return_convergence_delta: whether to return the error of the sum, too.
            custom_attribution_func: makes contributions of multipliers, inputs and baselines (three
                tuples) in place of `multiplier * (input - baseline)`; see `relprop.hypothetical`.
            layers: modules, or their paths, to attribute to as well, from the same pass:
                `"features.28"` for what the module gives, `"features.28:input"` for what it reads,
                `"relu@1"` for the second call of a module that is called more than once. A batch
                norm and the convolution that it is folded into are one layer.
            memory_budget: bytes for the activations of common baselines, a number or such as
                `"512MiB"`: as many as fit, and at least one, are swept at a time. None: 1 GiB.
                Images (not sequences) whose explanation against a single baseline would take more
                than the budget that is given, beside the model, what is derived of its weights, and
                the inputs, are explained by tiles, with the same result (`tiling` says by which).

        Returns:
            Contributions in the shape of `inputs` (a tuple for a tuple), in units of the output.
            With `return_convergence_delta` also a tensor of shape (N,): sum of contributions minus
            `f(inputs) - f(baselines)`. For T targets an example, shapes (N, T, ...) and (N, T).
            With `layers` also a dict of contributions by layer, in the shapes of their activations.

        Raises:
            InvalidInputError, InvalidTypeError: inputs, baselines, target, a layer or the budget
                cannot be used, or the budget is too small for images even by tiles.
            CaptureError: the model cannot be captured. UnsupportedOperatorError: it has an operator
                without a rule.
        """
        tensors, arguments = self._arguments(inputs, additional_forward_args)
        others = arguments[len(tensors) :]
        make = custom_attribution_func or contributions_of
        budget = MEMORY_BUDGET if memory_budget is None else as_bytes(memory_budget)
        with torch.no_grad():
            references = as_references(baselines, tensors, others)
            held = 1 + len(references.baseline(0)[0]) / len(tensors[0])
            tiles = self._tiles(arguments, memory_budget, target, layers, held)
            if tiles is not None:
                by_tiles = PassByTiles(tiles, tensors, others, make)
                made, many = by_tiles.explain(references, lambda y: self._seeds(target, y))
                return results(inputs, made, many, return_convergence_delta)
            plan = self._plan(arguments)
            named = find_layers(plan.graph, self.model, layers)
            pass_ = Pass(plan, plan.constants(), plan.keeping(named.values()), named, make)
            x = pass_.forward(arguments)
            each, many = self._seeds(target, x.values[plan.graph.output])
            sums: list[Explanation] = []
            for k, (baseline, x0) in enumerate(pass_.baselines(x, references, others, budget)):
                context = DifferenceContext(x, x0, plan.makers)
                done = [x, x0] if k == references.count - 1 else [x0]
                found = [
                    pass_.back(context, seed, (tensors, baseline), done if seed is each[-1] else [])
                    for seed in each
                ]
                sums = found if not sums else [a + b for a, b in zip(sums, found, strict=True)]
            means = [total.over(references.count) for total in sums]
        return results(inputs, means, many, return_convergence_delta, layers is not None)

    def _seeds(self, target: Target, output: Tensor) -> tuple[list[Tensor], bool]:
        """For every target what to send back, and whether there are many."""
        each, many = seeds(target, output)
        if self.mean_normalized:
            each = [
                seed - seed.flatten(1).mean(1).view(-1, *[1] * (seed.dim() - 1)) for seed in each
            ]
        return each, many

    def _sweep(self, graph: Graph) -> Sweep:
        return Sweep(graph, difference_rules(graph, self.rule, self.max_pool))


def contributions_of(multipliers: Tensors, inputs: Tensors, baselines: Tensors) -> Tensors:
    """`m * (x - x0)` for each input."""
    return tuple(m * (x - x0) for m, x, x0 in zip(multipliers, inputs, baselines, strict=True))


def hypothetical(multipliers: Tensors, inputs: Tensors, baselines: Tensors) -> Tensors:
    """What each letter of a sequence would contribute if it stood there: for one-hot inputs.

    Letter c at a position in place of what is there would have `sum_a m_a (1[a = c] - x0_a)`, with
    the multipliers at hand. To be passed to `DeepLift.attribute` as `custom_attribution_func`;
    inputs have shape (N, letters, length).
    """
    return tuple(
        m - (m * x0).sum(1, keepdim=True) for m, x0 in zip(multipliers, baselines, strict=True)
    )


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
        graph, x, x0 = self.plan.graph, context.x, context.x0
        inputs, baseline = values
        change = x.values[graph.output] - x0.values[graph.output]
        difference = require_finite(per_example(change * seed))
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
        return Explanation(self.make(m, inputs, baseline), delta, watched.by_name())


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
