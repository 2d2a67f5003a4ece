"""The shapes of all activations of a graph, found without computing any of them.

The graph is run on torch's fake tensors, which have a shape, a type and a device, but no elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Size, Tensor, dtype
from torch._subclasses.fake_tensor import FakeTensorMode

from relprop.graph.constants import Snapshot
from relprop.graph.node import Run, Value
from relprop.graph.sweep import Sweep


@dataclass(frozen=True)
class Sizes:
    """What is known of every activation and scalar of a graph before it runs."""

    shapes: Mapping[Value, Size]
    dtypes: Mapping[Value, dtype]
    scalars: Mapping[Value, Any]

    def bytes(self, value: Value) -> int:
        """How much memory an activation takes."""
        return math.prod(self.shapes[value]) * self.dtypes[value].itemsize


class _Fake(Snapshot):
    """The constants of a snapshot as fake tensors; none is cached where real ones are."""

    def __init__(self, constants: Snapshot, mode: FakeTensorMode) -> None:
        self._real, self._mode = constants, mode

    def __getitem__(self, value: Value) -> Tensor:
        return self._mode.from_tensor(self._real[value])

    def derive(self, value: Value, make: Callable[[Tensor], Tensor]) -> Tensor:
        return make(self[value])


def find_sizes(sweep: Sweep, constants: Snapshot, arguments: Mapping[Value, Tensor]) -> Sizes:
    """The sizes of a sweep's graph for such arguments."""
    # The mode is not entered, so that constants are still computed in truth.
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    fake = {value: mode.from_tensor(tensor) for value, tensor in arguments.items()}
    run: Run = sweep.plainly().forward(_Fake(constants, mode), fake)
    return Sizes(run.shapes, run.dtypes, run.scalars)
