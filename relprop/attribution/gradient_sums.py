"""Sums of gradients at many points for each example, many points to a sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from relprop.attribution.attributor import name_inputs
from relprop.attribution.explanation import Tensors
from relprop.attribution.exporting import exported, seed_of, with_tensors
from relprop.attribution.gradient import GradientMethod
from relprop.errors import InvalidInputError
from relprop.graph.autocast import without_autocast
from relprop.graph.constants import Snapshot

#: The inputs at point k, each of shape (N, ...).
Points = Callable[[int], Tensors]
#: What is explained of the inputs, of tensors that they are compared with, and of sums by points.
ExplainSums = Callable[[Tensors, Tensors, Callable[[Points], Tensors]], Tensors]
CHUNK_BYTES = 2**30  # of activations that are held at once, unless the user says otherwise


class GradientSums(GradientMethod):
    """Base of the methods that average gradients along a path or over a neighbourhood."""

    def _outputs(self, arguments: Sequence[Any], n: int, batch: int | None) -> tuple[Tensor, int]:
        """The model's output, and how many points to sweep at once.

        `batch` is the user's word for the latter; without one, as many as fit `CHUNK_BYTES`, and at
        least the n examples that were given together.
        """
        outputs, held = [], 0
        for rows in _rows(n, batch or n):
            _, run, output = self._forward(_select(arguments, n, rows))
            outputs.append(output)
            held += sum(t.nbytes for t in run.values.values())
        return torch.cat(outputs), batch or max(n, CHUNK_BYTES * n // max(1, held))

    @without_autocast
    def _sum(
        self,
        points: Points,
        weights: Sequence[float],
        others: tuple[Any, ...],
        each: Sequence[Tensor],
        batch: int,
    ) -> list[Tensors]:
        """For every target `sum_k weights[k] * gradient at points(k)`.

        `others` are the model's further arguments, `each` the targets' seeds of shape (N, ...). The
        points are asked for once, in order.
        """
        n = len(each[0])
        together = max(1, batch // n)
        sums: list[Tensors] = []
        for start in range(0, len(weights), together):
            w = weights[start : start + together]
            made = [points(start + k) for k in range(len(w))]
            inputs = tuple(torch.cat(t) for t in zip(*made, strict=True))
            gradients = self._at(inputs, others, each, batch)
            found = [tuple(_weigh(g, w) for g in tensors) for tensors in gradients]
            sums = found if not sums else [_add(a, b) for a, b in zip(sums, found, strict=True)]
        return sums

    def _at(
        self, inputs: Tensors, others: tuple[Any, ...], each: Sequence[Tensor], batch: int
    ) -> list[Tensors]:
        """For every target the gradients at `inputs`, `batch` rows at a time.

        The rows are those of all N examples, then those of all N again, and so on.
        """
        n = len(each[0])
        examples = torch.arange(len(inputs[0]), device=inputs[0].device) % n
        parts: list[list[Tensors]] = [[] for _ in each]
        for rows in _rows(len(examples), batch):
            here = tuple(x[rows] for x in inputs)
            plan, run, _ = self._forward((*here, *_select(others, n, examples[rows])))
            for k, seed in enumerate(each):
                last = k == len(each) - 1
                m = self._gradients(plan, run, here, seed[examples[rows]], last)
                parts[k].append(m)
        return [tuple(torch.cat(t) for t in zip(*part, strict=True)) for part in parts]

    def _exported(
        self,
        arguments: tuple[Any, ...],
        references: tuple[Tensors, Tensors],
        weights: Sequence[float],
        batch: int | None,
        explain: ExplainSums,
    ) -> ExportedProgram:
        """What `explain` makes of `sum_k weights[k] * gradient at points(k)`, as a program.

        `references` are the inputs, with which `arguments` begin, and what they are compared with.
        All sweeps have equally many points, so that one graph serves them.
        """
        inputs, compared = references
        count, stop, n = len(inputs), len(inputs) + len(compared), len(inputs[0])
        output, batch = self._outputs(arguments, n, batch)
        together = _divisor(len(weights), batch // n)
        others = tuple(a for a in arguments[count:] if isinstance(a, Tensor))
        repeated = [_has_rows(a, n) for a in others]
        plan = self._plan([_copies(a, together) if _has_rows(a, n) else a for a in arguments])
        graph, sweep = plan.graph, plan.sweep

        def program(constants: Snapshot, given: Tensors, target: Tensor) -> Tensors:
            further = zip(given[stop:], repeated, strict=True)
            others = [_copies(a, together) if again else a for a, again in further]

            def at(points: Tensors) -> Tensors:
                named = name_inputs(graph, with_tensors(arguments, (*points, *others)))
                run = sweep.forward(constants, named)
                seed = seed_of(_copies(target, together), run.values[graph.output])
                return self._gradients(plan, run, points, seed, last=True)

            def summed(points: Points) -> Tensors:
                sums: Tensors = ()
                for start in range(0, len(weights), together):
                    made = [points(start + k) for k in range(together)]
                    found = at(tuple(torch.cat(t) for t in zip(*made, strict=True)))
                    weighed = tuple(_weigh(g, weights[start : start + together]) for g in found)
                    sums = _add(sums, weighed) if sums else weighed
                return sums

            return explain(given[:count], given[count:stop], summed)

        return exported(plan, program, (*inputs, *compared, *others), output)


def check_count(given: object, what: str, least: int = 1) -> None:
    """Raise if `given` is no int of at least `least`."""
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise InvalidInputError(f"{what} must be an int >= {least}; got {given!r}")


def check_batch(given: int | None) -> None:
    """Raise if `given` is no `internal_batch_size`."""
    if given is not None:
        check_count(given, "internal_batch_size")


def _rows(n: int, batch: int) -> list[slice]:
    return [slice(start, start + batch) for start in range(0, n, batch)]


def _select(arguments: Sequence[Any], n: int, rows: slice | Tensor) -> tuple[Any, ...]:
    """The arguments for some rows; tensors with one entry for each of n examples are cut."""
    return tuple(a[rows] if _has_rows(a, n) else a for a in arguments)


def _has_rows(argument: Any, n: int) -> bool:
    return isinstance(argument, Tensor) and argument.dim() > 0 and len(argument) == n


def _copies(rows: Tensor, count: int) -> Tensor:
    """A tensor so many times over."""
    return torch.cat([rows] * count)


def _divisor(n: int, most: int) -> int:
    """The largest number that n is a multiple of, up to `most`; at least 1."""
    return next((d for d in range(min(n, most), 1, -1) if n % d == 0), 1)


def _weigh(gradients: Tensor, weights: Sequence[float]) -> Tensor:
    """`sum_k w_k g_k`, with the g_k of shape (N, ...) one after another."""
    w = gradients.new_tensor(weights)
    total: Tensor = torch.tensordot(w, gradients.unflatten(0, (len(weights), -1)), 1)
    return total


def _add(a: Tensors, b: Tensors) -> Tensors:
    return tuple(x + y for x, y in zip(a, b, strict=True))
