"""One work, measured: the contestants take turns, round by round."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.throughput import loops
from benchmarks.throughput.pictures import SIDE, make_pictures
from benchmarks.throughput.work import Work
from relprop.batch import LocalEngine, Pictures, explain_all, open_output, open_source
from relprop.batch.journal import Journal
from relprop.batch.store import Store
from relprop.cli.images import Decoder, Preprocessing

READERS = 2
"""Threads that read pictures, and processes of a DataLoader."""
ALONE, BATCH, COMMAND = "attribution alone", "relprop batch", "relprop batch, as a command"
PROCESSOR = "processor"
"""Seconds of all threads and processes, which others at work on the machine do not lengthen."""
CLOCKED: dict[str, tuple[type, str]] = {
    "reading": (Pictures, "read"),
    "relevance to disk": (Store, "write"),
    "journal": (Journal, "add"),
}
"""What `relprop batch` does in other threads, by the methods that do it."""


@dataclass
class Measured:
    """Seconds of all rounds for all pictures, by contestants and their parts.

    Attributes:
        work, pictures, batch: what was explained.
        seconds: by contestant, round by round. parts: the same of what each consists of.
        deviation: of the peer's relevance from ours, the largest over the largest of ours.
        read, written: bytes a picture on disk.
    """

    work: str
    pictures: int
    batch: int
    peer: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    parts: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    deviation: float = 0.0
    read: float = 0.0
    written: float = 0.0

    def add(self, contestant: str, spent: dict[str, float]) -> None:
        """Take note of a round."""
        parts = self.parts.setdefault(contestant, {})
        for part, seconds in spent.items():
            place = self.seconds if part == "all" else parts
            place.setdefault(contestant if part == "all" else part, []).append(seconds)

    def as_dict(self) -> dict[str, Any]:
        """Its fields, as JSON has them."""
        return asdict(self)


Contestant = Callable[[Path], dict[str, float]]
"""Explains all pictures into a place that is not there yet; seconds in all and of its parts."""


def measure(work: Work, say: Callable[[str], None]) -> Measured:
    """All contestants on one work, after each has explained a batch."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = make_pictures(folder / "pictures", work.pictures)
        model = work.network()
        decode = Decoder(Preprocessing(SIDE), torch.float32)
        tensors = torch.stack([decode(path) for path in paths]).split(work.batch)
        peer = work.explain_as_peer(model)
        ours = work.make(model)
        engine = LocalEngine(ours, work.arguments, batch_size=work.batch)
        measured = Measured(work.name, work.pictures, work.batch, work.peer)
        expected = ours.attribute(tensors[0], target=_likeliest, **work.arguments)
        off = (peer(tensors[0].clone()) - expected).abs().max() / expected.abs().max()
        measured.deviation = off.item()
        measured.read = sum(path.stat().st_size for path in paths) / len(paths)
        contestants: dict[str, Contestant] = {
            ALONE: partial(_alone, ours, work, tensors),
            BATCH: partial(_batch, engine, paths[0].parent, decode),
            work.peer: lambda place: loops.run(peer, paths, decode, work.batch, READERS, place),
            COMMAND: partial(_command, work, paths[0].parent),
        }
        _batch(engine, paths[0].parent, decode, folder / "first")
        for number in range(work.rounds):
            for turn, (name, explain) in enumerate(contestants.items()):
                if name == COMMAND and number:
                    continue  # once: most of it is its start
                say(f"{work.name}: round {number + 1} of {work.rounds}, {name}")
                before = _processor()
                spent = explain(folder / f"{number}-{turn}")
                measured.add(name, {**spent, PROCESSOR: _processor() - before})
        measured.written = _size(folder / "first") / work.pictures
    return measured


def _likeliest(outputs: Tensor) -> Tensor:
    return outputs.argmax(1)


def _alone(ours: Any, work: Work, batches: tuple[Tensor, ...], _: Path) -> dict[str, float]:
    """Pictures that are in memory, relevance that is thrown away: the limit."""
    start = time.perf_counter()
    for x in batches:
        ours.attribute(x, target=_likeliest, **work.arguments)
    return {"all": time.perf_counter() - start}


def _batch(engine: LocalEngine, pictures: Path, decode: Decoder, place: Path) -> dict[str, float]:
    """What the command does once the model is there: from files to an output that is whole."""
    with _clocked() as spent:
        start = time.perf_counter()
        source = open_source([pictures], decode, (3, SIDE, SIDE))
        with open_output(place, source, {}, {}) as output:
            rows = explain_all(source, engine, output, readers=READERS)
        whole = time.perf_counter() - start
    attribution = sum(row.seconds or 0.0 for row in rows)
    return {"all": whole, "attribution": attribution, **spent}


def _command(work: Work, pictures: Path, place: Path) -> dict[str, float]:
    """The command in a process of its own, from its start to its end."""
    module = f"benchmarks.throughput.work:{work.network.__name__}"
    command = [
        *(sys.executable, "-W", "ignore", "-m", "relprop", "batch", pictures),
        *("--model", module, "--batch-size", work.batch, "--readers", READERS),
        *("--output", place.with_suffix(".zarr"), *work.options),
    ]
    start = time.perf_counter()
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return {"all": time.perf_counter() - start}


@contextmanager
def _clocked() -> Iterator[dict[str, float]]:
    """Seconds in the methods of `CLOCKED`, added up over threads."""
    spent = dict.fromkeys(CLOCKED, 0.0)

    def clocking(part: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def clocked(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*arguments)
            finally:
                spent[part] += time.perf_counter() - start

        return clocked

    with ExitStack() as stack:
        for part, (owner, name) in CLOCKED.items():
            stack.enter_context(patch.object(owner, name, clocking(part, getattr(owner, name))))
        yield spent


def _processor() -> float:
    """Seconds of processors so far, of all threads here and of processes that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
