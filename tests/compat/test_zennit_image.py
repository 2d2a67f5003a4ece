"""Pictures by zennit's functions are zennit's, pixel by pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from relprop.compat.zennit import cmap as maps
from relprop.compat.zennit import image as ours
from relprop.errors import InvalidInputError
from tests.compat.zennit_peer import both

pytestmark = pytest.mark.peers

CASES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "plain": ((9, 7), {}),
    "symmetric": ((9, 7), {"symmetric": True, "cmap": "coldnhot"}),
    "level": ((9, 7), {"symmetric": True, "level": 2.0}),
    "bounds": ((1, 9, 7), {"vmin": -0.5, "vmax": 1.5, "cmap": "hot"}),
    "own colours": ((9, 7, 1), {"cmap": "20:123456,fff,a:f00,00ff00,e0:00f"}),
    "three channels": ((3, 9, 7), {}),
    "grid": ((5, 9, 7), {"grid": True, "symmetric": True}),
    "grid of a shape": ((3, 3, 4, 5), {"grid": (2, 2), "gridfill": 200}),
    "grid too small": ((6, 4, 5, 1), {"grid": [1, 4], "cmap": "france"}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_picture_is_zennits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, _ = both("image")
    palette = theirs.palette
    # Pillow 13 reads no colours from arrays, which zennit 0.5.1 hands it.
    monkeypatch.setattr(theirs, "palette", lambda *args: palette(*args).tobytes())
    shape, settings = CASES[name]
    array = np.random.default_rng(3).normal(size=shape)
    expected = theirs.imgify(array, **settings)
    for given in (array, torch.from_numpy(array).requires_grad_()):
        got = ours.imgify(given, **settings)
        assert got.mode == expected.mode
        one, other = (np.asarray(image.convert("RGB")) for image in (got, expected))
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", maps.CMAPS)
def test_colours_are_zennits(name: str) -> None:
    theirs, _ = both("image")
    for level in (0.5, 1.0, 3.0):
        np.testing.assert_array_equal(ours.palette(name, level), theirs.palette(name, level))
    assert list(maps.CMAPS) == list(theirs.CMAPS)


def test_a_picture_is_written(tmp_path: Path) -> None:
    array = np.random.default_rng(3).normal(size=(4, 5))
    ours.imsave(tmp_path / "map.png", array, symmetric=True)
    with Image.open(tmp_path / "map.png") as written:
        expected = np.asarray(ours.imgify(array, symmetric=True).convert("RGB"))
        np.testing.assert_array_equal(np.asarray(written.convert("RGB")), expected)


def test_a_map_of_zeros_is_one_colour() -> None:
    assert len(np.unique(np.asarray(ours.imgify(np.zeros((3, 4)), symmetric=True)))) == 1


@pytest.mark.parametrize(("shape", "grid"), [((4, 5, 6), False), ((5, 6), True), ((2,), False)])
def test_other_shapes_are_refused(shape: tuple[int, ...], grid: bool) -> None:
    with pytest.raises(InvalidInputError, match=r"a picture must have shape \(H, W\), or"):
        ours.imgify(np.zeros(shape), grid=grid)


@pytest.mark.parametrize("source", ["blue", "fff", "fff,f0", "80:fff,20:000"])
def test_other_colour_maps_are_refused(source: str) -> None:
    with pytest.raises(InvalidInputError, match="must be"):
        ours.imgify(np.zeros((2, 2)), cmap=source)
