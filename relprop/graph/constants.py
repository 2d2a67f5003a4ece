"""The tensors of a model that do not depend on its inputs, and what is derived from them.

A weight may change between two explanations: an optimizer step, `load_state_dict`, a new
`nn.Parameter` in its place. Derived tensors (folded batch norms, `W+`) are therefore cached with a
stamp of what they were made from, and made again when the stamp differs. All graphs of a model
share what they derive alike.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from relprop.graph.exclusion import WEIGHTS
from relprop.graph.node import Constant, Operand, Value

SAMPLES = 64  # elements of a weight that a stamp remembers


#: A root's place in the model, or a function and the keys of what it is called with.
Key = Hashable


@dataclass(frozen=True)
class Root:
    """A constant that is looked up; `key` tells whether two graphs mean the same one."""

    key: Key
    look_up: Callable[[], Tensor]


@dataclass(frozen=True)
class Recipe:
    """How to make a constant from other constants."""

    make: Callable[..., Tensor]
    sources: tuple[Value, ...]


class Stamp:
    """What a tensor was at one moment: its storage, its version, and a sample of its elements.

    torch counts in-place writes, but not those that go through `parameter.data`; the sample is for
    these (on the CPU only, where looking costs no synchronisation). Holding on to the storage keeps
    its address from being given to another tensor.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.alias = tensor.detach()
        self.version = _version(tensor)
        self.form = _form(tensor)
        self.seen = _seen(self.alias) if tensor.device.type == "cpu" else None
        self.sample = None if self.seen is None else self.seen.clone()
        self.shows_changes = self.seen is not None and _memory(self.seen) == _memory(self.alias)

    def fits(self, tensor: Tensor) -> bool:
        """Whether `tensor` still is what it was."""
        return (
            self.version is not None
            and self.version == _version(tensor)
            and self.alias.data_ptr() == tensor.data_ptr()
            and self.form == _form(tensor)
            and (self.sample is None or torch.equal(self.sample, self._seen_now()))
        )

    def _seen_now(self) -> Tensor:
        """Through the alias, which has the tensor's memory wherever it has its address and form."""
        if self.seen is not None and self.shows_changes:
            return self.seen
        return _seen(self.alias)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


def _form(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def _seen(tensor: Tensor) -> Tensor:
    """A few elements, by a view of them where they fill their memory, in whatever order."""
    order = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
    flat = tensor.permute(order).reshape(-1)
    return flat[:: max(1, flat.numel() // SAMPLES)]


@dataclass(frozen=True)
class Store:
    """What has been made for a model.

    Attributes:
        stamps: for every root its last stamp, and how many different ones it has had.
        made: by key, what was made, and the counts of the roots that it was made from.
    """

    stamps: dict[Key, tuple[Stamp, int]] = field(default_factory=dict)
    made: dict[Key, tuple[tuple[int, ...], Tensor]] = field(default_factory=dict)


class Constants:
    """Every constant of a graph by name: a *root* is looked up, the rest is made by its recipe."""

    def __init__(self, roots: Mapping[Value, Root], store: Store) -> None:
        self.roots = dict(roots)
        self.recipes: dict[Value, Recipe] = {}
        self.store = store
        self._keys: dict[Value, Key] = {value: root.key for value, root in roots.items()}

    def add(self, value: Value, make: Callable[..., Tensor], *sources: Value) -> Value:
        """Name a constant that `make` computes from `sources`; returns the name.

        Functions that compare equal must make the same.
        """
        self.recipes[value] = Recipe(make, sources)
        self._keys[value] = (make, *map(self.key, sources))
        return value

    def add_call(
        self, value: Value, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Value:
        """Name what a call of constants gives; returns the name."""
        sources: list[Value] = []

        def place(argument: Any) -> Any:
            if isinstance(argument, Constant):
                sources.append(argument.value)
                return Operand(len(sources) - 1)
            return [place(a) for a in argument] if isinstance(argument, (list, tuple)) else argument

        def fill(argument: Any, tensors: Sequence[Tensor]) -> Any:
            if isinstance(argument, Operand):
                return tensors[argument.index]
            return [fill(a, tensors) for a in argument] if isinstance(argument, list) else argument

        placed, named = place(args), {name: place(item) for name, item in kwargs.items()}

        def make(*tensors: Tensor) -> Tensor:
            result: Tensor = target(
                *fill(placed, tensors),
                **{name: fill(item, tensors) for name, item in named.items()},
            )
            return result

        return self.add(value, make, *sources)

    def key(self, value: Value) -> Key:
        """The same for constants of two graphs that are the same."""
        return self._keys[value]

    def now(self) -> Snapshot:
        """The constants as the model's weights are at this moment."""
        return Snapshot(self)

    def live(self) -> Snapshot:
        """The same, with the gradients that torch records of what is made of the weights."""
        return LiveSnapshot(self)


class Snapshot:
    """The constants at one moment: every root is looked at once, at its first use."""

    def __init__(self, constants: Constants) -> None:
        self._all = constants
        self._tensors: dict[Any, Tensor] = {}
        self._counts: dict[Value, tuple[int, ...]] = {}

    def __getitem__(self, value: Value) -> Tensor:
        if value not in self._tensors:
            if value in self._all.roots:
                self._look_up(value)
            else:
                recipe = self._all.recipes[value]
                self._make(value, self._all.key(value), recipe.make, recipe.sources)
        return self._tensors[value]

    def versions(self) -> tuple[int, ...]:
        """How often each root has changed so far: equal as long as all constants are."""
        for root in self._all.roots:
            if root not in self._tensors:
                self._look_up(root)
        return tuple(self._counts[root][0] for root in self._all.roots)

    def derive(self, value: Value, make: Callable[[Tensor], Tensor]) -> Tensor:
        """`make(constant)`, kept until the constant changes. `make` must be a named function."""
        name = (value, make)
        if name not in self._tensors:
            self._make(name, (make, self._all.key(value)), make, (value,))
        return self._tensors[name]

    def _look_up(self, value: Value) -> None:
        root, stamps = self._all.roots[value], self._all.store.stamps
        with WEIGHTS:
            tensor = root.look_up().detach()
            last, count = stamps.get(root.key, (None, 0))
            if last is None or not last.fits(tensor):
                count += 1
                stamps[root.key] = (Stamp(tensor), count)
        self._tensors[value], self._counts[value] = tensor, (count,)

    def _make(
        self, name: Any, key: Key, make: Callable[..., Tensor], sources: tuple[Value, ...]
    ) -> None:
        tensors = [self[source] for source in sources]
        counts = tuple(count for source in sources for count in self._counts[source])
        made = self._all.store.made
        kept = made.get(key)
        if kept is None or kept[0] != counts:
            kept = (counts, make(*tensors))
            made[key] = kept
        self._counts[name], self._tensors[name] = kept


class LiveSnapshot(Snapshot):
    """The constants as functions of the model's own weights: nothing is kept, nor detached."""

    def _look_up(self, value: Value) -> None:
        with WEIGHTS:
            self._tensors[value] = self._all.roots[value].look_up()

    def _make(
        self, name: Any, key: Key, make: Callable[..., Tensor], sources: tuple[Value, ...]
    ) -> None:
        self._tensors[name] = make(*(self[source] for source in sources))
