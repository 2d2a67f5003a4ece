"""Which machine it is, and how fast it copies and multiplies: what figures are held to."""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import report
from benchmarks.gpu.clock import Clock
from benchmarks.gpu.precision import PRECISIONS
from benchmarks.stamp import stamp

ROUNDS = 10
COPIED = {"cuda": 2**30, "cpu": 2**24}
"""Bytes; on a CPU it only has to run."""
SIDE = {"cuda": 8192, "cpu": 256}
"""Of the square matrices that are multiplied."""


def facts(device: torch.device) -> dict[str, str]:
    """What figures depend on."""
    found = stamp()
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        found["GPU"] = (
            f"{gpu.name}, {gpu.multi_processor_count} multiprocessors, "
            f"{gpu.total_memory / 2**30:.0f} GiB, sm_{gpu.major}{gpu.minor}"
        )
        found["CUDA of torch"] = str(torch.version.cuda)
        found["cuDNN"] = str(torch.backends.cudnn.version())
        found["driver"] = _driver()
    return found


def _driver() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "unknown"
    command = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True).stdout.split()
    return answer[0] if answer else "unknown"


def copy_rate(clock: Clock) -> float:
    """Bytes a second, read and written, of a copy too large for any cache."""
    source = torch.zeros(COPIED[clock.device.type], dtype=torch.uint8, device=clock.device)
    target = torch.ones_like(source)
    target.copy_(source)
    seconds = clock.rounds(lambda: target.copy_(source), ROUNDS)
    return 2 * source.nbytes / statistics.median(seconds)


def matrix_rates(clock: Clock) -> Iterator[tuple[str, float]]:
    """Operations a second of a product of square matrices of random numbers, by precision."""
    side = SIDE[clock.device.type]
    for name, precision in PRECISIONS.items():
        a, b = torch.randn(2, side, side, device=clock.device).to(precision.dtype)
        with precision.switched():
            torch.mm(a, b)
            seconds = clock.rounds(lambda a=a, b=b: torch.mm(a, b), ROUNDS)
        yield name, 2 * side**3 / statistics.median(seconds)


def main() -> None:
    """Write it down; without a GPU, where one is meant, fail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU here: torch.cuda.is_available() is False")
    clock = Clock(torch.device(given.device))
    found: dict[str, Any] = {"facts": facts(clock.device), "copy": copy_rate(clock)}
    found["matrix"] = dict(matrix_rates(clock))
    report.save("machine", found, given.folder)
    print(f"{found['facts'].get('GPU', 'no GPU')}; a copy moves {found['copy'] / 1e9:,.0f} GB/s")


if __name__ == "__main__":
    main()
