"""What serves each operator on each device, so that a silent fallback shows."""

import importlib
from dataclasses import dataclass, field
from functools import cache

import torch

from .library import KERNELS, SCHEMAS, Kernels


@dataclass(frozen=True)
class Backend:
    """What serves one operator on one kind of device.

    Attributes:
        operator: its name in ``torch.ops.relprop``.
        device: "cpu" or "cuda".
        serves: "native" (a compiled kernel) or "reference" (plain PyTorch).
        reason: why no kernel serves it; empty if one does.
    """

    operator: str
    device: str
    serves: str
    reason: str


@dataclass(frozen=True)
class Backends:
    """All operators on all devices; prints as a table.

    Attributes:
        rows: one for every operator and device.
        build: how the kernels were built (compiler, torch, CUDA architectures) and the instruction
            set that this processor gets; empty where relprop was built for another Python.
    """

    rows: tuple[Backend, ...]
    build: dict[str, str] = field(default_factory=dict)

    def serving(self, operator: str, device: str) -> Backend:
        """The backend of one operator on one kind of device."""
        for row in self.rows:
            if (row.operator, row.device) == (operator, device):
                return row
        raise KeyError(f"no operator {operator!r} on device {device!r}")

    def __str__(self) -> str:
        """One line for every operator and device, and one for every fact about the build."""
        heading = ("operator", "device", "serves", "")
        table = [heading, *((r.operator, r.device, r.serves, r.reason) for r in self.rows)]
        widths = [max(len(line[column]) for line in table) for column in range(4)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        ]
        return "\n".join(lines + [f"{fact}: {value}" for fact, value in self.build.items()])


def backends() -> Backends:
    """Say for every operator what serves it on each kind of device, and why no kernel does.

    Returns:
        A table; ``print(relprop.backends())`` shows it.
    """
    rows = []
    for operator in SCHEMAS:
        for kernels in KERNELS:
            native = is_native(operator, kernels)
            reason = "" if native else kernels.absent or "the library has no kernel for it"
            serves = "native" if native else "reference"
            rows.append(Backend(operator, kernels.device, serves, reason))
    return Backends(tuple(rows), _build_facts())


def is_native(operator: str, kernels: Kernels) -> bool:
    """Whether the library holds a kernel of the operator that runs on this processor."""
    native: bool = torch._C._dispatch_has_kernel_for_dispatch_key(
        f"relprop::{operator}", kernels.dispatch_key
    )
    return native


@cache
def is_built(operator: str, device: str) -> bool:
    """Whether a kernel of the operator serves this kind of device."""
    return any(is_native(operator, k) for k in KERNELS if k.device == device)


def _build_facts() -> dict[str, str]:
    """What the compiled module says; it serves one Python version, unlike the kernels."""
    try:
        bindings = importlib.import_module("relprop._bindings")
    except ImportError:
        return {}
    return dict(bindings.build_facts())
