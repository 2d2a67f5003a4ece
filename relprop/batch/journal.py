"""The journal of a run: what is on disk for good, batch by batch, so that a run can be continued.

A line is written once its batch's relevance is. The first line says what made the output. A last
line that is cut short, as a killed process leaves it, counts for nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from relprop.batch.items import Row, Shape

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


def read_journal(path: Path) -> Recorded | None:
    """What the whole lines of a journal hold, or None if not even the first is one.

    Raises:
        OSError: it cannot be read.
    """
    recorded: Recorded | None = None
    with path.open("rb") as lines:
        for line in lines:
            entry = _parsed(line)
            if entry is None:
                break
            if recorded is None:
                recorded = Recorded(entry.get("made", {}))
            for fields in entry.get("rows", ()):
                row = Row(**{**fields, "shape": tuple(fields["shape"])})
                recorded.rows[row.index] = row
                if not row.error:
                    recorded.sizes[row.shape] = entry["size"]
            recorded.length += len(line)
    return recorded


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


class Journal:
    """A journal that is being written: a context, which closes the file."""

    def __init__(self, path: Path, length: int) -> None:
        """Go on after the first `length` bytes; what follows them is dropped."""
        self._file = path.open("r+b" if length else "wb", buffering=0)
        self._file.truncate(length)
        self._file.seek(length)

    def begin(self, made: Made) -> None:
        """Write the first line."""
        self._append({"made": made})

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
