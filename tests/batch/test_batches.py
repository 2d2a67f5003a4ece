"""Which items go together, and how far reading and writing run apart from explaining."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

pytest.importorskip("zarr")

from relprop import LRP
from relprop.batch import Batch, Explained, Item, LocalEngine, Row
from relprop.batch.batches import SHAPES, form
from relprop.batch.items import Loaded, Shape
from tests.batch.in_memory import InMemory

Explain = Callable[..., list[Row]]
PATIENCE = 20.0
"""Seconds until a thread that should have got on is given up."""


def numbers(batches: Iterable[Batch]) -> list[tuple[int, ...]]:
    return [tuple(item.index for item in batch.items) for batch in batches]


def loaded(sides: list[int]) -> list[Loaded]:
    return [
        Loaded(Item(i, str(i)), (1, side, 1), torch.zeros(1, side, 1))
        for i, side in enumerate(sides)
    ]


@given(st.lists(st.integers(1, SHAPES + 4), max_size=60), st.integers(1, 4), st.data())
def test_batches_are_the_same_whichever_are_done_before(
    sides: list[int], size: int, data: st.DataObject
) -> None:
    sizes: dict[Shape, int] = {}
    items = loaded(sides)
    whole = numbers(form(items, sizes, lambda _: size))
    assert sorted(sum(whole, ())) == list(range(len(sides)))
    done = {batch for batch in whole if data.draw(st.booleans())}
    explained = set(sum(done, ()))
    rest = [replace(one, inputs=None) if one.item.index in explained else one for one in items]
    assert numbers(form(rest, sizes, lambda _: size)) == [b for b in whole if b not in done]


@given(st.lists(st.integers(1, 3), max_size=40), st.integers(1, 4))
def test_batches_hold_one_shape_and_are_full_but_for_the_last(sides: list[int], size: int) -> None:
    found: dict[int, list[int]] = {}
    for batch in form(loaded(sides), {}, lambda _: size):
        assert len({sides[item.index] for item in batch.items}) == 1
        found.setdefault(sides[batch.items[0].index], []).append(len(batch.items))
    for side, counts in found.items():
        assert sum(counts) == sides.count(side)
        assert all(count == size for count in counts[:-1])


def wait_until_read(source: InMemory, count: int) -> None:
    end = time.monotonic() + PATIENCE
    while len(source.read_so_far) < count:
        assert time.monotonic() < end
        time.sleep(0.002)


def test_reading_and_writing_go_on_while_a_batch_is_explained(
    explain: Explain, model: nn.Module
) -> None:
    source = InMemory(list(torch.randn(12, 2, 5, 5, dtype=torch.float64)))
    written = threading.Event()

    class Waiting(LocalEngine):
        def explain(self, batches: Iterable[Batch]) -> Iterator[Explained]:
            for number, batch in enumerate(batches):
                # What this batch and the next two consist of is read while it is at work.
                wait_until_read(source, min(12, 3 * number + 9))
                if number:
                    assert written.wait(PATIENCE)
                found = next(super().explain([batch]))
                yield Noticing(found.rows, found.relevance, found.size)

    class Noticing(Explained):
        @property
        def done(self) -> list[Row]:
            if threading.current_thread() is not threading.main_thread():
                written.set()
            return super().done

    explain(source, Waiting(LRP(model), batch_size=3))


def test_no_more_is_read_ahead_than_two_batches(explain: Explain, model: nn.Module) -> None:
    source = InMemory(list(torch.randn(40, 2, 5, 5, dtype=torch.float64)))

    class Counting(LocalEngine):
        def explain(self, batches: Iterable[Batch]) -> Iterator[Explained]:
            for number, batch in enumerate(batches, 1):
                assert len(source.read_so_far) <= 3 * number + 2 * 3 + 1
                yield from super().explain([batch])

    explain(source, Counting(LRP(model), batch_size=3))
    assert sorted(source.read_so_far) == list(range(40))
