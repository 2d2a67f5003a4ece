"""The command line: which parts to run, how long they may take, and where the results go."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.gpu import report
from benchmarks.gpu.parts import FAILED, PARTS, run_all

OUTPUT = Path("benchmarks/results/gpu")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 1 if a part failed, else 0."""
    given = _parsed(arguments)
    given.output.mkdir(parents=True, exist_ok=True)
    _build_for_this_machine()
    parts = [part for part in PARTS if not given.part or part.name in given.part]
    folder = given.output.resolve()
    found = run_all(parts, given.seconds, folder, given.device, _say)
    report.save("parts", [asdict(one) for one in found], folder)
    for file in report.write(folder):
        _say(f"written: {file}")
    failed = [one.name for one in found if one.status == FAILED]
    _say(f"failed: {', '.join(failed)}" if failed else "nothing failed")
    return 1 if failed else 0


def _build_for_this_machine() -> None:
    """On all its processors, and for its GPU alone, which takes a third of the time."""
    os.environ.setdefault("MAX_JOBS", str(os.cpu_count() or 1))
    if torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        os.environ.setdefault("TORCH_CUDA_ARCH_LIST", f"{major}.{minor}")


def _say(text: str) -> None:
    print(text, flush=True)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    names = [part.name for part in PARTS]
    parser.add_argument("--part", action="append", choices=names, help="Only this one.")
    parser.add_argument("--seconds", type=float, default=570, help="For everything (%(default)s).")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="Folder (%(default)s).")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: only to see that it runs."
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
