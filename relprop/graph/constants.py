"""The tensors of a model that do not depend on its inputs, and what is derived from them.

A weight may change between two explanations: an optimizer step, `load_state_dict`, a new
`nn.Parameter` in its place. Derived tensors (folded batch norms, `W+`) are therefore cached with a
stamp of what they were made from, and made again when the stamp differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relprop.graph.node import Value

SAMPLES = 64  # elements of a weight that a stamp remembers


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
        self.sample = _sample(tensor)

    def fits(self, tensor: Tensor) -> bool:
        """Whether `tensor` still is what it was."""
        return (
            self.version is not None
            and self.version == _version(tensor)
            and self.alias.data_ptr() == tensor.data_ptr()
            and self.alias.shape == tensor.shape
            and self.alias.stride() == tensor.stride()
            and self.alias.dtype == tensor.dtype
            and self.alias.device == tensor.device
            and (self.sample is None or torch.equal(self.sample, _view(tensor)))
        )


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


def _view(tensor: Tensor) -> Tensor:
    flat = tensor.detach().reshape(-1) if tensor.is_contiguous() else tensor.detach().flatten()
    return flat[:: max(1, flat.numel() // SAMPLES)]


def _sample(tensor: Tensor) -> Tensor | None:
    return _view(tensor).clone() if tensor.device.type == "cpu" else None


class Constants:
    """Every constant of a graph by name: a *root* is looked up, the rest is made by its recipe."""

    def __init__(self, roots: Mapping[Value, Callable[[], Tensor]]) -> None:
        self.roots = dict(roots)
        self.recipes: dict[Value, Recipe] = {}
        #: For every root its last stamp, and how many different ones it has had.
        self.stamps: dict[Value, tuple[Stamp, int]] = {}
        #: What was made, and the counts of the roots that it was made from.
        self.made: dict[Any, tuple[tuple[int, ...], Tensor]] = {}

    def add(self, value: Value, make: Callable[..., Tensor], *sources: Value) -> Value:
        """Name a constant that `make` computes from `sources`; returns the name."""
        self.recipes[value] = Recipe(make, sources)
        return value

    def now(self) -> Snapshot:
        """The constants as the model's weights are at this moment."""
        return Snapshot(self)


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
                self._make(value, recipe.make, recipe.sources)
        return self._tensors[value]

    def versions(self) -> tuple[int, ...]:
        """How often each root has changed so far: equal as long as all constants are."""
        for root in self._all.roots:
            if root not in self._tensors:
                self._look_up(root)
        return tuple(self._counts[root][0] for root in self._all.roots)

    def derive(self, value: Value, make: Callable[[Tensor], Tensor]) -> Tensor:
        """`make(constant)`, kept until the constant changes. `make` must be a named function."""
        key = (value, make)
        if key not in self._tensors:
            self._make(key, make, (value,))
        return self._tensors[key]

    def _look_up(self, root: Value) -> None:
        tensor = self._all.roots[root]().detach()
        last, count = self._all.stamps.get(root, (None, 0))
        if last is None or not last.fits(tensor):
            count += 1
            self._all.stamps[root] = (Stamp(tensor), count)
        self._tensors[root], self._counts[root] = tensor, (count,)

    def _make(self, key: Any, make: Callable[..., Tensor], sources: tuple[Value, ...]) -> None:
        tensors = [self[source] for source in sources]
        counts = tuple(count for source in sources for count in self._counts[source])
        kept = self._all.made.get(key)
        if kept is None or kept[0] != counts:
            kept = (counts, make(*tensors))
            self._all.made[key] = kept
        self._counts[key], self._tensors[key] = kept
