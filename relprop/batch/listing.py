"""Which pictures there are: in a folder, or in a table of paths and targets."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from relprop.errors import InvalidInputError


@dataclass(frozen=True)
class Listed:
    """A picture: where it is, what it goes by, and the class to explain, if the table has one."""

    path: Path
    name: str
    target: str | None = None


def in_folder(folder: Path) -> list[Listed]:
    """The pictures in a folder and in those within it, sorted by their paths.

    A picture is what ends like one (`.jpg`, `.png`, ...); hidden files and folders are left out.

    Raises:
        InvalidInputError: a folder may not be read, or there are no pictures.
    """
    Image.init()
    suffixes = {end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    paths = sorted(path for path in _visible(folder) if path.suffix.lower() in suffixes)
    if not paths:
        raise InvalidInputError(
            f"{folder}: holds no pictures; a picture is a file that ends in .jpg, .png or the like"
        )
    return [Listed(path, printable(path.relative_to(folder))) for path in paths]


def in_table(table: Path) -> list[Listed]:
    """The pictures of a CSV file with a column `path` and, if wanted, a column `target`.

    Paths are taken from the table's own folder; an empty target is none.

    Raises:
        InvalidInputError: the file cannot be read, or lacks what it needs.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text)
            if "path" not in (reader.fieldnames or []):
                found = ", ".join(reader.fieldnames or []) or "none"
                raise InvalidInputError(
                    f"{table}: must have a column 'path', and may have a column 'target'; "
                    f"its first line has {found}"
                )
            listed = [_row(table, reader.line_num, row) for row in reader]
    except OSError as fault:
        raise InvalidInputError(f"{table}: cannot be read ({fault.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as fault:
        raise InvalidInputError(f"{table}: is no table of comma-separated text ({fault})") from None
    if not listed:
        raise InvalidInputError(f"{table}: has no rows below its first line")
    return listed


def _row(table: Path, line: int, row: dict[str, str | None]) -> Listed:
    path = (row["path"] or "").strip()
    if not path:
        raise InvalidInputError(f"{table}: line {line} has no path")
    return Listed(table.parent / path, path, (row.get("target") or "").strip() or None)


def printable(path: Path) -> str:
    """A path as text that can be written anywhere: bytes that are no text are marked."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def _visible(folder: Path) -> Iterator[Path]:
    def refuse(fault: OSError) -> None:
        raise InvalidInputError(f"{fault.filename}: cannot be read ({fault.strerror})") from None

    for root, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(root, name) for name in files if not name.startswith("."))
