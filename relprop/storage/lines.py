"""A file of lines that one process appends to, each a JSON object that is on disk on return.

A last line that is cut short, as a killed process leaves it, counts for nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from relprop.errors import InvalidInputError


class Lines:
    """A file of lines, which this process alone writes.

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

    def entries(self) -> Iterator[tuple[dict[str, Any], int]]:
        """The whole lines, and how many bytes each takes."""
        with self._path.open("rb") as lines:
            for line in lines:
                entry = _parsed(line)
                if entry is None:
                    break
                yield entry, len(line)

    def cut(self, length: int) -> None:
        """Drop all but the first bytes, and go on after them."""
        self._file.truncate(length)
        self._file.seek(length)

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write a line; on return it is on disk."""
        line = memoryview(json.dumps(entry).encode() + b"\n")
        while line:
            line = line[self._file.write(line) :]
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
