"""What each CUDA kernel takes of a multiprocessor, by the compiler's own report, as a table.

Registers and shared memory decide how many threads run at once; spilled registers and arrays on a
thread's stack go through memory. It takes nvcc, and no GPU.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.report import table
from benchmarks.stamp import stamp

ROOT = Path(__file__).resolve().parents[2]
BUILT = "build/cuda-report"
PAGE = "kernels.md"
COMPILED = re.compile(r"Compiling entry function '(?P<name>\w+)' for '(?P<architecture>\w+)'")
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")
TYPES = {"f": "float32", "d": "float64", "6__half": "float16", "13__nv_bfloat16": "bfloat16"}
"""Of stored elements, as names are mangled."""
REASONS = {
    "share_windows_kernel": "the taps of a short window are sorted on the thread's stack",
}
"""Why a kernel takes a stack."""


@dataclass(frozen=True)
class Usage:
    """What one kernel takes, for one architecture; memory in bytes, of a block or of a thread."""

    kernel: str
    dtype: str
    architecture: str
    registers: int
    shared: int
    stack: int
    spilled: int


def usages(report: str) -> Iterator[Usage]:
    """Every kernel that ptxas reported, with -v."""
    found = list(COMPILED.finditer(report))
    ends = [one.start() for one in found[1:]] + [len(report)]
    for one, end in zip(found, ends, strict=True):
        said = report[one.end() : end]
        stack, used, shared = STACK.search(said), USED.search(said), SHARED.search(said)
        if stack is None or used is None:
            raise ValueError(f"ptxas says nothing of {one['name']}: {said[:200]!r}")
        kernel, dtype = named(one["name"])
        yield Usage(
            kernel,
            dtype,
            one["architecture"],
            int(used[1]),
            int(shared[1]) if shared else 0,
            int(stack[1]),
            max(int(stack[2]), int(stack[3])),
        )


def named(mangled: str) -> tuple[str, str]:
    """A kernel's name, and the type of the elements that it reads."""
    found = re.match(r"_ZN7relprop4cuda(\d+)", mangled)
    if found is None:
        raise ValueError(f"no kernel of relprop's is called {mangled}")
    start, length = found.end(), int(found[1])
    name, rest = mangled[start : start + length], mangled[start + length :]
    # Template arguments: numbers in L...E, then types.
    of = re.match(r"I(?:L\w\d+E)*(f|d|6__half|13__nv_bfloat16)", rest)
    return name, TYPES[of[1]] if of else "-"


def grouped(found: Sequence[Usage]) -> list[list[str]]:
    """A row for each kernel, type and architecture, over all activation functions and packs."""
    groups: dict[tuple[str, str, str], list[Usage]] = {}
    for one in found:
        groups.setdefault((one.kernel, one.dtype, one.architecture), []).append(one)
    return [
        [
            *key,
            str(len(group)),
            span(one.registers for one in group),
            span(one.shared for one in group),
            span(one.stack for one in group),
            span(one.spilled for one in group),
        ]
        for key, group in sorted(groups.items())
    ]


def span(numbers: Iterator[int]) -> str:
    """From the least to the largest."""
    each = sorted(numbers)
    return f"{each[0]}" if each[0] == each[-1] else f"{each[0]} to {each[-1]}"


def markdown(found: Sequence[Usage], facts: dict[str, str]) -> str:
    """The page."""
    spilling = sorted({one.kernel for one in found if one.spilled})
    stacking = sorted({one.kernel for one in found if one.stack})
    lines = ["# What the CUDA kernels take", "", *(f"- {k}: {v}" for k, v in facts.items()), ""]
    lines += [
        f"By `ptxas -v`, for {len(found)} kernels: registers of a thread, shared memory of a "
        "block, stack and spilled registers of a thread in bytes. A row is over all activation "
        "functions and pack sizes of one kernel and type.",
        "",
        f"Registers are spilled in: {', '.join(spilling) or 'none'}.",
        f"A stack is used in: {', '.join(stacking) or 'none'}.",
        *(f"- `{name}`: {REASONS[name]}." for name in stacking if name in REASONS),
        "",
    ]
    header = ("kernel", "type", "for", "kernels", "registers", "shared", "stack", "spilled")
    return "\n".join([*lines, *table(header, grouped(found))]).rstrip() + "\n"


def build() -> str:
    """Compile everything, and return what the compilers said."""
    answer = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--build-temp", BUILT, "--build-lib", BUILT],
        cwd=ROOT,
        env={**os.environ, "RELPROP_CUDA": "1", "NVCC_APPEND_FLAGS": "-Xptxas=-v"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if answer.returncode:
        raise SystemExit(answer.stdout + "\nthe kernels could not be compiled")
    return answer.stdout


def main() -> None:
    """Write the table; fail where a register is spilled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/gpu"))
    parser.add_argument("--log", type=Path, help="Of a build with -Xptxas=-v, in place of one now.")
    given = parser.parse_args()
    found = list(usages(given.log.read_text() if given.log else build()))
    if not found:
        raise SystemExit(f"nothing was compiled: remove {BUILT}, where everything is already")
    facts = stamp()
    del facts["CPU"]
    facts["nvcc"] = nvcc()
    given.output.mkdir(parents=True, exist_ok=True)
    (given.output / PAGE).write_text(markdown(found, facts), encoding="utf-8")
    print(f"{len(found)} kernels; written: {given.output / PAGE}")
    spilling = {one.kernel for one in found if one.spilled}
    if spilling:
        raise SystemExit(f"registers are spilled in {', '.join(sorted(spilling))}")


def nvcc() -> str:
    """The compiler's release."""
    home = os.environ.get("CUDA_HOME") or "/usr/local/cuda"
    here = Path(home) / "bin" / "nvcc"
    command = [str(here) if here.exists() else "nvcc", "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"release ([\d.]+)", answer)
    return found[1] if found else "unknown"


if __name__ == "__main__":
    main()
