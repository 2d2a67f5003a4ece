"""Sums of gradients at many points for each example, many points to a sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from relprop.attribution.explanation import Tensors
from relprop.attribution.gradient import GradientMethod
from relprop.errors import InvalidInputError
from relprop.graph.autocast import without_autocast

#: The inputs at point k, each of shape (N, ...).
Points = Callable[[int], Tensors]
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
            found = [tuple(_weigh(g, w, n) for g in tensors) for tensors in gradients]
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
    return tuple(
        a[rows] if isinstance(a, Tensor) and a.dim() > 0 and len(a) == n else a for a in arguments
    )


def _weigh(gradients: Tensor, weights: Sequence[float], n: int) -> Tensor:
    """`sum_k w_k g_k`, with the g_k of shape (n, ...) one after another."""
    w = gradients.new_tensor(weights)
    total: Tensor = torch.tensordot(w, gradients.reshape(len(w), n, *gradients.shape[1:]), 1)
    return total


def _add(a: Tensors, b: Tensors) -> Tensors:
    return tuple(x + y for x, y in zip(a, b, strict=True))
