"""Seconds on a device: of a GPU by its own events, between which the CPU does not wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

Call = Callable[[], object]


@dataclass(frozen=True)
class Clock:
    """For one device."""

    device: torch.device

    @property
    def is_gpu(self) -> bool:
        """Whether kernels run beside the CPU."""
        return self.device.type == "cuda"

    def rounds(self, call: Call, count: int) -> list[float]:
        """Seconds of each of so many calls, queued one behind the other on a GPU."""
        if not self.is_gpu:
            return [self._by_wall(call) for _ in range(count)]
        events = [torch.cuda.Event(enable_timing=True) for _ in range(2 * count)]
        for k in range(count):
            events[2 * k].record()
            call()
            events[2 * k + 1].record()
        torch.cuda.synchronize(self.device)
        pairs = zip(events[::2], events[1::2], strict=True)
        return [1e-3 * begin.elapsed_time(end) for begin, end in pairs]

    def alone(self, call: Call) -> float:
        """Seconds of one call, from when the device is idle to when it is idle again."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)
        begin = time.perf_counter()
        call()
        if self.is_gpu:
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - begin

    def _by_wall(self, call: Call) -> float:
        begin = time.perf_counter()
        call()
        return time.perf_counter() - begin

    @property
    def cache(self) -> int:
        """Bytes of the GPU's last cache."""
        if not self.is_gpu:
            return 0
        return int(torch.cuda.get_device_properties(self.device).L2_cache_size)


def first_line(fault: BaseException) -> str:
    """An exception in one line."""
    said = str(fault).strip().splitlines()
    return f"{type(fault).__name__}: {said[0]}" if said else type(fault).__name__
