"""Images that are read window by window: arrays, NumPy and Zarr files, TIFFs, slides."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from relprop.errors import InvalidInputError, InvalidTypeError, RelpropError
from relprop.graph.intervals import Box
from relprop.large.packages import require

SPACE = "YX"
CHANNELS = "CS"
"""What axes of channels go by: TIFF has samples."""


class Source(Protocol):
    """An image: its shape (C, H, W), and any window of it."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its values."""
        ...

    @property
    def name(self) -> str:
        """What tells it from others, such as its file and when that was last written."""
        ...

    def window(self, box: Box) -> NDArray[Any]:
        """The pixels of a box of height and width, shape (C, h, w).

        Raises:
            InvalidInputError: they cannot be read.
        """
        ...


class ArraySource:
    """Anything that has a shape, a dtype and slices, as NumPy, memory-mapped and Zarr arrays have.

    Args:
        array: of two or three dimensions, or more of which the others have size 1.
        axes: a letter for each dimension, Y and X and perhaps C, such as `"YXC"`; None to guess, by
            which of three dimensions has at most four elements.
        name: the array's, in messages and for whoever continues an explanation.

    Raises:
        InvalidInputError: the axes do not fit the array, or it holds no numbers.
    """

    def __init__(self, array: Any, axes: str | None = None, name: str = "the image") -> None:
        self.name, self._array = name, array
        self.dtype = np.dtype(array.dtype).newbyteorder("=")
        if self.dtype.kind not in "fiub":
            raise InvalidInputError(f"{name}: must hold numbers; got {self.dtype}")
        given = guessed_axes(array.shape, name) if axes is None else axes.upper()
        self._axes = _checked_axes(given, array.shape, name)
        sizes = dict(zip(self._axes, array.shape, strict=True))
        channels = next((sizes[a] for a in CHANNELS if a in sizes), 1)
        self.shape = (channels, sizes["Y"], sizes["X"])
        if 0 in self.shape:
            raise InvalidInputError(f"{name}: must hold at least one pixel; got {self.shape}")

    def window(self, box: Box) -> NDArray[Any]:
        """The pixels of a box, shape (C, h, w)."""
        slices = dict(zip(SPACE, (slice(*interval) for interval in box), strict=True))
        wanted = tuple(slices.get(a, slice(None)) for a in self._axes)
        try:
            pixels = np.asarray(self._array[wanted], self.dtype)
        except Exception as fault:  # what codecs raise for damaged chunks
            raise InvalidInputError(
                f"{self.name}: is damaged or cut short at {box} ({type(fault).__name__})"
            ) from fault
        order = [a for a in self._axes if a not in SPACE and a not in CHANNELS]
        channels = [a for a in self._axes if a in CHANNELS]
        moved = pixels.transpose([self._axes.index(a) for a in (*order, *channels, *SPACE)])
        window: NDArray[Any] = moved.reshape(self.shape[0], *moved.shape[-2:])
        return window


class SlideSource:
    """A slide that OpenSlide reads, as RGB; what was not scanned is white.

    Args:
        path: the slide.
        level: of its pyramid; 0 is the largest.

    Raises:
        InvalidInputError: it cannot be read, or has no such level.
        MissingPackageError: openslide is not installed.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path, level: int = 0) -> None:
        openslide = require("openslide")
        try:
            self._slide = openslide.OpenSlide(path)
        except (OSError, openslide.OpenSlideError) as fault:
            raise InvalidInputError(f"{path}: is no slide that can be read ({fault})") from None
        count = len(self._slide.level_dimensions)
        if not 0 <= level < count:
            raise InvalidInputError(f"{path}: has levels 0 to {count - 1}; got {level}")
        width, height = self._slide.level_dimensions[level]
        self.shape = (3, height, width)
        self.name = f"{named(path)}, level {level}"
        self._level, self._scale = level, self._slide.level_downsamples[level]

    def window(self, box: Box) -> NDArray[Any]:
        """The pixels of a box, shape (3, h, w)."""
        (top, bottom), (left, right) = box
        place = round(left * self._scale), round(top * self._scale)
        size = right - left, bottom - top
        try:
            region = np.asarray(self._slide.read_region(place, self._level, size))
        except Exception as fault:  # what decoders raise for damaged tiles
            raise InvalidInputError(f"{self.name}: is damaged at {box} ({fault})") from fault
        alpha = region[..., 3:].astype(np.uint16)
        white = (region[..., :3] * alpha + 255 * (255 - alpha)) // 255
        pixels: NDArray[Any] = white.astype(np.uint8).transpose(2, 0, 1)
        return pixels


def open_image(image: Any, axes: str | None = None, level: int = 0) -> Source:
    """A source of an image's windows.

    Args:
        image: a `Source`; an array such as a `numpy.memmap` or a Zarr array; or the path of a .npy
            file, a Zarr array or OME-Zarr group, a TIFF, or a slide.
        axes: as in `ArraySource`; TIFFs have theirs.
        level: of the pyramid that an OME-Zarr group, a TIFF or a slide has; 0 is the largest.

    Raises:
        InvalidInputError, InvalidTypeError: there is no such image, or it cannot be read.
        MissingPackageError: what reads it is not installed.
    """
    if isinstance(image, (str, Path)):
        return _open_path(Path(image), axes, level)
    if hasattr(image, "window"):
        source: Source = image
        return source
    if not (hasattr(image, "shape") and hasattr(image, "dtype")):
        raise InvalidTypeError(
            "image must be a path, an array, or a source with shape, dtype and window; got "
            f"{type(image).__name__}"
        )
    name = named(Path(image.filename)) if getattr(image, "filename", None) else "the array"
    return ArraySource(image, axes, name)


def named(path: Path) -> str:
    """A file, its size, and when it was last written."""
    found = path.stat()
    return f"{path.resolve()}, {found.st_size} bytes of {found.st_mtime_ns}"


def guessed_axes(shape: tuple[int, ...], name: str) -> str:
    """Which dimensions are channels, height and width: other ones must have size 1."""
    inner = [n for n in shape[:-3] if n != 1]
    if len(shape) < 2 or inner:
        raise InvalidInputError(
            f"{name}: must have shape (H, W), (C, H, W) or (H, W, C); got {tuple(shape)}"
        )
    if len(shape) == 2:
        return "YX"
    last = shape[-1] <= 4 < shape[-3]
    ones = "TZABDEFGHIJKLMN"[: len(shape) - 3]
    return ones + ("YXC" if last else "CYX")


def _checked_axes(axes: str, shape: tuple[int, ...], name: str) -> str:
    fits = len(axes) == len(shape) == len(set(axes)) and set(SPACE) <= set(axes)
    if not fits or len(set(CHANNELS) & set(axes)) > 1:
        raise InvalidInputError(
            f"{name}: axes must name each of its {len(shape)} dimensions once, Y and X and perhaps "
            f"C, such as 'CYX'; got {axes!r} for shape {tuple(shape)}"
        )
    others = [n for a, n in zip(axes, shape, strict=True) if a not in SPACE + CHANNELS]
    if math.prod(others) != 1:
        raise InvalidInputError(
            f"{name}: dimensions other than C, Y and X must have size 1; got {tuple(shape)} for "
            f"axes {axes!r}"
        )
    return axes


def _open_path(path: Path, axes: str | None, level: int) -> Source:
    if not path.exists():
        raise InvalidInputError(f"{path}: there is no such file or folder")
    if path.is_dir():
        return _open_zarr(path, axes, level)
    return OPENERS.get(path.suffix.lower(), _open_slide)(path, axes, level)


def _open_npy(path: Path, axes: str | None, level: int) -> Source:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as fault:
        raise InvalidInputError(
            f"{path}: is no NumPy array, damaged, or cut short ({fault})"
        ) from None
    return ArraySource(array, axes, named(path))


def _open_zarr(path: Path, axes: str | None, level: int) -> Source:
    zarr = require("zarr")
    try:
        found = zarr.open(path, mode="r")
    except RelpropError:
        raise
    except Exception as fault:  # whatever reading damaged metadata comes upon
        raise InvalidInputError(
            f"{path}: is no Zarr array or group that can be read ({type(fault).__name__})"
        ) from fault
    if isinstance(found, zarr.Array):
        return ArraySource(found, axes, str(path.resolve()))
    attributes = found.attrs.asdict()
    scales = attributes.get("ome", attributes).get("multiscales")
    if not scales:
        names = ", ".join(sorted(found.array_keys())) or "none"
        raise InvalidInputError(
            f"{path}: is a Zarr group that is no OME-Zarr image; name one of its arrays as "
            f"{path}/NAME, of which it has {names}"
        )
    levels = [one["path"] for one in scales[0]["datasets"]]
    if not 0 <= level < len(levels):
        raise InvalidInputError(f"{path}: has levels 0 to {len(levels) - 1}; got {level}")
    own = "".join(one["name"] if isinstance(one, dict) else one for one in scales[0]["axes"])
    return ArraySource(found[levels[level]], axes or own, f"{path.resolve()}/{levels[level]}")


def _open_tiff(path: Path, axes: str | None, level: int) -> Source:
    tifffile, zarr = require("tifffile"), require("zarr")
    file = None
    try:
        file = tifffile.TiffFile(path)
        levels = file.series[0].levels
        if not 0 <= level < len(levels):
            raise InvalidInputError(f"{path}: has levels 0 to {len(levels) - 1}; got {level}")
        array = zarr.open(levels[level].aszarr(read_only=True), mode="r")
        name = f"{named(path)}, level {level}"
        source = ArraySource(array, axes or levels[level].axes, name)
    except Exception as fault:  # whatever reading a damaged file comes upon
        if file is not None:
            file.close()
        if isinstance(fault, RelpropError):
            raise
        raise InvalidInputError(
            f"{path}: is no TIFF that can be read ({type(fault).__name__}: {fault})"
        ) from fault
    weakref.finalize(source, file.close)
    return source


def _open_slide(path: Path, axes: str | None, level: int) -> Source:
    return SlideSource(path, level)


OPENERS: dict[str, Callable[[Path, str | None, int], Source]] = {
    ".npy": _open_npy,
    ".tif": _open_tiff,
    ".tiff": _open_tiff,
    ".btf": _open_tiff,
}
"""What opens a file, by how its name ends; others are slides."""
