"""Every kernel on small operands in every type and order, for a tool that watches its memory.

Results are compared with the reference's in float64 on the CPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.cost.operators import OPERATORS, Operator
from benchmarks.gpu.convolutions import convolutions
from relprop.ops.backends import backends

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
ORDERS = (torch.contiguous_format, torch.channels_last)
AWKWARD = (2, 5, 7, 9)
"""A shape of pictures that no vector length divides; of dense layers another is taken."""
UNITS = 64
"""Of the type's last place, of the largest number, that a result may be off."""
TENSOR_CORES = (torch.float32, torch.bfloat16)
"""What is multiplied on tensor cores, the former in TF32."""
TF32 = 2**-7
"""What such a product may be off, of the largest: eight times its operands' last place."""
REFERENCE = 1e-10
"""The same of the reference in float64, whose quotients of small differences are off themselves."""


def rows(device: str) -> list[Operator]:
    """The operators that have a kernel for such a device."""
    here = [row for row in backends().rows if row.device == device]
    served = {row.operator for row in here if row.serves == "native"}
    return [row for row in OPERATORS if row.name in served]


def cast(t: Any, dtype: torch.dtype, order: torch.memory_format) -> Any:
    """A tensor in another type, pictures in another order; anything else as it is."""
    if not isinstance(t, Tensor):
        return t
    return t.to(dtype).contiguous(memory_format=order) if t.dim() == 4 else t.to(dtype)


def moved(t: Any, device: torch.device) -> Any:
    """A tensor on another device, in the order that it has."""
    return t.to(device) if isinstance(t, Tensor) else t


def in_float64(t: Any) -> Any:
    """A tensor in float64."""
    return t.double() if isinstance(t, Tensor) else t


def cases(
    row: Operator, dtypes: Sequence[torch.dtype] = DTYPES
) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Arguments on the CPU, and what they are."""
    shapes = {row.small, AWKWARD} if len(row.shape) == 4 else {row.small}
    for shape in sorted(shapes):
        for dtype in dtypes:
            for order in ORDERS[: 2 if len(shape) == 4 else 1]:
                arguments = tuple(cast(a, dtype, order) for a in row.arguments(shape))
                yield arguments, f"{row}, {shape}, {dtype}, {order}"


def deviation(
    row: Operator, arguments: tuple[Any, ...], device: torch.device, least: float = REFERENCE
) -> float:
    """How far the device's results are off, in units of what is allowed; that is at least so much.

    Of the largest number, as everything here.
    """
    found = row.call(tuple(moved(a, device) for a in arguments))
    expected = row.reference(tuple(map(in_float64, arguments)))
    worst = 0.0
    for one, truth in zip(found, expected, strict=True):
        most = torch.finfo(one.dtype).max
        truth = truth.clamp(-most, most)
        off = (one.cpu().double().clamp(-most, most) - truth).abs().max().item()
        allowed = max(least, UNITS * torch.finfo(one.dtype).eps)
        share = off / (allowed * max(1.0, truth.abs().max().item()))
        worst = max(worst, share if share == share else float("inf"))
    return worst


def main() -> None:
    """Run them all; fail where one is off."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    device = torch.device(parser.parse_args().device)
    wrong, count = [], 0
    every = [(row, DTYPES, REFERENCE) for row in rows(device.type)]
    every += [(row, TENSOR_CORES, TF32) for row in convolutions(device.type)]
    for row, dtypes, least in every:
        for arguments, title in cases(row, dtypes):
            count += 1
            if deviation(row, arguments, device, least) > 1:
                wrong.append(title)
    if wrong:
        raise SystemExit(f"{len(wrong)} of {count} calls are off, the first: {wrong[0]}")
    if not count:
        raise SystemExit(f"no operator has a kernel for {device.type}")
    print(f"{count} calls, all as the reference has them")


if __name__ == "__main__":
    with torch.no_grad():
        main()
