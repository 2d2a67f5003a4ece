"""What explains shares of a data set in a process of its own, wherever that runs."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from relprop.batch.batches import form
from relprop.batch.engine import Engine
from relprop.batch.items import Explained, Loaded, Shape
from relprop.batch.output import VERSIONS
from relprop.batch.prefetch import Prefetch
from relprop.batch.shares import Share
from relprop.batch.store import Place
from relprop.errors import InvalidInputError, RelpropError, StorageError

Make = Callable[[], Engine]
"""Makes what explains; it is pickled, and called in every worker."""


@dataclass(frozen=True)
class Orders:
    """What a worker is told once.

    Attributes:
        make: makes the engine.
        folder: where relative paths begin.
        threads: of torch.
        readers: threads that read items.
        place: the store to write, or None if relevance is to be handed back.
        versions: of packages, which have to be the same everywhere.
    """

    make: Make
    folder: Path
    threads: int
    readers: int
    place: Place | None = None
    versions: Mapping[str, str] = field(default_factory=VERSIONS.copy)


class Worker:
    """Explains shares, one after another, by an engine that it makes once.

    Raises:
        RelpropError: it cannot be made on this machine.
    """

    def __init__(self, orders: Orders) -> None:
        here = socket.gethostname()
        if orders.versions != VERSIONS:
            raise InvalidInputError(
                f"{here} has {_listed(VERSIONS)}, and the command {_listed(orders.versions)}; "
                "install the same on all machines"
            )
        try:
            os.chdir(orders.folder)
        except OSError as fault:
            raise InvalidInputError(
                f"{orders.folder}: cannot be entered on {here} ({fault.strerror}); run from a "
                "folder that all machines share"
            ) from None
        torch.set_num_threads(orders.threads)
        self._readers = orders.readers
        self._store = orders.place.open() if orders.place else None
        self._engine = orders.make()

    def explain(self, share: Share) -> Iterator[Explained]:
        """Every item of a share explained, batch by batch.

        Raises:
            RelpropError: no other item would be spared. StorageError: the store cannot be written.
        """
        unread: list[Explained] = []
        sizes = dict(share.sizes)
        with Prefetch(share.source, share.explained, self._readers) as loaded:
            loaded.ahead = max(loaded.ahead, 2 * max(sizes.values(), default=1))

            def size_of(example: Tensor) -> int:
                size = self._engine.batch_size(example)
                loaded.ahead = max(loaded.ahead, 2 * size)
                return size

            placed = _placed(loaded, share.source.shape, unread)
            for found in self._engine.explain(form(placed, sizes, size_of)):
                yield self._written(found)
        yield from unread

    def _written(self, found: Explained) -> Explained:
        """What is handed back of a batch: without its relevance, if that is on disk already."""
        if self._store is None or not found.done:
            return found
        try:
            self._store.write([row.index for row in found.done], found.relevance)
        except OSError as fault:
            raise StorageError(
                f"{socket.gethostname()} cannot write its relevance ({fault.strerror or fault}); "
                "what was explained before is kept: mend that, and continue with --resume"
            ) from fault
        return replace(found, relevance=np.empty(0), written=True)


def faults_said(explained: Iterable[Explained]) -> Iterator[Explained | Exception]:
    """What is explained, and, in place of raising it, the fault that ends it, fit to be sent."""
    try:
        yield from explained
    except RelpropError as fault:
        yield fault
    except Exception:
        yield RuntimeError(f"a worker on {socket.gethostname()} failed:\n{traceback.format_exc()}")


def _placed(
    loaded: Iterable[Loaded], shape: Shape | None, unread: list[Explained]
) -> Iterator[Loaded]:
    """The items; those that cannot be read are noted, and keep their places if they have one."""
    for one in loaded:
        if not one.error:
            yield one
            continue
        unread.append(Explained.failed(one.item, one.error))
        if shape is not None:
            yield Loaded(one.item, shape)


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())
