"""The tensors of a model that do not depend on its inputs, and what is derived from them.

A weight may change between two explanations: an optimizer step, `load_state_dict`, a new
`nn.Parameter` in its place. Derived tensors (folded batch norms, `W+`) are therefore cached with a
stamp of what they were made from, and made again when the stamp differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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


class Constants(Mapping[Value, Tensor]):
    """Every constant of a graph by name: a *root* is looked up, the rest is made by its recipe."""

    def __init__(self, roots: Mapping[Value, Callable[[], Tensor]]) -> None:
        self._roots = dict(roots)
        self._recipes: dict[Value, Recipe] = {}
        self._cache: dict[Any, tuple[tuple[Stamp, ...], Tensor]] = {}

    def add(self, value: Value, make: Callable[..., Tensor], *sources: Value) -> Value:
        """Name a constant that `make` computes from `sources`; returns the name."""
        self._recipes[value] = Recipe(make, sources)
        return value

    def __getitem__(self, value: Value) -> Tensor:
        if value in self._roots:
            return self._roots[value]().detach()
        recipe = self._recipes[value]
        return self._cached(value, recipe.make, recipe.sources)

    def derive(self, value: Value, make: Callable[[Tensor], Tensor]) -> Tensor:
        """`make(constant)`, kept until the constant changes. `make` must be a named function."""
        return self._cached((value, make), make, (value,))

    def _cached(self, key: Any, make: Callable[..., Tensor], sources: tuple[Value, ...]) -> Tensor:
        tensors = [self[source] for source in sources]
        entry = self._cache.get(key)
        if entry is not None and all(
            stamp.fits(tensor) for stamp, tensor in zip(entry[0], tensors, strict=True)
        ):
            return entry[1]
        made = make(*tensors)
        self._cache[key] = (tuple(Stamp(tensor) for tensor in tensors), made)
        return made

    def __iter__(self) -> Iterator[Value]:
        yield from self._roots
        yield from self._recipes

    def __len__(self) -> int:
        return len(self._roots) + len(self._recipes)
