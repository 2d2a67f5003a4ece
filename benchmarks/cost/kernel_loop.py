"""Each kernel alone, in a loop in C++ on one thread, against what one thread can do at most.

A kernel that moves memory is held against a copy of as many bytes in the same loop; a convolution
against torch's own, counted with the operations of direct summation, which filtering saves.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.cost.limits import LIMITS
from benchmarks.cost.operators import Arguments, Operator, bytes_moved
from relprop import ops
from relprop.ops.backends import backends

CONVOLUTION = "conv2d"


@dataclass(frozen=True)
class KernelLoop:
    """What came of one kernel.

    Attributes:
        seconds: of the kernel, round by round.
        limit: of what it is held against.
        work: what is done in one round: 1e9 bytes moved, or 1e9 operations.
        unit: of work over time, "GB/s" or "GFLOP/s".
    """

    seconds: tuple[float, ...]
    limit: tuple[float, ...]
    work: float
    unit: str

    @property
    def rate(self) -> float:
        """Work a second."""
        return self.work / statistics.median(self.seconds)

    @property
    def share(self) -> float:
        """Of the rate that its limit reaches."""
        return statistics.median(self.limit) / statistics.median(self.seconds)


def time_alone(operator: Operator, arguments: Arguments, rounds: int) -> KernelLoop | None:
    """One operator's kernel, or None where plain torch serves it, or no loop was built."""
    found = backends()
    if not found.build or found.serving(operator.name, "cpu").serves != "native":
        return None
    with _one_thread(), torch.no_grad():
        timing = ops.time_kernel(operator.name, arguments, rounds)
        results = timing.results if isinstance(timing.results, tuple) else (timing.results,)
        if operator.limit.startswith(CONVOLUTION):
            limit = _seconds(LIMITS[operator.limit](arguments, results), rounds)
            return KernelLoop(timing.seconds, limit, operations(arguments) / 1e9, "GFLOP/s")
        size = bytes_moved(arguments, results)
        copy = ops.time_copy(size // 2, rounds)
        return KernelLoop(timing.seconds, copy, size / 1e9, "GB/s")


def operations(arguments: Arguments) -> int:
    """Multiplications and additions of a convolution, x first and the weight next, by its sums.

    Padding makes up for the border. Whatever else has the shape of x is convolved, too.
    """
    x, weight = arguments[:2]
    inputs = sum(isinstance(a, Tensor) and a.shape == x.shape for a in arguments)
    multiplications: int = inputs * x.numel() * weight.numel() // x.shape[1]
    return 2 * multiplications


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seconds(call: Callable[[], Any], rounds: int) -> tuple[float, ...]:
    call()
    found = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        found.append(time.perf_counter() - begin)
    return tuple(found)
