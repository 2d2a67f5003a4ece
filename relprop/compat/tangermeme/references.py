"""The references that a sequence is compared with: given, or drawn by a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from relprop import baselines
from relprop.compat.tangermeme.sequences import check_one_hot
from relprop.errors import InvalidInputError, InvalidTypeError

References = Tensor | Callable[..., Tensor]


def dinucleotide_shuffle(X: Tensor, n: int = 20, random_state: int | None = None) -> Tensor:
    """`relprop.baselines.dinucleotide_shuffle`, as tangermeme calls such a function.

    Args:
        X: one-hot sequences, shape (N, A, L).
        n: how many shuffles of each.
        random_state: seed; the shuffles of a sequence depend on nothing else. None to draw on from
            torch's own generator.

    Returns:
        Shape (N, n, A, L).

    Raises:
        InvalidInputError, InvalidTypeError: X is not one-hot, or n is no number of shuffles.
    """
    if random_state is None:
        return baselines.dinucleotide_shuffle(X, n)
    shuffled = [
        baselines.dinucleotide_shuffle(x[None], n, torch.Generator().manual_seed(random_state))
        for x in X
    ]
    return torch.cat(shuffled)


@dataclass(frozen=True)
class Drawing:
    """Where references come from: a tensor of shape (N, K, A, L), or a function; K for each."""

    references: References
    count: int
    random_state: int | None

    @classmethod
    def of(
        cls,
        references: References,
        X: Tensor,
        n_shuffles: int,
        random_state: int | None,
        only_warn: bool,
    ) -> Drawing:
        """The references for X, checked as far as they are at hand."""
        if isinstance(references, Tensor):
            expected = (len(X), references.shape[1] if references.dim() > 1 else "K", *X.shape[1:])
            if tuple(references.shape) != expected or 0 in references.shape:
                raise InvalidInputError(
                    f"references must have shape {expected} for X of shape {tuple(X.shape)}; "
                    f"got {tuple(references.shape)}"
                )
            check_one_hot(references.flatten(0, 1), "references", only_warn, unknown=True)
            return cls(references, references.shape[1], random_state)
        if not callable(references):
            raise InvalidTypeError(
                "references must be a tensor, or a function of X, n and random_state; "
                f"got {type(references).__name__}"
            )
        if n_shuffles < 1:
            raise InvalidInputError(f"n_shuffles must be 1 or more; got {n_shuffles}")
        return cls(references, n_shuffles, random_state)

    def rows(self, x: Tensor, start: int) -> Tensor:
        """The references of sequences x, which begin at `start` among all, shape (n, K, A, L)."""
        if isinstance(self.references, Tensor):
            return self.references[start : start + len(x)].to(x)
        if self.references is dinucleotide_shuffle:
            return dinucleotide_shuffle(x, self.count, self.random_state)
        each = [self._one(self.references, x, k) for k in range(self.count)]
        return torch.stack(each, 1).to(x)

    def _one(self, function: Callable[..., Tensor], x: Tensor, k: int) -> Tensor:
        """Reference k of every sequence; tangermeme draws it with the seed `random_state + k`."""
        if self.random_state is None:
            return function(x, n=1)[:, 0]
        seed = self.random_state + k
        return torch.cat([function(one[None], n=1, random_state=seed)[:, 0] for one in x])
