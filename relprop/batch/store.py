"""Relevance on disk: a Zarr group, in which every example is a chunk of its own.

Row `i` of an array belongs to item `i` of the data set. Where all items have one shape there is one
array, `relevance`; else one for each shape, such as `relevance_3x224x180`. Rows that were not
explained, or have another shape, are NaN and take no space.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relprop.batch.items import Shape
from relprop.batch.journal import Made
from relprop.batch.packages import BloscCodec, zarr
from relprop.storage.disk import sync

NAME = "relevance"
AT_ONCE = 4
"""How many chunks are compressed and waited for at the same time."""
COMPRESSION = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")


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
        sync(unfinished / "zarr.json")
        unfinished.rename(path)
        sync(path.parent)
        return cls(path, len(items), uniform)

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
        sync(self._path / "zarr.json")

    def _array(self, shape: Shape, dtype: np.dtype[Any]) -> Any:
        name = self.name_of(shape)
        if name not in self._arrays:
            self._arrays[name] = (
                self._group[name] if name in self._group else self._created(name, shape, dtype)
            )
        return self._arrays[name]

    def _created(self, name: str, shape: Shape, dtype: np.dtype[Any]) -> Any:
        return self._group.create_array(
            name,
            shape=(self._count, *shape),
            chunks=(1, *shape),
            dtype=dtype,
            fill_value=float("nan"),
            compressors=COMPRESSION,
            # One file an example, all in one folder.
            chunk_key_encoding={"name": "default", "separator": "."},
        )
