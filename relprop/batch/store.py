"""Relevance on disk: a Zarr group, in which every example is a chunk of its own.

Row `i` of an array belongs to item `i` of the data set. Where all items have one shape there is one
array, `relevance`; else one for each shape, such as `relevance_3x224x180`. Rows that were not
explained, or have another shape, are NaN and take no space.
"""

from __future__ import annotations

import math
import shutil
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relprop.batch.items import Shape
from relprop.batch.journal import Made
from relprop.batch.packages import BloscCodec, ContainsArrayError, zarr
from relprop.errors import StorageError
from relprop.storage.disk import sync

NAME = "relevance"
METADATA = "zarr.json"
AT_ONCE = 4
"""How many chunks are compressed and waited for at the same time."""
BLOCK = 2**22
"""Bytes that are compressed as one, at most. Channels that are alike, as those of LRP's flat rule,
are then written once: a third of what smaller blocks take, in a third of the time."""


@dataclass(frozen=True)
class Place:
    """A store, for other processes to open; `metadata` tells it from another of its name."""

    path: Path
    count: int
    uniform: bool
    metadata: bytes

    def open(self) -> Store:
        """The store, as this machine sees it.

        Raises:
            StorageError: it is not here.
        """
        try:
            if (self.path / METADATA).read_bytes() == self.metadata:
                return Store(self.path, self.count, self.uniform)
        except OSError:
            pass
        raise StorageError(
            f"{self.path}: is not the same folder on {socket.gethostname()}; let the output be "
            "where all machines share it, or leave out --workers-write"
        )


class Store:
    """The group of a data set of `count` items; `uniform` if all have one shape."""

    def __init__(self, path: Path, count: int, uniform: bool) -> None:
        self._path = path
        self._count = count
        self._uniform = uniform
        self._arrays: dict[str, Any] = {}
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="relprop-chunk")
        self._group = zarr.open_group(path, mode="r+")

    @classmethod
    def create(cls, path: Path, made: Made, items: Sequence[str], uniform: bool) -> Store:
        """An empty group, that is there as a whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        unfinished = path.with_name(f".{path.name}.part")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        attributes = {**made, "items": list(items), "complete": False}
        zarr.create_group(unfinished, attributes=attributes, zarr_format=3)
        sync(unfinished / METADATA)
        unfinished.rename(path)
        sync(path.parent)
        return cls(path, len(items), uniform)

    def place(self) -> Place:
        """Where other processes find it."""
        path = self._path.resolve()
        return Place(path, self._count, self._uniform, (path / METADATA).read_bytes())

    def tidy(self) -> None:
        """Remove what a killed process was in the middle of writing."""
        for unfinished in self._path.rglob("*.partial"):
            unfinished.unlink()

    def name_of(self, shape: Shape) -> str:
        """The array for relevance of this shape."""
        return NAME if self._uniform else f"{NAME}_{'x'.join(map(str, shape))}"

    def write(self, indices: Sequence[int], relevance: NDArray[Any]) -> None:
        """Put relevance, shape (K, C, H, W), into the rows of K items; on return it is on disk.

        Raises:
            OSError: it cannot be written.
        """
        array = self._array(relevance.shape[1:], relevance.dtype)
        folder = self._path / array.path

        def write_one(index: int, values: NDArray[Any]) -> None:
            # A slice, not an index: a chunk that is replaced as a whole is not read before.
            array[index : index + 1] = values[None]
            sync(folder / array.metadata.encode_chunk_key((index, *[0] * values.ndim)))

        list(self._pool.map(write_one, indices, relevance))
        sync(folder)

    def close(self) -> None:
        """Let go of the threads that write."""
        self._pool.shutdown()

    def finish(self, complete: bool) -> None:
        """Say whether every item was tried."""
        self._group.attrs["complete"] = complete
        sync(self._path / METADATA)

    def _array(self, shape: Shape, dtype: np.dtype[Any]) -> Any:
        name = self.name_of(shape)
        if name not in self._arrays:
            if name not in self._group:
                with suppress(ContainsArrayError):  # another process was faster
                    self._create(name, shape, dtype)
            self._arrays[name] = self._group[name]
        return self._arrays[name]

    def _create(self, name: str, shape: Shape, dtype: np.dtype[Any]) -> None:
        self._group.create_array(
            name,
            shape=(self._count, *shape),
            chunks=(1, *shape),
            dtype=dtype,
            fill_value=float("nan"),
            compressors=BloscCodec(
                cname="zstd",
                clevel=1,
                shuffle="shuffle",
                blocksize=min(BLOCK, math.prod(shape) * dtype.itemsize),
            ),
            # One file an example, all in one folder.
            chunk_key_encoding={"name": "default", "separator": "."},
        )
