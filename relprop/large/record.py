"""The folder that an unfinished explanation lives in, and the journal of what is done there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from relprop.errors import InvalidInputError, RelpropError, StorageError
from relprop.storage.differences import differences
from relprop.storage.lines import Lines

JOURNAL = "journal"
MADE, FINISHED, CHUNK = "made", "finished", "chunk "


class Record:
    """What is done, step by step, each with what is to be known of it later.

    Attributes:
        folder: where everything is until it is finished.
        done: the steps that are done.
    """

    def __init__(self, folder: Path, lines: Lines, done: dict[str, Any]) -> None:
        self.folder, self.done = folder, done
        self._lines = lines

    def add(self, step: str, fact: Any = True) -> None:
        """Record that a step is done: what it wrote must be on disk."""
        self._lines.append({"step": step, "fact": fact})
        self.done[step] = fact

    @property
    def chunks(self) -> dict[int, float]:
        """The chunks that are written, and the sum of the relevance in each."""
        steps = ((step.partition(CHUNK), fact) for step, fact in self.done.items())
        return {int(number): fact for (_, mark, number), fact in steps if mark}

    def add_chunk(self, chunk: int, total: float) -> None:
        """Record that a chunk is written."""
        self.add(f"{CHUNK}{chunk}", total)

    def remove(self, name: str) -> None:
        """Let a folder within go that no step needs any more."""
        if (self.folder / name).exists():
            shutil.rmtree(self.folder / name)


def folder_of(output: Path) -> Path:
    """Where an output is made."""
    return output.with_name(f"{output.name}.unfinished")


@contextmanager
def open_record(output: Path, made: dict[str, Any], resume: bool) -> Iterator[Record]:
    """The record of an output, begun or, if asked for, continued where there is one.

    Raises:
        InvalidInputError: something is in the way, or was made differently.
        StorageError: it cannot be written.
    """
    made = json.loads(json.dumps(made))
    try:
        folder = folder_of(output)
        _check(output, folder, resume)
        folder.mkdir(exist_ok=True)
        lines = Lines(folder / JOURNAL, new=True)
        try:
            yield _record(output, folder, lines, made)
        finally:
            lines.close()
    except RelpropError:  # some of which are OSErrors as well
        raise
    except OSError as fault:
        raise StorageError(f"{output}: cannot be written ({fault.strerror or fault})") from fault


def _check(output: Path, folder: Path, resume: bool) -> None:
    if not output.parent.is_dir():
        raise InvalidInputError(f"{output}: there is no folder {output.parent}")
    if folder.exists() and not resume:
        raise InvalidInputError(
            f"{folder}: has an explanation that was interrupted; continue it with --resume "
            "(resume=True), or delete it"
        )
    if (output.exists() or output.is_symlink()) and not folder.exists():
        raise InvalidInputError(
            f"{output}: exists already; delete it, or name another output"
            + (", as it has been finished" if resume else "")
        )


def _record(output: Path, folder: Path, lines: Lines, made: dict[str, Any]) -> Record:
    done: dict[str, Any] = {}
    length = 0
    for entry, size in lines.entries():
        done[entry["step"]] = entry["fact"]
        length += size
    lines.cut(length)
    record = Record(folder, lines, done)
    if MADE not in done:
        record.add(MADE, made)
    for difference in differences(record.done[MADE], made):
        raise InvalidInputError(
            f"{output}: cannot be continued, as it was begun with {difference}; ask for the same, "
            f"or delete {folder.name}"
        )
    if output.exists() and FINISHED not in done:
        raise InvalidInputError(f"{output}: is in the way of what is to be finished; delete it")
    return record
