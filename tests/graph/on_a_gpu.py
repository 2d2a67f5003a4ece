"""Sweeps on tensors without elements, which like those on a GPU are on no CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from relprop.graph.constants import Snapshot

#: What takes a number from the host to a device by a copy, for which the host waits.
COPIES = ("aten::lift_fresh", "aten::_to_copy", "aten::copy_", "aten::where")


class Asked(TorchDispatchMode):
    """Notes which operators are asked for, and which of them reach over to the host.

    A look at a tensor's elements needs no note, as there are none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operators: set[str] = set()
        self.with_host: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.name().split(".")[0]
        self.operators.add(name)
        on_host = [a for a in args if isinstance(a, Tensor) and a.device.type == "cpu"]
        # A number goes with the call of most operators, but these copy it.
        if on_host and (name in COPIES or any(t.dim() for t in on_host)):
            self.with_host.append(name)
        return result


class OffCpu(Snapshot):
    """The constants of a snapshot without their elements."""

    def __init__(self, constants: Snapshot) -> None:
        self._real = constants

    def __getitem__(self, value: str) -> Tensor:
        with _disable_current_modes():
            return off_cpu(self._real[value])

    def derive(self, value: str, make: Callable[[Tensor], Tensor]) -> Tensor:
        return make(self[value])


def off_cpu(t: Tensor) -> Tensor:
    """A tensor like t, without elements."""
    return torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="meta")
