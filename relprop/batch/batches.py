"""Forming batches: items of one shape go together, as many as fit.

Which items share a batch depends on the order of the items and on their shapes only, not on what
earlier runs have explained. So a run that is continued makes the batches that it would have made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from relprop.batch.items import Batch, Loaded, Shape

SHAPES = 8
"""How many shapes may have an unfinished batch; then the one that has waited longest goes."""


def form(
    loaded: Iterable[Loaded], sizes: dict[Shape, int], size_of: Callable[[Tensor], int]
) -> Iterator[Batch]:
    """Batches of the items that have inputs; items without take their places, and no more.

    Args:
        loaded: the items, in their order.
        sizes: how many of a shape go together, as far as it is known; what is found is added.
        size_of: how many examples like this one go together; called once a shape.
    """
    waiting: dict[Shape, list[Loaded]] = {}
    for one in loaded:
        if one.shape not in sizes:
            if one.inputs is None:
                continue  # explained in batches of another size, which are not to be made again
            sizes[one.shape] = size_of(one.inputs)
        waiting.setdefault(one.shape, []).append(one)
        if len(waiting[one.shape]) >= sizes[one.shape]:
            yield from _stacked(waiting.pop(one.shape), sizes)
        elif len(waiting) > SHAPES:
            yield from _stacked(waiting.pop(next(iter(waiting))), sizes)
    for members in waiting.values():
        yield from _stacked(members, sizes)


def _stacked(members: list[Loaded], sizes: dict[Shape, int]) -> Iterator[Batch]:
    found = [(one.item, one.inputs) for one in members if one.inputs is not None]
    if found:
        items, inputs = zip(*found, strict=True)
        yield Batch(items, torch.stack(inputs), sizes[members[0].shape])
