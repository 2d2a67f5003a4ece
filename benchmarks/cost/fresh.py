"""Running a function in a process of its own, which may be killed without taking us along."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import warnings
from collections.abc import Callable
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from relprop.cli.loading import first_line

Say = Callable[[str], None]
"""Takes what is being worked at."""

ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_ARENA_MAX": "1",
}
"""For glibc, where memory is measured: what is freed goes back to the system, so is not counted."""

LEFT_FREE = 0.05
"""The share of the memory at hand that a process may not take."""


class Ended(Exception):
    """The process raised an exception, or ended without an answer; its text says which."""


def in_fresh_process(
    function: Callable[..., Any],
    *arguments: Any,
    say: Say = lambda _: None,
    environment: dict[str, str] | None = None,
) -> Any:
    """What `function(*arguments, say)` returns, when called in a new process.

    Args:
        function: of a module; its arguments and what it returns must pickle.
        say: is told what the function says.
        environment: variables that the process has besides ours.

    Raises:
        Ended: it did not return.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_answer, args=(theirs, function, arguments), daemon=True)
    with _set(environment or {}):
        process.start()
    theirs.close()
    try:
        while True:
            kind, content = ours.recv()
            if kind == "said":
                say(content)
            elif kind == "returned":
                return content
            else:
                raise Ended(content)
    except (EOFError, ConnectionResetError):
        process.join()
        raise Ended(_ending(process.exitcode)) from None
    finally:
        process.join(timeout=5)
        if process.is_alive():
            process.kill()
        ours.close()


def _answer(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """The new process: call, and send what comes of it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the first process alone reports an interrupt
    warnings.simplefilter("ignore")
    limit_memory()
    try:
        pipe.send(("returned", function(*arguments, lambda text: pipe.send(("said", text)))))
    except Exception as fault:  # of whatever type: it is a finding
        pipe.send(("raised", first_line(fault)))


def _ending(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "killed by the system, as it does when memory runs out"
    if code is not None and code < 0:
        return f"ended by signal {signal.Signals(-code).name}"
    return f"ended with exit code {code} and without an answer"


@contextmanager
def _set(variables: dict[str, str]) -> Any:
    """Environment variables, for as long as a process is being started."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def available_memory() -> int:
    """Bytes that processes may take before the system must kill one; 0 where it does not say."""
    found = []
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable"))
        found.append(1024 * int(line.split()[1]))
    with suppress(OSError, ValueError):  # "max" where there is no limit
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        found.append(limit - int((group / "memory.current").read_text()))
    return max(0, min(found, default=0))


def limit_memory() -> None:
    """Let an allocation fail, and say so, where the system would kill the process."""
    limit = int(available_memory() * (1 - LEFT_FREE))
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
