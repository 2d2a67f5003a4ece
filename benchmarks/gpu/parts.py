"""The parts of a run, as data, and how one is run: in a process of its own, within its time."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: in tables, and of the JSON that it writes, if it does.
        command: `{folder}` stands for where that goes, `{device}` for "cuda" or "cpu".
        seconds: that it may take.
        after: parts that must have passed.
        programs, modules: what it cannot run without; where one is missing, it is not run.
        environment: variables that it has besides ours.
    """

    name: str
    command: tuple[str, ...]
    seconds: float
    after: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> str:
        """What is not there that it needs."""
        missing = [name for name in self.programs if shutil.which(name) is None]
        missing += [name for name in self.modules if importlib.util.find_spec(name) is None]
        return ", ".join(missing)


@dataclass(frozen=True)
class Outcome:
    """What came of a part.

    Attributes:
        name: the part's.
        status: `PASSED`, `FAILED` or `NOT_RUN`.
        seconds: that it took.
        said: the last line that it printed, or why it was not run.
    """

    name: str
    status: str
    seconds: float = 0.0
    said: str = ""


def python(*arguments: str) -> tuple[str, ...]:
    """A command of this interpreter."""
    return (sys.executable, *arguments)


def _sanitizer(tool: str) -> Part:
    """Memory comes from the driver, one allocation a tensor, so that none hides in another's."""
    return Part(
        f"sanitizer, {tool}",
        (
            *("compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "--print-limit", "20"),
            *python("-m", "benchmarks.gpu.exercise", "--device", "{device}"),
        ),
        seconds=75,
        after=("machine", "build"),
        programs=("compute-sanitizer",),
        environment={"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
    )


MEASURE = ("--device", "{device}", "--folder", "{folder}")
PARTS: tuple[Part, ...] = (
    Part("machine", python("-m", "benchmarks.gpu.machine", *MEASURE), seconds=60),
    Part(
        "build",
        python("setup.py", "build_ext", "--inplace"),
        seconds=240,
        environment={"RELPROP_CUDA": "1"},
    ),
    Part(
        "tests",
        python("-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests/gpu"),
        seconds=120,
        after=("machine", "build"),
        modules=("pytest",),
    ),
    Part(
        "networks",
        python("-m", "benchmarks.gpu.networks", *MEASURE, "--seconds", "120"),
        seconds=150,
        after=("machine", "build"),
    ),
    Part(
        "operators",
        python("-m", "benchmarks.gpu.operators", *MEASURE),
        seconds=90,
        after=("machine", "build"),
    ),
    *map(_sanitizer, ("memcheck", "racecheck", "initcheck")),
    # Last, as there are thousands; their truths are summed one number at a time, on the CPU.
    Part(
        "operators' tests",
        python("-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests/ops"),
        seconds=150,
        after=("machine", "build"),
        modules=("pytest", "hypothesis", "mpmath"),
    ),
)
"""In the order in which they run: what matters most comes first, should time run out."""


def run_all(
    parts: Sequence[Part],
    seconds: float,
    folder: Path,
    device: str,
    say: Callable[[str], None],
) -> list[Outcome]:
    """Run parts one after another, each in what is left of the time; what came of each."""
    end, found = time.monotonic() + seconds, list[Outcome]()
    log = folder / "log.txt"
    log.unlink(missing_ok=True)
    for part in parts:
        why = _why_not(part, parts, found, end - time.monotonic())
        if why:
            found.append(Outcome(part.name, NOT_RUN, said=why))
        else:
            say(f"{part.name} ...")
            limit = min(part.seconds, end - time.monotonic())
            found.append(_run(part, limit, folder, device, log))
        one = found[-1]
        say(f"{one.name}: {one.status} after {one.seconds:.0f} s: {one.said}")
    return found


def _why_not(part: Part, chosen: Sequence[Part], found: Sequence[Outcome], left: float) -> str:
    """Why a part cannot run; empty if it can. What was not chosen to run is taken to be done."""
    passed = {one.name for one in found if one.status == PASSED}
    lacking = [one.name for one in chosen if one.name in part.after and one.name not in passed]
    if lacking:
        return f"it comes after {', '.join(lacking)}, which did not pass"
    if part.missing:
        return f"{part.missing} not found"
    return "no time was left" if left <= 0 else ""


def _run(part: Part, limit: float, folder: Path, device: str, log: Path) -> Outcome:
    places = {"folder": str(folder), "device": device}
    command = [word.format_map(places) for word in part.command]
    begin = time.monotonic()
    with log.open("ab") as output:
        output.write(f"\n== {part.name}: {' '.join(command)}\n".encode())
        output.flush()
        start = output.tell()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **part.environment, "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the compilers that it started, too
            process.wait()
            code = None
    said = _last_line(log, start)
    seconds = time.monotonic() - begin
    if code == 0:
        return Outcome(part.name, PASSED, seconds, said)
    ending = f"exit code {code}" if code is not None else f"stopped after {limit:.0f} s"
    return Outcome(part.name, FAILED, seconds, f"{ending}; {said}" if said else ending)


def _last_line(log: Path, start: int) -> str:
    with log.open("rb") as output:
        output.seek(start)
        lines = output.read().decode(errors="replace").splitlines()
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")
