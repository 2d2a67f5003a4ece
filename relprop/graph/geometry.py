"""What is known of a node that runs on a part of space.

Space is the last dimensions of every activation, as many as the images have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from relprop.graph import fx_nodes
from relprop.graph.constants import Snapshot
from relprop.graph.intervals import Box
from relprop.graph.node import Node, Scalar
from relprop.graph.sizes import Sizes


class Untileable(Exception):
    """A node needs more than a part of space; the message says why."""


@dataclass(frozen=True)
class Geometry:
    """A node as it runs on a part of space.

    Attributes:
        reads: the box of every input that a box of the output is made from.
        gives: the box that the node gives, run on these inputs alone, if it is another.
        changes: the fields in which the node that does so differs.
    """

    reads: Callable[[Box], Box]
    gives: Callable[[Box], Box] = lambda out: out
    changes: Callable[[Node, Box], dict[str, Any]] = lambda node, out: {}


@dataclass(frozen=True)
class Pointwise(Geometry):
    """A node whose output has at each point what comes from the same point of its inputs.

    With one input it runs on whatever there is of it.
    """

    reads: Callable[[Box], Box] = lambda out: out


@dataclass(frozen=True)
class Place:
    """What a geometry is made from: a node among sizes and constants, in so many dimensions."""

    node: Any
    sizes: Sizes
    constants: Snapshot
    dims: int

    @property
    def given(self) -> tuple[int, ...]:
        """The shape of the first input."""
        return self.sizes.shapes[self.node.inputs[0]]

    @property
    def made(self) -> tuple[int, ...]:
        """The shape of the output."""
        return self.sizes.shapes[self.node.output]

    @property
    def space(self) -> tuple[int, ...]:
        """The size of the first input's space."""
        return self.given[-self.dims :]

    def argument(self, name: str) -> Any:
        """An argument of the node's operator by its name, sizes filled in."""
        found = fx_nodes.by_name(self.node.target, self.node.args, self.node.kwargs).get(name)
        return self._filled(found)

    def _filled(self, argument: Any) -> Any:
        if isinstance(argument, Scalar):
            return self.sizes.scalars[argument.value]
        if isinstance(argument, (list, tuple)):
            return [self._filled(item) for item in argument]
        return argument

    def spread(self, name: str) -> list[int]:
        """An argument with one entry for every dimension of space, or one for all."""
        found = self.argument(name)
        entries = found if isinstance(found, list) else [found]
        return entries * self.dims if len(entries) == 1 else entries

    def outside(self, dim: int) -> bool:
        """Whether a dimension of the input is none of space."""
        return dim % len(self.given) < len(self.given) - self.dims
