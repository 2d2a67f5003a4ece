"""Baselines for sequences: shuffles that keep how often each letter follows each other letter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from relprop.baselines.data import check_samples, random
from relprop.errors import InvalidInputError, InvalidTypeError

Integers = npt.NDArray[np.int64]

CHUNK = 1 << 20
"""How many letters are shuffled at once: enough to vectorise over, within 100 MB."""


def dinucleotide_shuffle(
    sequences: Tensor, samples: int, generator: torch.Generator | None = None
) -> Tensor:
    """Random sequences with the dinucleotides of the given ones: a distribution of baselines each.

    Every pair of neighbouring letters occurs exactly as often as before, so that composition and
    local texture stay and longer motifs go; the first and the last letter stay where they are. All
    sequences of which that is true are equally likely (Altschul and Erickson 1985, *Significance of
    nucleotide sequence alignments*). A sequence that allows no other comes back as it is.

    Letters are vertices, neighbours are edges, and a shuffle is a random Eulerian path: a random
    tree of last exits towards the last letter (drawn by popping cycles: Propp and Wilson 1998),
    all other exits of a letter in random order.

    Args:
        sequences: one-hot, shape (N, A, L), for an alphabet of A letters. A column of zeros, an
            unknown letter, counts as one more letter; padding at one end therefore stays there, and
            padding at both ends stays at the ends, in other lengths.
        samples: how many shuffles of each sequence, >= 1.
        generator: where random numbers come from; None for torch's global one.

    Returns:
        Shape (N, samples, A, L), one-hot, in the type and on the device of `sequences`.

    Raises:
        InvalidInputError: `sequences` has another shape or is not one-hot; `samples < 1`.
        InvalidTypeError: `sequences` is not a tensor, or `samples` not an int.
    """
    check_samples(samples)
    letters = _letters(sequences)
    n, alphabet, length = sequences.shape
    # A row of zeros at the end stands for the unknown letter.
    columns = torch.eye(alphabet + 1, alphabet, dtype=sequences.dtype, device=sequences.device)
    out = sequences.new_empty((n, samples, alphabet, length))
    step = max(1, CHUNK // max(1, samples * length))
    for start in range(0, n, step):
        shuffled = _shuffle(letters[start : start + step], samples, alphabet + 1, generator)
        indices = torch.from_numpy(shuffled).to(sequences.device)
        out[start : start + step] = columns[indices].movedim(-1, -2)
    return out


def _letters(sequences: Any) -> Integers:
    """The index of every letter, shape (N, L); A for a column of zeros."""
    if not isinstance(sequences, Tensor):
        raise InvalidTypeError(f"sequences must be a tensor; got {type(sequences).__name__}")
    if sequences.dim() != 3 or sequences.shape[1] == 0:
        raise InvalidInputError(
            "sequences must be one-hot with channels first, shape (N, A, L); "
            f"got {tuple(sequences.shape)}"
        )
    ones = sequences == 1
    if not (ones | (sequences == 0)).all() or (ones.sum(1) > 1).any():
        raise InvalidInputError(
            "sequences must be one-hot along dimension 1, each column a single 1 among zeros, or "
            f"all zeros for an unknown letter; some columns of {tuple(sequences.shape)} are not"
        )
    unknown = sequences.shape[1]
    letters = torch.where(ones.any(1), ones.to(torch.uint8).argmax(1), unknown)
    indices: Integers = letters.cpu().numpy()
    return indices


def _shuffle(
    letters: Integers, samples: int, alphabet: int, generator: torch.Generator | None
) -> Integers:
    """Shuffles of (n, L) letters, shape (n, samples, L)."""
    n, length = letters.shape
    rows = np.repeat(letters, samples, axis=0)
    if length > 2:
        exits = _Exits.of(letters, samples, alphabet)
        order = _order(rows, exits.tree(rows[:, -1], generator), alphabet, generator)
        rows = _walk(rows, order, alphabet)
    return rows.reshape(n, samples, length)


@dataclass(frozen=True)
class _Exits:
    """The places i where a sequence leaves a letter, s[i] != s[i+1], in the order of the letters.

    Attributes:
        places: shape (rows, L - 1), the places by the letter that is left; then those of no exit.
        count: shape (rows, A), how many exits each letter has.
        to: shape (rows, L - 1), the letter that follows each place of the sequence.
    """

    places: Integers
    count: Integers
    to: Integers

    @classmethod
    def of(cls, letters: Integers, samples: int, alphabet: int) -> _Exits:
        """The exits of (n, L) letters, each for `samples` rows."""
        source, to = letters[:, :-1], letters[:, 1:]
        left = np.where(source != to, source, alphabet)
        places = np.argsort(left, axis=1, kind="stable")
        count = (left[:, :, None] == np.arange(alphabet)).sum(1)
        return cls(*(np.repeat(a, samples, axis=0) for a in (places, count, to)))

    def tree(self, root: Integers, generator: torch.Generator | None) -> Integers:
        """For every letter the place of its last exit, shape (rows, A); -1 where there is none.

        Exits are drawn at random, and those on a cycle drawn again until all lead to the root: then
        they are a tree, and all trees are equally likely.
        """
        rows, alphabet = self.count.shape
        every = np.arange(rows)
        first = np.cumsum(self.count, axis=1) - self.count
        last = np.full((rows, alphabet), -1)
        following = np.repeat(root[:, None], alphabet, axis=1)
        pending = self.count > 0
        pending[every, root] = False
        while pending.any():
            row, letter = np.nonzero(pending)
            drawn = random((len(row),), torch.float64, generator, torch.device("cpu")).numpy()
            nth = first[row, letter] + (drawn * self.count[row, letter]).astype(np.int64)
            last[row, letter] = self.places[row, nth]
            following[row, letter] = self.to[row, last[row, letter]]
            pending = _on_cycle(following, root)
        return last


def _on_cycle(following: Integers, root: Integers) -> npt.NDArray[np.bool_]:
    """Which letters come back to themselves, the root aside, shape (rows, A)."""
    rows, alphabet = following.shape
    reached = following
    for _ in range(alphabet.bit_length()):  # 2^k >= A steps: whoever is reached then is on a cycle
        reached = np.take_along_axis(reached, reached, axis=1)
    found = np.zeros((rows, alphabet), dtype=np.bool_)
    np.put_along_axis(found, reached, True, axis=1)
    found[np.arange(rows), root] = False
    return found


def _order(
    rows: Integers, last: Integers, alphabet: int, generator: torch.Generator | None
) -> Integers:
    """The letters in the order in which they follow each letter, by the letter that they follow."""
    cpu = torch.device("cpu")
    key = random((rows.shape[0], rows.shape[1] - 1), torch.float64, generator, cpu).numpy()
    row, letter = np.nonzero(last >= 0)
    key[row, last[row, letter]] = 1  # above all others
    order = np.argsort(rows[:, :-1] + 0.5 * key, axis=1)
    return np.take_along_axis(rows[:, 1:], order, axis=1)


def _walk(rows: Integers, order: Integers, alphabet: int) -> Integers:
    """From each first letter on, the next letter in the order of the one just met."""
    every = np.arange(len(rows))
    count = (rows[:, :-1, None] == np.arange(alphabet)).sum(1)
    at = np.cumsum(count, axis=1) - count
    out = np.empty_like(rows)
    letter = out[:, 0] = rows[:, 0]
    for place in range(order.shape[1]):
        here = at[every, letter]
        at[every, letter] = here + 1
        letter = order[every, here]
        out[:, place + 1] = letter
    return out
