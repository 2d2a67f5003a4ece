"""What arrived at a cut, box by box, from a file or from a mean over all of space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from relprop.attribution.tiling.methods import Method, Packed
from relprop.graph.intervals import Box, lengths
from relprop.graph.node import Node, Value
from relprop.large.pieces import NOTHING, Pieces

POINT: Box = ((0, 1), (0, 1))
"""All the space that a message has which is the same everywhere."""


class Messages(Protocol):
    """Messages at a cut."""

    def part(self, box: Box) -> Any:
        """The message at a box of the cut, or None where nothing arrived."""


@dataclass(frozen=True)
class Unpacking:
    """How pieces become messages again, on a device, by the nodes of the whole graph."""

    method: Method[Any]
    makers: Mapping[Value, Node]
    device: torch.device

    def message(self, packed: Packed) -> Any:
        """The message, or None."""
        if packed.form == NOTHING.form:
            return None
        tensors = {name: t.to(self.device) for name, t in packed.tensors.items()}
        message = self.method.unpacked(Packed(packed.form, tensors), self.makers)
        return message if self.method.flows(message) else None


@dataclass(frozen=True)
class FromPieces:
    """Messages that tiles of the stage above sent."""

    pieces: Pieces
    unpacking: Unpacking

    def part(self, box: Box) -> Any:
        """What all tiles sent to the box, added up."""
        return self.unpacking.message(self.pieces.sum(box))


@dataclass(frozen=True)
class FromMean:
    """Messages of a mean over space, which are the same at every point."""

    pieces: Pieces
    unpacking: Unpacking

    def part(self, box: Box) -> Any:
        """The one message, all over the box."""
        message = self.unpacking.message(self.pieces.sum(POINT))
        if message is None:
            return None
        return self.unpacking.method.each(message, lambda t: t.expand(-1, -1, *lengths(box)))
