"""Explanations as programs of tensors alone, for torch.export, torch.compile, and files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from relprop.attribution.attributor import Plan
from relprop.attribution.explanation import Tensors
from relprop.graph.capture import silent
from relprop.graph.constants import Constants, Snapshot
from relprop.graph.exclusion import WEIGHTS
from relprop.graph.node import Value

IN_ORDER = torch.contiguous_format
#: What is explained of the constants, of the tensors handed over, and of what to send back.
Explain = Callable[[Snapshot, Tensors, Tensor], Tensors]


class _Recorded(Snapshot):
    """Constants as they are now, and a note of each that somebody takes."""

    def __init__(self, constants: Constants) -> None:
        super().__init__(constants)
        self.taken: dict[Any, Tensor] = {}
        self._now = constants.now()

    def __getitem__(self, value: Value) -> Tensor:
        self.taken[value] = tensor = self._now[value]
        return tensor

    def derive(self, value: Value, make: Callable[[Tensor], Tensor]) -> Tensor:
        self.taken[value, make] = tensor = self._now.derive(value, make)
        return tensor


class _Buffers(Snapshot):
    """Constants that a module holds."""

    def __init__(self, constants: Constants, module: _Explanation) -> None:
        super().__init__(constants)
        self._module = module

    def __getitem__(self, value: Value) -> Tensor:
        return self._module.constant(value)

    def derive(self, value: Value, make: Callable[[Tensor], Tensor]) -> Tensor:
        return self._module.constant((value, make))


class _Explanation(nn.Module):
    """What `explain` makes of tensors and a target, with the weights as they are now."""

    def __init__(self, plan: Plan, explain: Explain, taken: dict[Any, Tensor]) -> None:
        super().__init__()
        self._plan, self._explain = plan, explain
        #: By key a buffer's name, and the order of its dimensions in which it fills its memory.
        self._kept: dict[Any, tuple[str, list[int]]] = {}
        for number, (key, tensor) in enumerate(taken.items()):
            name = f"weight{number}"
            order = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
            self._kept[key] = name, order
            self.register_buffer(name, tensor.permute(order).clone(memory_format=IN_ORDER))

    def constant(self, key: Any) -> Tensor:
        """A weight, or what is made of it; in the order of dimensions that it was in."""
        name, order = self._kept[key]
        return self.get_buffer(name).permute([order.index(d) for d in range(len(order))])

    @torch.no_grad()
    def forward(self, *arguments: Tensor) -> Tensor | Tensors:
        """The explanation of each input; a target comes last."""
        *tensors, target = arguments
        constants = _Buffers(self._plan.capture.constants, self)
        found = self._explain(constants, tuple(tensors), target)
        return found[0] if len(found) == 1 else found


def exported(plan: Plan, explain: Explain, tensors: Tensors, output: Tensor) -> ExportedProgram:
    """The program that explains tensors like these for any targets; `output` is the model's.

    It holds for all batches that torch can make it hold for.
    """
    target = torch.zeros(len(output), max(1, output.dim() - 1), dtype=torch.int64)
    target = (target.squeeze(1) if output.dim() < 3 else target).to(output.device)
    recorded = _Recorded(plan.capture.constants)
    explain(recorded, tensors, target)
    module = _Explanation(plan, explain, recorded.taken)
    given = (*tensors, target)
    n = len(output)
    batched = tuple({0: Dim.AUTO} if t.dim() and len(t) == n else None for t in given)
    with WEIGHTS, silent(), torch.enable_grad():
        return torch.export.export(module, given, dynamic_shapes=(batched,), strict=False)


def seed_of(target: Tensor, output: Tensor) -> Tensor:
    """1 at each example's target, (N,) or (N, dimensions) numbers, and 0 elsewhere."""
    if output.dim() == 1:
        return torch.ones_like(output)
    rows = torch.arange(output.shape[0], device=output.device)
    places = (target,) if target.dim() == 1 else target.unbind(1)
    return torch.zeros_like(output).index_put((rows, *places), output.new_ones(()))


def for_export(arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Arguments with two examples where there is one, which torch.export takes for a constant."""
    return tuple(
        a.expand(2, *a.shape[1:]) if isinstance(a, Tensor) and a.dim() and len(a) == 1 else a
        for a in arguments
    )


def with_tensors(arguments: Sequence[Any], tensors: Sequence[Tensor]) -> tuple[Any, ...]:
    """The arguments, with other tensors in the places of theirs."""
    rest = iter(tensors)
    return tuple(next(rest) if isinstance(a, Tensor) else a for a in arguments)
