"""A data set of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

from torch import Tensor

from relprop.batch import Item
from relprop.errors import InvalidInputError


class InMemory:
    """A data set of tensors; what is None cannot be read, and what is empty is a riddle."""

    def __init__(
        self, tensors: Sequence[Tensor | None], targets: Sequence[str | None] = ()
    ) -> None:
        self.tensors = list(tensors)
        targets = targets or [None] * len(tensors)
        self.items = [Item(i, f"item-{i}", target) for i, target in enumerate(targets)]
        shapes = {tuple(t.shape) for t in tensors if t is not None and t.numel()}
        self.shape = shapes.pop() if len(shapes) == 1 else None
        self.read_so_far: list[int] = []

    def read(self, item: Item) -> Tensor:
        tensor = self.tensors[item.index]
        self.read_so_far.append(item.index)
        if tensor is None:
            raise InvalidInputError(f"{item.name}: is damaged")
        if not tensor.numel():
            raise KeyError("tag 274")
        return tensor

    def part(self, items: list[Item]) -> InMemory:
        some = copy(self)
        some.items = items
        return some
