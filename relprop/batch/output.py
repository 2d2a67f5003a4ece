"""An output that is begun, or continued where an earlier run was interrupted."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

import relprop
from relprop.batch.items import Explained, Shape
from relprop.batch.journal import Journal, Made, Recorded
from relprop.batch.sources import Source
from relprop.batch.store import Place, Store
from relprop.errors import InvalidInputError, RelpropError, StorageError
from relprop.storage.differences import differences

VERSIONS = {
    "relprop": relprop.__version__,
    "torch": torch.__version__,
    "numpy": np.__version__,
    "zarr": version("zarr"),
}
BATCHING = "batching"
"""What a journal calls the settings that sizes of batches come from. They may change."""


class Output:
    """Relevance in a Zarr group, with its journal beside it: a context, which closes the journal.

    An output in which nothing was recorded is removed again if an error of relprop's ends it.

    Attributes:
        rows: what is recorded, by the items' indices.
        sizes: how many examples of a shape go together, where an earlier run has settled it.
    """

    def __init__(self, path: Path, store: Store, journal: Journal, recorded: Recorded) -> None:
        self.path = path
        self.rows = recorded.rows
        self.sizes = recorded.sizes
        self._store = store
        self._journal = journal
        self._begun = not recorded.rows

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._journal.close()
        self._store.close()
        if isinstance(fault, RelpropError) and self._begun and not self.rows:
            shutil.rmtree(self.path)
            journal_of(self.path).unlink()

    @property
    def explained(self) -> dict[int, Shape]:
        """The shapes of the items that have relevance, by their indices."""
        return {index: row.shape for index, row in self.rows.items() if not row.error}

    def record(self, explained: Explained) -> None:
        """Write a batch's relevance, if it is not on disk, and then its rows into the journal.

        Raises:
            OSError: one of them cannot be written.
        """
        done = explained.done
        if done and not explained.written:
            self._store.write([row.index for row in done], explained.relevance)
        self._journal.add(explained.rows, explained.size)
        self.rows.update((row.index, row) for row in explained.rows)

    def place(self) -> Place:
        """The store, for other processes to write what is recorded here."""
        return self._store.place()

    def finish(self) -> None:
        """Say in the output that every item was tried.

        Raises:
            StorageError: it cannot be written.
        """
        try:
            self._store.finish(complete=True)
        except OSError as fault:
            raise cannot_write(self.path, fault) from fault


def open_output(
    path: Path, source: Source, made: Made, batching: Mapping[str, Any], resume: bool = False
) -> Output:
    """The output at `path` for a data set.

    Args:
        path: the Zarr group.
        source: the data set.
        made: what makes it: model, method, options, as plain strings, numbers and mappings; it
            becomes the group's attributes.
        batching: the settings that sizes of batches come from.
        resume: continue what is there, if there is something.

    Raises:
        InvalidInputError: something else is there, or it was made differently.
        StorageError: it cannot be written.
    """
    made = json.loads(json.dumps({**made, "versions": VERSIONS, "data": _digest(source)}))
    batching = json.loads(json.dumps(batching))
    try:
        if path.exists() or path.is_symlink():
            if not resume:
                raise InvalidInputError(
                    f"{path}: exists already; continue it with --resume (resume=True), or delete "
                    "it, or name another output"
                )
            return _continued(path, source, made, batching)
        return _begun(path, source, made, batching)
    except RelpropError:  # some of which are OSErrors as well
        raise
    except OSError as fault:
        raise cannot_write(path, fault) from fault


def journal_of(path: Path) -> Path:
    """Where an output's journal is."""
    return path.with_name(f"{path.name}.journal")


def cannot_write(path: Path, fault: OSError) -> StorageError:
    """One sentence about what could not be written."""
    return StorageError(f"{path}: cannot be written ({fault.strerror or fault})")


def _begun(path: Path, source: Source, made: Made, batching: Mapping[str, Any]) -> Output:
    # The journal first: a group without one could not be continued.
    with _closed_on_fault(Journal(journal_of(path), new=True)) as journal:
        journal.begin({**made, BATCHING: batching})
        names = [item.name for item in source.items]
        store = Store.create(path, made, names, source.shape is not None)
        return Output(path, store, journal, Recorded(made))


def _continued(path: Path, source: Source, made: Made, batching: Mapping[str, Any]) -> Output:
    if not journal_of(path).exists():
        raise _without_journal(path)
    with _closed_on_fault(Journal(journal_of(path), new=False)) as journal:
        recorded = journal.read()
        if recorded is None:
            raise _without_journal(path)
        before = dict(recorded.made)
        if before.pop(BATCHING, None) != batching:
            recorded.sizes.clear()
        for difference in differences(before, made):
            raise InvalidInputError(
                f"{path}: cannot be continued, as it was made with {difference}; ask for the same, "
                "or name another output"
            )
        store = Store(path, len(source.items), source.shape is not None)
        store.tidy()
        journal.cut(recorded.length)
        return Output(path, store, journal, recorded)


@contextmanager
def _closed_on_fault(journal: Journal) -> Iterator[Journal]:
    try:
        yield journal
    except BaseException:
        journal.close()
        raise


def _without_journal(path: Path) -> InvalidInputError:
    return InvalidInputError(
        f"{path}: cannot be continued, as its journal {journal_of(path).name} is not beside it; "
        "delete it, or name another output"
    )


def _digest(source: Source) -> str:
    """Tells one data set from another, by the names, targets and shape of its items."""
    listed = json.dumps([source.shape, *((item.name, item.target) for item in source.items)])
    return f"{len(source.items)} items, {hashlib.sha256(listed.encode()).hexdigest()[:16]}"
