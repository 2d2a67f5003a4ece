"""Data sets: pictures in files, or the examples of an array in a NumPy or Zarr file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from relprop.batch.items import Item, Shape
from relprop.batch.listing import Listed, in_folder, in_table, printable
from relprop.batch.packages import zarr
from relprop.errors import InvalidInputError, RelpropError

Decode = Callable[[Path], Tensor]
"""Reads a picture as a model's input, shape (C, H, W)."""
T = TypeVar("T")
ZARR_MARKS = ("zarr.json", ".zarray", ".zgroup")


class Source(Protocol):
    """A data set: its items, and how to read one."""

    @property
    def items(self) -> Sequence[Item]:
        """The items, numbered from 0."""
        ...

    @property
    def shape(self) -> Shape | None:
        """What all items have, or None where they differ or it is not known."""
        ...

    def read(self, item: Item) -> Tensor:
        """The item as an input of the model, shape (C, H, W).

        Called from several threads. Raises `RelpropError`, one sentence, where it cannot be read.
        """
        ...


class Pictures:
    """Picture files, each read by `decode`; `shape` is what it makes of all of them, if it does."""

    def __init__(self, listed: Sequence[Listed], decode: Decode, shape: Shape | None) -> None:
        self.items = [Item(i, one.name, one.target) for i, one in enumerate(listed)]
        self.shape = shape
        self._paths = {i: one.path for i, one in enumerate(listed)}
        self._decode = decode

    def read(self, item: Item) -> Tensor:
        """The picture as an input of the model."""
        return self._decode(self._paths[item.index])

    def part(self, items: list[Item]) -> Pictures:
        """These pictures alone."""
        paths = {item.index: self._paths[item.index] for item in items}
        return _changed(self, items=items, _paths=paths)


class Examples:
    """The examples of an array of shape (N, C, H, W), converted to `dtype`; `name` is the file's.

    Pickled, it is its file, which `reopen` opens, or else the whole array.

    Raises:
        InvalidInputError: it holds none, or what is no floating-point number.
    """

    def __init__(
        self,
        array: Any,
        name: str,
        dtype: torch.dtype = torch.float32,
        reopen: Callable[[Path], Any] | None = None,
    ) -> None:
        if len(array.shape) < 2 or 0 in array.shape:
            raise InvalidInputError(
                f"{name}: must have shape (N, C, H, W) with N >= 1; got {tuple(array.shape)}"
            )
        if not np.issubdtype(array.dtype, np.floating):
            raise InvalidInputError(
                f"{name}: must hold floating-point numbers; got {array.dtype} (scale them as the "
                "model was trained)"
            )
        self.items = [Item(index, str(index)) for index in range(array.shape[0])]
        self.shape = tuple(array.shape[1:])
        self._array = array
        self._name = name
        self._dtype = dtype
        self._reopen = reopen

    def part(self, items: list[Item]) -> Examples:
        """These examples alone."""
        return _changed(self, items=items)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None if self._reopen else self._array}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        if self._reopen is not None:
            self._array = self._reopen(Path(self._name))

    def read(self, item: Item) -> Tensor:
        """One example."""
        try:
            values = np.array(self._array[item.index], dtype=self._array.dtype.newbyteorder("="))
        except Exception as fault:  # what codecs raise for damaged chunks
            raise InvalidInputError(
                f"{self._name}: example {item.index} is damaged or cut short "
                f"({type(fault).__name__})"
            ) from fault
        return torch.from_numpy(values).to(self._dtype)


def open_source(
    paths: Sequence[Path], decode: Decode, shape: Shape | None, dtype: torch.dtype = torch.float32
) -> Pictures | Examples:
    """The data set that paths name: a folder, a table, an array, or picture files.

    Args:
        paths: one folder of pictures, CSV file, `.npy` file or Zarr array; or picture files.
        decode: reads a picture.
        shape: what `decode` makes of every picture, None where they differ.
        dtype: what examples of arrays are converted to.

    Raises:
        InvalidInputError: there is no such thing, or it cannot be read.
    """
    if len(paths) > 1:
        folders = [path for path in paths if path.is_dir()]
        if folders:
            raise InvalidInputError(f"{folders[0]}: a folder must be the only source")
        return Pictures([Listed(path, printable(path)) for path in paths], decode, shape)
    path = paths[0]
    if not path.exists():
        raise InvalidInputError(f"{path}: there is no such file or folder")
    if path.is_dir() and any((path / mark).exists() for mark in ZARR_MARKS):
        return Examples(_zarr_array(path), str(path), dtype, _zarr_array)
    if path.is_dir():
        return Pictures(in_folder(path), decode, shape)
    if path.suffix.lower() == ".npy":
        return Examples(_numpy_array(path), str(path), dtype, _numpy_array)
    if path.suffix.lower() == ".csv":
        return Pictures(in_table(path), decode, shape)
    return Pictures([Listed(path, printable(path))], decode, shape)


def _changed(source: T, **attributes: Any) -> T:
    """A copy but for some attributes, which opens no file."""
    copy = object.__new__(type(source))
    copy.__dict__ = {**source.__dict__, **attributes}
    return copy


def _numpy_array(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as fault:
        raise InvalidInputError(
            f"{path}: is no NumPy array, damaged, or cut short ({fault})"
        ) from None


def _zarr_array(path: Path) -> Any:
    try:
        found = zarr.open(path, mode="r")
    except RelpropError:
        raise
    except Exception as fault:  # whatever reading damaged metadata comes upon
        raise InvalidInputError(
            f"{path}: is no Zarr array that can be read ({type(fault).__name__})"
        ) from fault
    if isinstance(found, zarr.Array):
        return found
    names = ", ".join(sorted(found.array_keys())) or "none"
    raise InvalidInputError(
        f"{path}: is a Zarr group; name one of its arrays as {path}/NAME, of which it has {names}"
    )
