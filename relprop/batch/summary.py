"""The summary of a run: a table with a row an item, as CSV or Parquet."""

from __future__ import annotations

import csv
import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from relprop.batch.items import Row
from relprop.errors import InvalidInputError, MissingPackageError

COLUMNS = {
    "item": "string",
    "prediction": "int64",
    "target": "int64",
    "score": "float64",
    "sum": "float64",
    "shortfall": "float64",
    "seconds": "float64",
    "error": "string",
}
"""The columns, which are attributes of `Row`, and their types."""


def _write_csv(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([getattr(row, column) for column in COLUMNS] for row in rows)
        text.flush()
        os.fsync(text.fileno())


def _write_parquet(rows: Sequence[Row], path: Path) -> None:
    arrow, parquet = _arrow()
    schema = arrow.schema([(name, getattr(arrow, kind)()) for name, kind in COLUMNS.items()])
    columns = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
    parquet.write_table(arrow.table(columns, schema=schema), path)


FORMATS: dict[str, Callable[[Sequence[Row], Path], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
"""How a summary is written, by how its name ends."""


def check_summary(path: Path) -> None:
    """Refuse a summary that could not be written, before anything is explained.

    Raises:
        InvalidInputError: its name ends like no format, or there is no such folder.
        MissingPackageError: the format takes a package that is not installed.
    """
    if path.suffix not in FORMATS:
        raise InvalidInputError(f"{path}: a summary's name must end in {' or '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise InvalidInputError(f"{path}: there is no folder {path.parent}")
    if path.is_dir():
        raise InvalidInputError(f"{path}: is a folder; a summary is a file")
    if path.suffix == ".parquet":
        _arrow()


def write_summary(rows: Sequence[Row], path: Path) -> None:
    """Write a row an item, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        FORMATS[path.suffix](rows, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _arrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise MissingPackageError(
            "a summary as Parquet needs pyarrow, which is not installed: pip install "
            "'relprop[parquet]'; or let its name end in .csv"
        ) from None
