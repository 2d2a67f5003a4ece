"""The journal of a run: what is on disk for good, batch by batch, so that a run can be continued.

A line is written once its batch's relevance is. The first line says what made the output. A last
line that is cut short, as a killed process leaves it, counts for nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from relprop.batch.items import Row, Shape
from relprop.errors import InvalidInputError

Made = Mapping[str, Any]
"""What made an output, as plain strings, numbers and mappings."""


@dataclass
class Recorded:
    """What a journal holds: what made the output, rows by their items, and sizes of batches.

    `length` is how many bytes of the file are whole lines.
    """

    made: Made
    rows: dict[int, Row] = field(default_factory=dict)
    sizes: dict[Shape, int] = field(default_factory=dict)
    length: int = 0

    def enter(self, entry: Mapping[str, Any], length: int) -> None:
        """Add what a line of so many bytes holds; of an item tried twice, the last counts."""
        for fields in entry.get("rows", ()):
            row = Row(**{**fields, "shape": tuple(fields["shape"])})
            self.rows[row.index] = row
            if not row.error:
                self.sizes[row.shape] = entry["size"]
        self.length += length


class Journal:
    """A journal, which this process alone writes.

    Args:
        path: the file.
        new: whether to begin it, or go on with one that is there.

    Raises:
        InvalidInputError: another process writes it.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, new: bool) -> None:
        self._path = path
        flags = os.O_RDWR | (os.O_CREAT if new else 0)
        self._file = os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise InvalidInputError(
                f"{path}: is being written by another process; wait for it to end"
            ) from None

    def begin(self, made: Made) -> None:
        """Write the first line, in place of whatever is there."""
        self.cut(0)
        self._append({"made": made})

    def read(self) -> Recorded | None:
        """What the whole lines hold, or None if not even the first is one."""
        recorded: Recorded | None = None
        with self._path.open("rb") as lines:
            for line in lines:
                entry = _parsed(line)
                if entry is None:
                    break
                if recorded is None:
                    recorded = Recorded(entry.get("made", {}))
                recorded.enter(entry, len(line))
        return recorded

    def cut(self, length: int) -> None:
        """Drop all but the first bytes, and go on after them."""
        self._file.truncate(length)
        self._file.seek(length)

    def add(self, rows: Sequence[Row], size: int) -> None:
        """Record what became of a batch, whose shape goes by so many together."""
        self._append({"size": size, "rows": [asdict(row) for row in rows]})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, entry: Mapping[str, Any]) -> None:
        line = memoryview(json.dumps(entry).encode() + b"\n")
        while line:
            line = line[self._file.write(line) :]
        os.fsync(self._file.fileno())


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
