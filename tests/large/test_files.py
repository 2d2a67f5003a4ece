"""Images are read from, and relevance is written to, the files that others read and write."""

from __future__ import annotations

import itertools
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import relprop
from relprop.large import Normalise, explain_large, open_image
from tests.large.conftest import Image

zarr = pytest.importorskip("zarr")
tifffile = pytest.importorskip("tifffile")

Pixels = NDArray[Any]
BOX = ((3, 40), (17, 58))
NORMALISE = Normalise((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(4, 3)).eval()


@pytest.fixture
def pixels() -> Pixels:
    """Eight bits, shape (75, 62, 3)."""
    return np.random.default_rng(1).integers(0, 256, (75, 62, 3), dtype=np.uint8)


def _npy(path: Path, pixels: Pixels) -> Any:
    np.save(path / "image.npy", pixels)
    return path / "image.npy"


def _memmap(path: Path, pixels: Pixels) -> Any:
    return np.load(_npy(path, pixels), mmap_mode="r")


def _zarr(version: int) -> Callable[[Path, Pixels], Any]:
    def write(path: Path, pixels: Pixels) -> Any:
        zarr.create_array(path / "image.zarr", data=pixels, chunks=(16, 16, 3), zarr_format=version)
        return path / "image.zarr"

    return write


def _zarr_array(path: Path, pixels: Pixels) -> Any:
    return zarr.open_array(_zarr(3)(path, pixels), mode="r")


def _ome_zarr(version: str) -> Callable[[Path, Pixels], Any]:
    def write(path: Path, pixels: Pixels) -> Any:
        group = zarr.create_group(path / "image.zarr", zarr_format=3 if version == "0.5" else 2)
        for level, step in enumerate((1, 2)):
            image = pixels[::step, ::step].transpose(2, 0, 1)[None]
            group.create_array(f"s{level}", data=image, chunks=(1, 3, 16, 16))
        axes = [{"name": name} for name in "tcyx"]
        scales = [{"axes": axes, "datasets": [{"path": "s0"}, {"path": "s1"}]}]
        named = {"multiscales": scales}
        group.attrs.update({"ome": named} if version == "0.5" else named)
        return path / "image.zarr"

    return write


def _tiff(name: str, **options: Any) -> Callable[[Path, Pixels], Any]:
    def write(path: Path, pixels: Pixels) -> Any:
        planes = options.get("planarconfig") == "separate" or "metadata" in options
        image = pixels.transpose(2, 0, 1) if planes else pixels
        tifffile.imwrite(path / name, image, tile=(16, 16), **options)
        return path / name

    return write


SOURCES: dict[str, Callable[[Path, Pixels], Any]] = {
    "npy": _npy,
    "memmap": _memmap,
    "Zarr 2": _zarr(2),
    "Zarr 3": _zarr(3),
    "Zarr array": _zarr_array,
    "OME-Zarr 0.4": _ome_zarr("0.4"),
    "OME-Zarr 0.5": _ome_zarr("0.5"),
    "TIFF": _tiff("image.tif", photometric="rgb"),
    "BigTIFF, compressed": _tiff("i.tiff", photometric="rgb", bigtiff=True, compression="zlib"),
    "TIFF, a plane a channel": _tiff("i.tif", photometric="rgb", planarconfig="separate"),
    "OME-TIFF": _tiff("i.ome.tif", photometric="minisblack", metadata={"axes": "CYX"}),
}


@pytest.mark.filterwarnings("ignore:.*:UserWarning:zarr.*")
@pytest.mark.parametrize("kind", SOURCES)
def test_windows_of_every_kind_of_source(kind: str, pixels: Pixels, tmp_path: Path) -> None:
    source = open_image(SOURCES[kind](tmp_path, pixels))
    assert source.shape == (3, 75, 62) and source.dtype == np.uint8
    (top, bottom), (left, right) = BOX
    expected = pixels.transpose(2, 0, 1)[:, top:bottom, left:right]
    assert np.array_equal(source.window(BOX), expected)


def test_levels_of_a_pyramid(pixels: Pixels, tmp_path: Path) -> None:
    source = open_image(_ome_zarr("0.5")(tmp_path, pixels), level=1)
    assert source.shape == (3, 38, 31)
    assert np.array_equal(source.window(((0, 38), (0, 31))), pixels[::2, ::2].transpose(2, 0, 1))


@pytest.mark.parametrize("axes", ["CXY", "XYC"])
def test_axes_may_be_said(axes: str) -> None:
    array = np.arange(2 * 5 * 7).reshape(2, 5, 7)
    source = open_image(array, axes)
    order = [axes.index(letter) for letter in "CYX"]
    assert source.shape == tuple(np.array(array.shape)[order])
    assert np.array_equal(source.window(((1, 2), (0, 2))), array.transpose(order)[:, 1:2, :2])


def test_images_without_channels_have_one() -> None:
    source = open_image(np.arange(12.0).reshape(3, 4))
    assert source.shape == (1, 3, 4)
    assert np.array_equal(source.window(((1, 3), (2, 4))), [[[6, 7], [10, 11]]])


def test_sixteen_bits_of_either_order(net: nn.Module, tmp_path: Path) -> None:
    values = np.random.default_rng(2).integers(0, 2**16, (3, 40, 40))
    normalise = Normalise((0.5,), (0.25,), 65535)
    for order in "<>":
        explain_large(
            relprop.Gradient(net),
            values.astype(f"{order}u2"),
            tmp_path / f"{ord(order)}.npy",
            1,
            preprocess=normalise,
        )
    x = torch.from_numpy((values / 65535 - 0.5) / 0.25).float()[None]
    R = relprop.Gradient(net).attribute(x, target=1)[0].numpy()
    for order in "<>":
        assert np.abs(np.load(tmp_path / f"{ord(order)}.npy") - R).max() <= 1e-6 * np.abs(R).max()


class Slide:
    """As OpenSlide has it: half of it transparent."""

    level_dimensions = ((124, 150), (62, 75))
    level_downsamples = (1.0, 2.0)
    image: Pixels

    def __init__(self, path: Path) -> None:
        assert path.name == "scan.svs"

    def read_region(self, place: tuple[int, int], level: int, size: tuple[int, int]) -> Pixels:
        assert level == 1
        left, top = (n // 2 for n in place)
        return self.image[top : top + size[1], left : left + size[0]]


def test_slides_are_read_with_what_was_not_scanned_in_white(
    pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpha = np.zeros((75, 62, 1), np.uint8)
    alpha[:, :30] = 255
    Slide.image = np.concatenate([pixels, alpha], axis=2)
    package = types.SimpleNamespace(OpenSlide=Slide, OpenSlideError=OSError)
    monkeypatch.setitem(sys.modules, "openslide", package)
    (tmp_path / "scan.svs").write_bytes(b"a slide")
    source = open_image(tmp_path / "scan.svs", level=1)
    window = source.window(BOX)
    expected = pixels.transpose(2, 0, 1).copy()
    expected[:, :, 30:] = 255
    assert source.shape == (3, 75, 62)
    assert np.array_equal(window, expected[:, 3:40, 17:58])


def read_zarr(path: Path) -> Pixels:
    return np.asarray(zarr.open_group(path, mode="r")["0"][:])


READERS: dict[str, Callable[[Path], Pixels]] = {
    "R.npy": np.load,
    "R.zarr": read_zarr,
    "R.tif": tifffile.imread,
    "R.ome.tif": tifffile.imread,
}


@pytest.mark.parametrize("name", READERS)
def test_every_kind_of_output_holds_the_relevance(
    name: str, net: nn.Module, pixels: Pixels, tmp_path: Path
) -> None:
    lrp, image = relprop.LRP(net), _tiff("image.tif", photometric="rgb")(tmp_path, pixels)
    x = NORMALISE(torch.from_numpy(pixels.transpose(2, 0, 1).copy()))[None]
    R = lrp.attribute(x, target=1)[0].numpy()
    found = explain_large(
        lrp,
        image,
        tmp_path / name,
        1,
        preprocess=NORMALISE,
        chunk=16,
        memory_budget="64KiB",
    )
    written = READERS[name](found.path)
    assert written.shape == R.shape and written.dtype == np.float32
    assert np.abs(written - R).max() <= 1e-5 * np.abs(R).max()
    assert {path.name for path in tmp_path.iterdir()} == {"image.tif", name}


def test_tiffs_are_tiled(net: nn.Module, scene: Image, tmp_path: Path) -> None:
    lrp, image = relprop.LRP(net), scene.astype(np.float32)
    explain_large(lrp, image, tmp_path / "R.tif", 0, chunk=32)
    with tifffile.TiffFile(tmp_path / "R.tif") as file:
        assert file.is_bigtiff
        assert [page.tile for page in file.pages] == [(32, 32)] * 3
        assert file.series[0].axes == "CYX"


@pytest.fixture
def ome(net: nn.Module, scene: Image, tmp_path: Path) -> Path:
    """An image of relevance with a pyramid."""
    path = tmp_path / "R.zarr"
    explain_large(relprop.LRP(net), scene.astype(np.float32), path, 0, chunk=16)
    return path


def test_every_level_of_the_pyramid_sums_to_what_was_explained(ome: Path) -> None:
    group = zarr.open_group(ome, mode="r")
    levels = [np.asarray(group[str(k)][:], dtype=np.float64) for k in range(4)]
    assert [level.shape for level in levels] == [(3, 75, 62), (3, 38, 31), (3, 19, 16), (3, 10, 8)]
    for below, above in itertools.pairwise(levels):
        for y, x in ((0, 0), (5, 4), (above.shape[1] - 1, above.shape[2] - 1)):
            four = below[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
            assert above[:, y, x] == pytest.approx(four.sum((1, 2)), rel=1e-6, abs=1e-12)
    total = group.attrs["relprop"]["sum"]
    size = np.abs(levels[0]).sum()
    assert [level.sum() for level in levels] == pytest.approx([total] * 4, abs=1e-6 * size)


def test_the_group_says_what_viewers_ask_for(ome: Path) -> None:
    """As OME-Zarr 0.5 has it (ngff.openmicroscopy.org/0.5, "multiscales" metadata)."""
    described = json.loads((ome / "zarr.json").read_text())
    assert described["zarr_format"] == 3 and described["node_type"] == "group"
    stated = described["attributes"]["ome"]
    assert stated["version"] == "0.5"
    (scales,) = stated["multiscales"]
    assert [axis["name"] for axis in scales["axes"]] == ["c", "y", "x"]
    assert [axis["type"] for axis in scales["axes"]] == ["channel", "space", "space"]
    for level, dataset in enumerate(scales["datasets"]):
        array = json.loads((ome / dataset["path"] / "zarr.json").read_text())
        assert array["dimension_names"] == ["c", "y", "x"]
        scale, *rest = dataset["coordinateTransformations"]
        assert scale == {"type": "scale", "scale": [1, 2**level, 2**level]}
        middle = [0, (2**level - 1) / 2, (2**level - 1) / 2]
        assert rest == ([{"type": "translation", "translation": middle}] if level else [])
    assert described["attributes"]["relprop"]["method"] == "LRP"


def test_chunks_are_compressed_by_themselves(ome: Path) -> None:
    array = zarr.open_group(ome, mode="r")["0"]
    assert array.chunks == (3, 16, 16)
    assert array.compressors
