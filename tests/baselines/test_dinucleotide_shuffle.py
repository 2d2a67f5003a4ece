"""Shuffles must keep every dinucleotide, and be as random as that allows."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from relprop.baselines import dinucleotide_shuffle, sequences
from relprop.errors import InvalidInputError, InvalidTypeError

Letters = list[int]
ALPHABETS = st.integers(1, 6)
UNKNOWN = -1


@st.composite
def batches(draw: st.DrawFn) -> Tensor:
    """One-hot sequences of any alphabet and length, some letters of them perhaps unknown."""
    alphabet, length, n = draw(ALPHABETS), draw(st.integers(0, 40)), draw(st.integers(1, 3))
    letter = st.integers(UNKNOWN if draw(st.booleans()) else 0, alphabet - 1)
    rows = draw(
        st.lists(st.lists(letter, min_size=length, max_size=length), min_size=n, max_size=n)
    )
    return one_hot(rows, alphabet)


def one_hot(rows: list[Letters], alphabet: int = 4) -> Tensor:
    letters = torch.tensor(rows).view(len(rows), -1)
    return (letters[:, None] == torch.arange(alphabet).view(-1, 1)).float()


def letters(sequence: Tensor) -> Letters:
    """The letters of an (A, L) sequence."""
    known = sequence.sum(0) == 1
    return torch.where(known, sequence.argmax(0), UNKNOWN).tolist()


def dinucleotides(row: Letters) -> Counter[tuple[int, int]]:
    return Counter(itertools.pairwise(row))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def all_shuffles(row: Letters) -> set[tuple[int, ...]]:
    """Every sequence with these ends and dinucleotides, by trying all orders."""
    inner = set(itertools.permutations(row[1:-1]))
    whole = {(row[0], *order, row[-1]) for order in inner}
    return {order for order in whole if dinucleotides(list(order)) == dinucleotides(row)}


@given(batches(), st.integers(1, 4), st.integers(0, 99))
@settings(deadline=None)
def test_dinucleotides_and_ends_are_kept(x: Tensor, samples: int, seed: int) -> None:
    shuffled = dinucleotide_shuffle(x, samples, generator(seed))
    assert shuffled.shape == (len(x), samples, *x.shape[1:])
    for given_one, of_one in zip(x, shuffled, strict=True):
        before = letters(given_one)
        for after in map(letters, of_one):
            assert dinucleotides(after) == dinucleotides(before)
            assert after[:1] == before[:1]
            assert after[-1:] == before[-1:]


@given(batches(), st.sampled_from([torch.float16, torch.float64, torch.int64, torch.bool]))
@settings(deadline=None)
def test_shuffles_are_one_hot_in_the_type_of_the_sequences(x: Tensor, dtype: torch.dtype) -> None:
    shuffled = dinucleotide_shuffle(x.to(dtype), 2, generator())
    assert shuffled.dtype == dtype
    assert ((shuffled == 0) | (shuffled == 1)).all()
    assert (shuffled.sum(2) <= 1).all()
    assert shuffled.sum((2, 3)).equal(x.sum((1, 2)).long()[:, None].expand(-1, 2))


@pytest.mark.parametrize(
    "row",
    [
        [0, 1, 2, 0, 2, 1, 0, 3, 1],
        [0, 0, 1, 1, 0, 2, 0, 1, 2, 0],
        [1, 0, 1, 0, 2, 1, 0, 0, 3],  # from one letter most exits lead onto a cycle
        [0, UNKNOWN, 1, 0, 1, UNKNOWN, 0, 2, 0],
    ],
)
def test_every_shuffle_is_equally_likely(row: Letters) -> None:
    possible, draws = all_shuffles(row), 20_000
    shuffled = dinucleotide_shuffle(one_hot([row]), draws, generator())[0]
    seen = Counter(tuple(letters(one)) for one in shuffled)
    assert set(seen) == possible
    assert chisquare(list(seen.values())).pvalue > 1e-3


def test_some_sequence_of_nine_letters_has_sixteen_shuffles_or_more() -> None:
    assert len(all_shuffles([0, 1, 2, 0, 2, 1, 0, 3, 1])) >= 16


def test_long_sequences_are_well_mixed() -> None:
    row = torch.randint(4, (300,), generator=generator()).tolist()
    shuffled = dinucleotide_shuffle(one_hot([row]), 20, generator())[0]
    assert len({tuple(letters(one)) for one in shuffled}) == 20
    kept = np.mean([np.equal(letters(one), row).mean() for one in shuffled])
    assert 0.15 < kept < 0.35  # a quarter agrees by chance


@given(batches())
@settings(deadline=None)
def test_shuffles_repeat_with_their_generator(x: Tensor) -> None:
    first = dinucleotide_shuffle(x, 3, generator(1))
    assert first.equal(dinucleotide_shuffle(x, 3, generator(1)))


def test_shuffles_come_from_the_global_generator_by_default() -> None:
    x = one_hot([torch.randint(4, (50,)).tolist()])
    torch.manual_seed(1)
    first = dinucleotide_shuffle(x, 3)
    assert not first.equal(dinucleotide_shuffle(x, 3))
    torch.manual_seed(1)
    assert first.equal(dinucleotide_shuffle(x, 3))


@given(batches(), st.integers(1, 200))
@settings(deadline=None)
def test_memory_is_bounded_by_shuffling_in_chunks(x: Tensor, chunk: int) -> None:
    assume(x.shape[2] > 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequences, "CHUNK", chunk)
        shuffled = dinucleotide_shuffle(x, 3, generator())
    for given_one, of_one in zip(x, shuffled, strict=True):
        counts = {frozenset(dinucleotides(letters(one)).items()) for one in of_one}
        assert counts == {frozenset(dinucleotides(letters(given_one)).items())}


@pytest.mark.parametrize(("left", "right"), [(0, 7), (5, 0)])
def test_padding_at_one_end_stays_there(left: int, right: int) -> None:
    row = [UNKNOWN] * left + [0, 1, 2, 0, 2, 1, 0, 3, 1] + [UNKNOWN] * right
    for one in dinucleotide_shuffle(one_hot([row]), 20, generator())[0]:
        assert UNKNOWN not in letters(one)[left : len(row) - right]


@pytest.mark.parametrize("row", [[], [2], [2, 1], [3] * 20, [0, 1, 2, 3]])
def test_a_sequence_with_one_order_only_comes_back_as_it_is(row: Letters) -> None:
    x = one_hot([row])
    assert dinucleotide_shuffle(x, 3).equal(x[:, None].expand(-1, 3, -1, -1))


def test_no_sequences_give_no_shuffles() -> None:
    assert dinucleotide_shuffle(torch.zeros(0, 4, 10), 3).shape == (0, 3, 4, 10)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(4, 10), r"shape \(N, A, L\); got \(4, 10\)"),
        (torch.zeros(2, 0, 10), r"shape \(N, A, L\); got \(2, 0, 10\)"),
        (torch.ones(2, 4, 10), "one-hot along dimension 1"),
        (torch.full((2, 4, 10), 0.25), "one-hot along dimension 1"),
        (torch.full((2, 4, 10), torch.nan), "one-hot along dimension 1"),
    ],
)
def test_what_is_not_one_hot_is_refused(x: Tensor, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        dinucleotide_shuffle(x, 2)


@pytest.mark.parametrize(
    ("x", "samples", "error", "message"),
    [
        ("ACGT", 2, InvalidTypeError, "sequences must be a tensor; got str"),
        (one_hot([[0, 1]]), 0, InvalidInputError, "samples must be 1 or more; got 0"),
        (one_hot([[0, 1]]), 1.5, InvalidTypeError, "samples must be an int; got float"),
    ],
)
def test_wrong_arguments_are_refused(
    x: Any, samples: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        dinucleotide_shuffle(x, samples)
