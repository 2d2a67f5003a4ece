"""Where relevance goes, chunk by chunk: Zarr with a pyramid, tiled BigTIFF, or a NumPy file.

A chunk that is written twice is the same as one that is written once, so a sink may be gone on with
after an interruption at any moment.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from relprop.attribution.tiling.planner import boxes
from relprop.errors import InvalidInputError
from relprop.graph.intervals import Box
from relprop.large import pyramid
from relprop.large.packages import require
from relprop.storage.disk import sync, write_whole

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Layout:
    """An image of relevance, shape (C, H, W), and the side of its chunks, which hold all of C."""

    shape: Shape
    type: torch.dtype
    chunk: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its values."""
        return torch.empty(0, dtype=self.type).numpy().dtype

    @property
    def boxes(self) -> list[Box]:
        """The chunks, row by row."""
        return list(boxes(self.shape[1:], self.chunk))


class Sink(Protocol):
    """Takes the chunks of an image, in any order."""

    def __init__(self, path: Path, layout: Layout) -> None:
        """`path` is the image's."""

    def create(self) -> None:
        """Begin an empty image, in place of whatever is there."""

    def write(self, box: Box, relevance: NDArray[Any]) -> None:
        """Put in a chunk, shape (C, h, w); on return it is on disk."""

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Make of all chunks what others read; `facts` tell how it was made."""


class ZarrSink:
    """An OME-Zarr image (version 0.5, in Zarr 3): compressed chunks, and a pyramid."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path, self._layout = path, layout
        self._array: Any = None

    def create(self) -> None:
        """A group with an array for the largest level."""
        if self._path.exists():
            shutil.rmtree(self._path)
        group = require("zarr").create_group(self._path, zarr_format=3)
        pyramid.create_level(group, 0, self._layout.shape, self._layout.dtype, self._layout.chunk)

    def write(self, box: Box, relevance: NDArray[Any]) -> None:
        """A file of the array's."""
        if self._array is None:
            self._array = require("zarr").open_array(self._path / "0", mode="r+")
        rows, columns = (slice(*interval) for interval in box)
        self._array[:, rows, columns] = relevance
        place = (0, *(start // self._layout.chunk for start, _ in box))
        file = self._path / "0" / self._array.metadata.encode_chunk_key(place)
        if file.exists():  # none is written for zeros
            sync(file)
            sync(file.parent)

    def finish(self, facts: Mapping[str, Any]) -> None:
        """The smaller levels, and what the image says of itself."""
        group = require("zarr").open_group(self._path, mode="r+")
        count = pyramid.add_levels(group, self._layout.chunk)
        group.attrs.update({"ome": pyramid.metadata(count), "relprop": dict(facts)})
        sync(self._path / "zarr.json")


class NumpySink:
    """A .npy file."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path, self._layout = path, layout

    def create(self) -> None:
        """A file of zeros, which takes no space where nothing is written."""
        shape, dtype = self._layout.shape, self._layout.dtype
        np.lib.format.open_memmap(self._path, mode="w+", dtype=dtype, shape=shape).flush()

    def write(self, box: Box, relevance: NDArray[Any]) -> None:
        """Into its place."""
        rows, columns = (slice(*interval) for interval in box)
        # Opened anew for each, so that no more than a chunk of it is in memory.
        image = np.load(self._path, mmap_mode="r+")
        image[:, rows, columns] = relevance
        image.flush()

    def finish(self, facts: Mapping[str, Any]) -> None:
        """It is what it is to be; facts have no place in it."""
        sync(self._path)


class TiffSink:
    """A BigTIFF, a page a channel, in tiles without compression.

    TIFFs are written from their beginning to their end, so chunks wait in a folder beside it.
    """

    ome = False

    def __init__(self, path: Path, layout: Layout) -> None:
        require("tifffile")
        self._path, self._layout = path, layout
        self._folder = path.with_name("chunks")

    def create(self) -> None:
        """An empty folder."""
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._folder.mkdir()

    def write(self, box: Box, relevance: NDArray[Any]) -> None:
        """A file in the folder."""
        write_whole(self._file(box), lambda file: np.save(file, relevance))

    def finish(self, facts: Mapping[str, Any]) -> None:
        """The file; facts have no place in it."""
        layout = self._layout
        metadata: dict[str, Any] = {"axes": "CYX"}
        if self.ome:
            metadata["UUID"] = NO_UUID
        require("tifffile").imwrite(
            self._path,
            self._tiles(),
            shape=layout.shape,
            dtype=layout.dtype,
            tile=(layout.chunk, layout.chunk),
            bigtiff=True,
            ome=self.ome,
            photometric="minisblack",
            metadata=metadata,
        )
        sync(self._path)

    def _tiles(self) -> Iterator[NDArray[Any]]:
        for channel in range(self._layout.shape[0]):
            for box in self._layout.boxes:
                # Tiles at the ends have the size of all others.
                tile = np.zeros((self._layout.chunk,) * 2, self._layout.dtype)
                part = np.load(self._file(box), mmap_mode="r")[channel]
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile

    def _file(self, box: Box) -> Path:
        return self._folder / "-".join(str(start) for start, _ in box)


class OmeTiffSink(TiffSink):
    """The same with OME's metadata."""

    ome = True


NO_UUID = "urn:uuid:00000000-0000-0000-0000-000000000000"
"""In place of a random one, so that the same relevance is the same file."""
SINKS: dict[str, type[Sink]] = {
    ".zarr": ZarrSink,
    ".npy": NumpySink,
    ".ome.tif": OmeTiffSink,
    ".ome.tiff": OmeTiffSink,
    ".tif": TiffSink,
    ".tiff": TiffSink,
    ".btf": TiffSink,
}
"""What an output is, by how its name ends."""


def sink_for(path: Path) -> type[Sink]:
    """The kind of sink that a name asks for.

    Raises:
        InvalidInputError: it asks for none.
    """
    for suffix, kind in SINKS.items():
        if path.name.lower().endswith(suffix):
            return kind
    raise InvalidInputError(f"{path}: an output's name must end in {', '.join(SINKS)}")
