"""DeepLIFT (Shrikumar et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.export import ExportedProgram

from relprop.attribution.arguments import Inputs, Target, as_bytes, seeds
from relprop.attribution.attributor import Plan, name_inputs, require_finite
from relprop.attribution.cuda_graphs import Sweeps, require_cuda
from relprop.attribution.difference_passes import (
    CustomAttribution,
    Pass,
    PassByTiles,
    contributions_of,
)
from relprop.attribution.explanation import Explanation, Sent, Tensors, results
from relprop.attribution.exporting import exported, for_export, seed_of, with_tensors
from relprop.attribution.layered import Layered
from relprop.attribution.modes import explaining
from relprop.attribution.references import Baselines, References, as_references
from relprop.attribution.tiling.methods import ByMultiplier
from relprop.graph.constants import Snapshot
from relprop.graph.layers import find_layers
from relprop.graph.node import Graph
from relprop.graph.outputs import Output
from relprop.graph.sweep import Sweep
from relprop.rules.deeplift.choice import (
    MAX_POOL_RULES,
    RuleChoice,
    check_rule,
    difference_rules,
)
from relprop.rules.deeplift.multiplier import DifferenceContext
from relprop.rules.support import choose

MEMORY_BUDGET = 2**30  # bytes, for activations of common baselines that are held at once


class DeepLift(Layered):
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
        create_graph: bool = False,
        cuda_graph: bool = False,
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
            create_graph: whether the contributions can themselves be differentiated, by `inputs`,
                `baselines` and the model's weights, as for a loss that they are part of; needs the
                memory of all activations.
            cuda_graph: on a GPU, record all kernels of the explanation once for inputs and a
                baseline of these shapes and so many targets, and start them together from then on;
                of several baselines, for one after another, each with a forward sweep of the inputs
                of its own. It pays for small batches; a recording holds the memory of an
                explanation.

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
        tensors, arguments = self._arguments(inputs, additional_forward_args, create_graph)
        if cuda_graph:
            require_cuda(tensors, create_graph)
        others = arguments[len(tensors) :]
        make = custom_attribution_func or contributions_of
        budget = MEMORY_BUDGET if memory_budget is None else as_bytes(memory_budget)
        with (
            explaining(create_graph),
            self._saying_what_fits(inputs, target, additional_forward_args),
        ):
            references = as_references(baselines, tensors, others)
            held = 1 + len(references.baseline(0)[0]) / len(tensors[0])
            tiles = self._tiles(arguments, memory_budget, target, layers, held, cuda_graph)
            if tiles is not None:
                by_tiles = PassByTiles(tiles, tensors, others, make)
                made, many = by_tiles.explain(references, lambda y: self.seeds_of(target, y))
                return results(inputs, made, many, return_convergence_delta, layers is not None)
            plan = self._plan(arguments)
            named = find_layers(plan.graph, self.model, layers)
            pass_ = Pass(plan, plan.constants(), plan.keeping(named.values()), named, make)
            if cuda_graph:
                made, many = self._replayed(pass_, tensors, arguments, references, target)
                return results(inputs, made, many, return_convergence_delta, layers is not None)
            x = pass_.forward(arguments)
            each, many = self.seeds_of(target, x.values[plan.graph.output])
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

    def _replayed(
        self,
        pass_: Pass,
        inputs: Tensors,
        arguments: Sequence[Any],
        references: References,
        target: Target,
    ) -> tuple[list[Explanation], bool]:
        """The mean of what a recording gives for one baseline after another; if many targets."""
        names, count = pass_.plan.graph.inputs, len(inputs)

        def explain(tensors: Tensors, each: Sequence[Tensor]) -> list[Sent]:
            given, others = tensors[:count], tensors[count : len(names)]
            x = pass_.forward((*given, *others))
            baseline, x0 = pass_.against(x, given, tensors[len(names) :], others)
            context, values = DifferenceContext(x, x0, pass_.plan.makers), (given, baseline)
            return [
                pass_.sent_back(context, seed, values, [x, x0] if seed is each[-1] else [])
                for seed in each
            ]

        sweeps = Sweeps(
            (pass_.sweep, pass_.make, *pass_.layers),
            pass_.constants,
            lambda tensors: pass_.forward(tensors[: len(names)]).values[pass_.plan.graph.output],
            explain,
        )
        named = name_inputs(pass_.plan.graph, arguments).values()
        sums: list[Explanation] = []
        for k in range(references.count):
            sent, many = self._recordings.explain(
                sweeps, (*named, *references.baseline(k)), lambda y: self.seeds_of(target, y)
            )
            found = [_checked(one) for one in sent]
            sums = found if not sums else [a + b for a, b in zip(sums, found, strict=True)]
        return [total.over(references.count) for total in sums], many

    def seeds_of(self, target: Target, output: Tensor) -> tuple[list[Tensor], bool]:
        """For every target what to send back, and whether there are many."""
        each, many = seeds(target, output)
        return [self._normalized(seed) for seed in each], many

    def _normalized(self, seed: Tensor) -> Tensor:
        """What to send back, less the mean over all outputs if that is asked for."""
        if not self.mean_normalized:
            return seed
        return seed - seed.flatten(1).mean(1).view(-1, *[1] * (seed.dim() - 1))

    def export(
        self, inputs: Inputs, baselines: Baselines = None, additional_forward_args: Any = None
    ) -> ExportedProgram:
        """What `attribute` does with inputs and a baseline like these, as a program of tensors.

        Args:
            inputs, baselines, additional_forward_args: examples, as `attribute` takes them, with
                one baseline. The program holds for other numbers of examples, as far as the model
                does, and for a common baseline if this is one.

        Returns:
            The program of `(*inputs, *baselines, *further tensors, target)`, else as `LRP.export`.

        Raises:
            InvalidInputError, InvalidTypeError: the inputs or baselines cannot be used.
            CaptureError, UnsupportedOperatorError: the model cannot be explained.
        """
        tensors, arguments = self._arguments(inputs, additional_forward_args)
        count, arguments = len(tensors), for_export(arguments)
        with explaining():
            baseline = as_references(baselines, arguments[:count], arguments[count:]).only()
            plan = self._plan(arguments)
            output = self._pass(plan, plan.constants()).forward(arguments)

            def explain(constants: Snapshot, given: Tensors, target: Tensor) -> Tensors:
                x, x0, more = given[:count], given[count : 2 * count], given[2 * count :]
                sweeps = self._pass(plan, constants)
                run, run0 = (sweeps.forward(with_tensors(arguments, (*t, *more))) for t in (x, x0))
                context = DifferenceContext(run, run0, plan.makers)
                seed = self._normalized(seed_of(target, run.values[plan.graph.output]))
                return contributions_of(sweeps.multipliers(context, seed, (x, x0)), x, x0)

            others = tuple(a for a in arguments[count:] if isinstance(a, Tensor))
            given = (*arguments[:count], *baseline, *others)
            return exported(plan, explain, given, output.values[plan.graph.output])

    def _pass(self, plan: Plan, constants: Snapshot) -> Pass:
        return Pass(plan, constants, plan.sweep, {}, contributions_of)

    def _sweep(self, graph: Graph) -> Sweep:
        return Sweep(graph, difference_rules(graph, self.rule, self.max_pool))


def _checked(sent: Sent) -> Explanation:
    """The explanation, unless there is no number to explain."""
    require_finite(sent.score)
    return sent.explanation


def hypothetical(multipliers: Tensors, inputs: Tensors, baselines: Tensors) -> Tensors:
    """What each letter of a sequence would contribute if it stood there: for one-hot inputs.

    Letter c at a position in place of what is there would have `sum_a m_a (1[a = c] - x0_a)`, with
    the multipliers at hand. To be passed to `DeepLift.attribute` as `custom_attribution_func`;
    inputs have shape (N, letters, length).
    """
    return tuple(
        m - (m * x0).sum(1, keepdim=True) for m, x0 in zip(multipliers, baselines, strict=True)
    )
