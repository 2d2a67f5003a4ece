"""DeepLIFT (Shrikumar et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from relprop.attribution.arguments import Inputs, Target, seeds
from relprop.attribution.attributor import (
    Attributor,
    Plan,
    name_inputs,
    per_example,
    require_finite,
    results,
)
from relprop.attribution.references import Baselines, References, as_references
from relprop.graph.node import Graph, Run
from relprop.graph.sweep import Sweep
from relprop.rules.deeplift.choice import (
    MAX_POOL_RULES,
    RuleChoice,
    check_rule,
    difference_rules,
)
from relprop.rules.deeplift.multiplier import DifferenceContext, Multiplier
from relprop.rules.support import choose

Tensors = tuple[Tensor, ...]
CustomAttribution = Callable[[Tensors, Tensors, Tensors], Tensors]
CHUNK_BYTES = 2**30  # of activations of common baselines that are held at once


class DeepLift(Attributor):
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
        unsupported: `"error"`, or `"gradient"` to cross operators without a rule by their gradient.

    Raises:
        InvalidInputError, InvalidTypeError: an argument is none of the above.

    Example:
        >>> contributions = DeepLift(model).attribute(images, baselines="blur", target=281)
    """

    def __init__(
        self,
        model: nn.Module | ExportedProgram,
        rule: RuleChoice = "rescale",
        max_pool: str = "winner",
        *,
        mean_normalized: bool = False,
        unsupported: str = "error",
    ) -> None:
        super().__init__(model, unsupported=unsupported)
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
                explained from one forward sweep.
            additional_forward_args: further positional arguments of the model, not explained.
            return_convergence_delta: whether to return the error of the sum, too.
            custom_attribution_func: makes contributions of multipliers, inputs and baselines (three
                tuples) in place of `multiplier * (input - baseline)`; see `relprop.hypothetical`.

        Returns:
            Contributions in the shape of `inputs` (a tuple for a tuple), in units of the output.
            With `return_convergence_delta` also a tensor of shape (N,): sum of contributions minus
            `f(inputs) - f(baselines)`. For T targets an example, shapes (N, T, ...) and (N, T).

        Raises:
            InvalidInputError, InvalidTypeError: inputs, baselines or target cannot be used.
            CaptureError: the model cannot be captured. UnsupportedOperatorError: it has an operator
                without a rule.
        """
        tensors, arguments = self._arguments(inputs, additional_forward_args)
        others = arguments[len(tensors) :]
        make = custom_attribution_func or contributions_of
        with torch.no_grad():
            references = as_references(baselines, tensors, others)
            plan = self._plan(arguments)
            x = plan.sweep.forward(plan.constants(), name_inputs(plan.graph, arguments))
            each, many = seeds(target, x.values[plan.graph.output])
            if self.mean_normalized:
                each = [
                    seed - seed.flatten(1).mean(1).view(-1, *[1] * (seed.dim() - 1))
                    for seed in each
                ]
            sums: list[tuple[Tensors, Tensor]] = []
            for k, (baseline, x0) in enumerate(_baseline_runs(plan, x, references, others)):
                last = k == references.count - 1
                found = _contributions(plan, x, x0, each, (tensors, baseline), make, last)
                sums = found if not sums else [_add(a, b) for a, b in zip(sums, found, strict=True)]
            means = [
                (tuple(c / references.count for c in parts), delta / references.count)
                for parts, delta in sums
            ]
        return results(inputs, means, many, return_convergence_delta)

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


def _add(a: tuple[Tensors, Tensor], b: tuple[Tensors, Tensor]) -> tuple[Tensors, Tensor]:
    return tuple(x + y for x, y in zip(a[0], b[0], strict=True)), a[1] + b[1]


def _contributions(
    plan: Plan,
    x: Run,
    x0: Run,
    each: list[Tensor],
    values: tuple[Tensors, Tensors],
    make: CustomAttribution,
    last: bool,
) -> list[tuple[Tensors, Tensor]]:
    """For every target the contributions against one baseline, and the error of their sum."""
    context = DifferenceContext(x, x0, plan.makers)
    inputs, baseline = values
    found = []
    for seed in each:
        ends = seed is each[-1]
        difference = require_finite(
            per_example((x.values[plan.graph.output] - x0.values[plan.graph.output]) * seed)
        )
        runs = ([x, x0] if last else [x0]) if ends else []
        arrived = plan.sweep.backward(
            context,
            runs,
            Multiplier(seed),
            (lambda node, *_: context.forget(node)) if ends else None,
        )
        m = tuple(
            arrived[name].along(a - a0) if name in arrived else torch.zeros_like(a)
            for name, a, a0 in zip(plan.graph.inputs, inputs, baseline, strict=False)
        )
        total = sum(map(per_example, contributions_of(m, inputs, baseline)))
        found.append((make(m, inputs, baseline), total - difference))
    return found


def _baseline_runs(
    plan: Plan, x: Run, references: References, others: tuple[Any, ...]
) -> Iterator[tuple[Tensors, Run]]:
    """One after another the baselines, and what the forward sweep kept for each.

    Common baselines are swept many at a time, and one common baseline as a batch of one.
    """
    size = sum(t.nbytes for t in x.values.values()) // max(1, len(x.values[plan.graph.output]))
    chunk = max(1, CHUNK_BYTES // max(1, size)) if references.common else 1
    for start in range(0, references.count, chunk):
        if not references.common:
            baseline = tuple(t[:, start] for t in references.tensors)
            yield baseline, _sweep_once(plan, (*baseline, *others))
            continue
        batch = tuple(t[start : start + chunk] for t in references.tensors)
        run = _sweep_once(plan, (*batch, *others))
        for k in range(len(batch[0])):
            yield tuple(t[k : k + 1] for t in batch), run if len(batch[0]) == 1 else run.example(k)


def _sweep_once(plan: Plan, arguments: tuple[Any, ...]) -> Run:
    return plan.sweep.forward(plan.constants(), name_inputs(plan.graph, arguments))
