"""Taylor decomposition of a whole network around a baseline (Montavon et al. 2017, sec. 2)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from relprop.attribution.arguments import Inputs, Target, seeds
from relprop.attribution.attributor import name_inputs, per_example, require_finite
from relprop.attribution.explanation import Explanation, Tensors, results
from relprop.attribution.exporting import exported, for_export, seed_of, with_tensors
from relprop.attribution.gradient import GradientMethod
from relprop.attribution.modes import explaining
from relprop.attribution.references import Baselines, Explained, as_references
from relprop.errors import InvalidInputError
from relprop.graph.constants import Snapshot

#: For one target: the points expanded around, the gradients there, and the scores.
Expansion = tuple[Tensors, Tensors, Tensor]


class Taylor(GradientMethod):
    """`R_i = df/dx_i at x0 * (x_i - x0_i)`: the first-order terms of f's expansion around x0.

    (Montavon et al. 2017, eq. 2; Bach et al. 2015, sec. 2.3.) The sum of R is `f(x) - f(x0)` up to
    the terms of higher order. x0 is the baseline itself; or a root of f, where `f(x0) = 0`, so that
    all of f(x) is explained.

    Example:
        >>> R = Taylor(model).attribute(images, baselines="blur", target=281)
    """

    def attribute(
        self,
        inputs: Inputs,
        baselines: Baselines = "blank",
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        *,
        root: bool = False,
        create_graph: bool = False,
    ) -> Any:
        """The first-order contributions of `inputs` to `f(inputs) - f(x0)` at `target`.

        Args:
            inputs: a tensor of shape (N, ...) or a tuple of them, in the model's dtype.
            baselines: `"blank"` for zeros, `"blur"` for the input out of focus, or any other that
                `DeepLift.attribute` takes; over a `Distribution` the contributions are averaged.
            target: as in `Gradient.attribute`.
            additional_forward_args: further positional arguments of the model, not explained.
            return_convergence_delta: whether to return the error of the sum, too.
            root: expand not around the baseline but around a root on the straight line from the
                input to it, which bisection finds for each example, to the last digit of the line's
                parameter: the score at x0 has the sign of the input's, and next to it another.
            create_graph: whether the result can itself be differentiated, as in
                `Gradient.attribute`; a root counts as a constant.

        Returns:
            Contributions in the shape of `inputs` (a tuple for a tuple), in units of the output.
            With `return_convergence_delta` also a tensor of shape (N,): sum of contributions minus
            `f(inputs) - f(x0)`. For T targets an example, shapes (N, T, ...) and (N, T).

        Raises:
            InvalidInputError, InvalidTypeError: an argument cannot be used; or a root is asked for,
                and an example's score has the same sign at the input and at the baseline.
            CaptureError: the model cannot be captured.
        """
        tensors, arguments = self._arguments(inputs, additional_forward_args, create_graph)
        others = arguments[len(tensors) :]
        with explaining(create_graph):
            references = as_references(baselines, tensors, others)
            _, _, output = self._forward(arguments)
            each, many = seeds(target, output)
            scores = [require_finite(per_example(output * seed)) for seed in each]

            def explain(x0: Tensors) -> list[Explained]:
                if root:
                    made = self._around_roots(tensors, x0, others, each, scores)
                else:
                    made = self._around(_copied(x0, each), others, each)
                return list(map(_contributions, [tensors] * len(each), scores, made))

            found = references.mean(explain)
        return results(inputs, [Explanation(*one) for one in found], many, return_convergence_delta)

    def export(
        self,
        inputs: Inputs,
        baselines: Baselines = "blank",
        additional_forward_args: Any = None,
    ) -> ExportedProgram:
        """What `attribute` does with inputs and a baseline like these, as a program of tensors.

        The expansion is around the baseline, not around a root. Args, returns and raises: as
        `DeepLift.export`.
        """
        tensors, arguments = self._arguments(inputs, additional_forward_args)
        count, arguments = len(tensors), for_export(arguments)
        with explaining():
            baseline = as_references(baselines, arguments[:count], arguments[count:]).only()
            plan, _, output = self._forward(arguments)
            graph, sweep = plan.graph, plan.sweep

            def explain(constants: Snapshot, given: Tensors, target: Tensor) -> Tensors:
                x, more = given[:count], given[2 * count :]
                around = zip(given[count : 2 * count], x, strict=True)
                x0 = tuple(a0.expand(a.shape[0], *a0.shape[1:]) for a0, a in around)
                named = name_inputs(graph, with_tensors(arguments, (*x0, *more)))
                run = sweep.forward(constants, named)
                seed = seed_of(target, run.values[graph.output])
                return _of_first_order(self._gradients(plan, run, x0, seed, last=True), x, x0)

            others = tuple(a for a in arguments[count:] if isinstance(a, Tensor))
            return exported(plan, explain, (*arguments[:count], *baseline, *others), output)

    def _around(self, x0: Tensors, others: tuple[Any, ...], each: list[Tensor]) -> list[Expansion]:
        """For every target the expansion around x0, all from one forward sweep."""
        plan, run, output = self._forward((*x0, *others))
        made = []
        for seed in each:
            here = seed[: len(output)]
            score = require_finite(per_example(output * here))
            m = self._gradients(plan, run, x0, here, last=seed is each[-1])
            made.append((x0, m, score))
        return made

    def _around_roots(
        self,
        x: Tensors,
        x0: Tensors,
        others: tuple[Any, ...],
        each: list[Tensor],
        scores: list[Tensor],
    ) -> list[Expansion]:
        """For every target the expansion around its own roots."""
        made = []
        for seed, score in zip(each, scores, strict=True):
            with torch.no_grad():
                root = self._root(x, x0, others, seed, score)
            made += self._around(root, others, [seed])
        return made

    def _root(
        self, x: Tensors, x0: Tensors, others: tuple[Any, ...], seed: Tensor, score: Tensor
    ) -> Tensors:
        """Where on the line from x to x0 the score loses its sign, on the side of x.

        There the gradient is that of the piece which x lies on, if f is 0 on the other side.
        """

        def on_line(t: Tensor) -> Tensors:
            return tuple(
                torch.lerp(a0, a, t.to(a.dtype).reshape(-1, *[1] * (a.dim() - 1)))
                for a, a0 in zip(x, x0, strict=True)
            )

        def at(t: Tensor) -> Tensor:
            _, _, output = self._forward((*on_line(t), *others))
            return per_example(output * seed)

        low, high = torch.zeros_like(score), torch.ones_like(score)
        _require_change_of_sign(score, at(low))
        for _ in range(-int(math.log2(torch.finfo(score.dtype).eps))):
            middle = (low + high) / 2
            same = at(middle) * score.sign() > 0
            low, high = torch.where(same, low, middle), torch.where(same, middle, high)
        return on_line(high)


def _require_change_of_sign(score: Tensor, baseline: Tensor) -> None:
    """An error that names the first example for which no root is sure to lie in between."""
    alike = require_finite(baseline) * score.sign() > 0
    if alike.any():
        example = int(alike.nonzero()[0])
        raise InvalidInputError(
            "the score must have different signs at the input and at the baseline for a root to "
            f"lie between them; example {example} has {score[example]:.6g} and "
            f"{baseline[example]:.6g}: choose another baseline, or root=False"
        )


def _copied(x0: Tensors, each: list[Tensor]) -> Tensors:
    """The baseline; a common one copied for all examples if they have targets of their own."""
    if all(bool((seed == seed[:1]).all()) for seed in each):
        return x0
    return tuple(t.expand(len(each[0]), *t.shape[1:]) for t in x0)


def _contributions(x: Tensors, score: Tensor, expansion: Expansion) -> Explained:
    """R, and `sum R - (f(x) - f(x0))`."""
    x0, gradients, start = expansion
    R = _of_first_order(gradients, x, x0)
    return R, sum(map(per_example, R)) - (score - start)


def _of_first_order(gradients: Tensors, x: Tensors, x0: Tensors) -> Tensors:
    """`R = m (x - x0)`."""
    return tuple(m * (a - a0) for m, a, a0 in zip(gradients, x, x0, strict=True))
