"""What an input is compared with: one baseline, one for each example, or a distribution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relprop.baselines import BASELINES
from relprop.errors import InvalidInputError, InvalidTypeError
from relprop.graph.autocast import without_autocast
from relprop.graph.node import Run
from relprop.rules.support import choose


@dataclass(frozen=True)
class Distribution:
    """Many baselines, over which contributions are averaged (as captum's DeepLiftShap does).

    Attributes:
        samples: shape (K, ...): K baselines common to all examples; or, with `per_example`, shape
            (N, K, ...): K for each of N examples.
        per_example: which of the two.
    """

    samples: Tensor
    per_example: bool = False


Baseline = Tensor | float | str | Callable[[Tensor], Any] | Distribution | None
Baselines = Baseline | tuple[Baseline, ...]
#: For one target: the attributions of all inputs, and a delta.
Explained = tuple[tuple[Tensor, ...], Tensor]


@dataclass(frozen=True)
class References:
    """The baselines of all inputs, brought into one form.

    Attributes:
        tensors: for each input its baselines. `common` ones have shape (K, ...), each of them for
            every example; others (N, K, ...), K for each example.
        common: whether the baselines are the same for all examples.
    """

    tensors: tuple[Tensor, ...]
    common: bool

    @property
    def count(self) -> int:
        """How many baselines an example is compared with."""
        return self.tensors[0].shape[0 if self.common else 1]

    def baseline(self, k: int) -> tuple[Tensor, ...]:
        """Baseline number k for each input, shape (1, ...) if it is common, else (N, ...)."""
        return tuple(t[k : k + 1] if self.common else t[:, k] for t in self.tensors)

    def only(self) -> tuple[Tensor, ...]:
        """The baseline of an explanation that is exported, for which there can be only one."""
        if self.count > 1:
            raise InvalidInputError(
                f"an exported explanation has one baseline an example; got {self.count}"
            )
        return self.baseline(0)

    def mean(self, explain: Callable[[tuple[Tensor, ...]], list[Explained]]) -> list[Explained]:
        """For every target the mean of what `explain` gives for one baseline after another."""
        sums = explain(self.baseline(0))
        for k in range(1, self.count):
            sums = [_add(a, b) for a, b in zip(sums, explain(self.baseline(k)), strict=True)]
        return [(tuple(R / self.count for R in parts), delta / self.count) for parts, delta in sums]


def have_examples_first(runs: Sequence[Run], sizes: Sequence[int]) -> bool:
    """Whether examples lie along the first dimension of every activation of all sweeps.

    Some models put them elsewhere, or make one dimension of them and of others, such as heads of
    attention. Sweeps of batches of two `sizes` show it.
    """
    return all(
        shape[:1] == (size,)
        for run, size in zip(runs, sizes, strict=True)
        for shape in run.shapes.values()
    )


def repeated(baseline: tuple[Tensor, ...], count: int) -> tuple[Tensor, ...]:
    """A baseline of one example for so many."""
    return tuple(t.expand(count, *t.shape[1:]) for t in baseline)


@without_autocast
def as_references(
    baselines: Baselines, inputs: tuple[Tensor, ...], others: tuple[Any, ...]
) -> References:
    """The references for `inputs`; `others` are the model's further arguments.

    Common baselines stay common only if nothing else has one entry for each example.
    """
    given = baselines if isinstance(baselines, tuple) else (baselines,) * len(inputs)
    if len(given) != len(inputs):
        raise InvalidInputError(
            f"baselines must be one for each of {len(inputs)} inputs; got {len(given)}"
        )
    made = [_samples(baseline, x) for baseline, x in zip(given, inputs, strict=True)]
    n = len(inputs[0])
    counts = {s.shape[0] if common else s.shape[1] for s, common in made}
    if len(counts) > 1:
        raise InvalidInputError(
            f"all inputs must have equally many baselines; got {sorted(counts)}"
        )
    batched = any(isinstance(a, Tensor) and a.dim() > 0 and len(a) == n for a in others)
    common = all(common for _, common in made) and not (batched and n > 1)
    if common:
        return References(tuple(samples for samples, _ in made), True)
    expanded = (s.expand(n, *s.shape) if common else s for s, common in made)
    return References(tuple(expanded), False)


def _samples(baseline: Baseline, x: Tensor) -> tuple[Tensor, bool]:
    """Samples of shape (K, ...), common to all examples; or (N, K, ...), and not."""
    if isinstance(baseline, Distribution):
        samples = _checked(baseline.samples, x)
        inner = samples.shape[2:] if baseline.per_example else samples.shape[1:]
        examples = len(samples) if baseline.per_example else len(x)
        if inner != x.shape[1:] or examples != len(x) or 0 in samples.shape:
            expected = ("N, K" if baseline.per_example else "K", *x.shape[1:])
            raise InvalidInputError(
                f"a distribution of baselines must have shape ({', '.join(map(str, expected))}) "
                f"for an input of shape {tuple(x.shape)}; got {tuple(samples.shape)}"
            )
        return samples, not baseline.per_example
    one = _one_baseline(baseline, x)
    return (one, True) if len(one) == 1 else (one.unsqueeze(1), False)


def _one_baseline(baseline: Tensor | float | str | Callable[..., Any] | None, x: Tensor) -> Tensor:
    """A baseline in the input's shape, or with size 1 along the batch."""
    if isinstance(baseline, str):
        choose(BASELINES, baseline, "baselines")
    if baseline is None or (isinstance(baseline, str) and baseline == "blank"):
        return torch.zeros_like(x[:1])
    if isinstance(baseline, str):
        made: Any = BASELINES[baseline](x)
    elif isinstance(baseline, (int, float)) and not isinstance(baseline, bool):
        made = torch.full_like(x[:1], baseline)
    else:
        made = baseline(x) if callable(baseline) else baseline
    tensor = _checked(made, x)
    if tensor.shape[1:] != x.shape[1:] or len(tensor) not in (1, len(x)):
        raise InvalidInputError(
            f"a baseline must have the input's shape {tuple(x.shape)}, or size 1 along its batch; "
            f"got {tuple(tensor.shape)}"
        )
    return tensor


def _add(a: Explained, b: Explained) -> Explained:
    return tuple(x + y for x, y in zip(a[0], b[0], strict=True)), a[1] + b[1]


def _checked(made: Any, x: Tensor) -> Tensor:
    """A baseline that can be one of x; detached, unless gradients are recorded."""
    if not isinstance(made, Tensor):
        raise InvalidTypeError(
            "a baseline must be None, a number, a tensor, a function that gives a tensor, a "
            f"Distribution, or one of {', '.join(map(repr, BASELINES))}; got {type(made).__name__}"
        )
    if made.dtype != x.dtype or made.device != x.device:
        raise InvalidTypeError(
            f"a baseline must be {x.dtype} on {x.device} as its input is; "
            f"got {made.dtype} on {made.device}"
        )
    if not torch.isfinite(made).all():
        raise InvalidInputError("a baseline must be finite; it has NaN or infinite values")
    return made if torch.is_grad_enabled() else made.detach()
