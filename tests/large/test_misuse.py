"""Whatever a user gets wrong about a large image is met by one sentence, before any work."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import relprop
from relprop.errors import InvalidInputError, InvalidTypeError, MissingPackageError
from relprop.large import ArraySource, Normalise, explain_large, open_image
from tests.large.conftest import Image
from tests.tiling.image_networks import network


@pytest.fixture
def lrp() -> relprop.LRP:
    return relprop.LRP(network("ResNet"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"output": "R.png"}, r"R\.png: an output's name must end in \.zarr, \.npy"),
        ({"output": "nowhere/R.npy"}, "there is no folder nowhere"),
        ({"chunk": 20}, "chunk must be a multiple of 16; got 20"),
        ({"target": 4}, "target"),
        ({"target": None}, "target"),
        ({"target": [[0, 1]]}, "target must be one and no list of lists"),
        ({"memory_budget": "much"}, "memory_budget must be a positive number of bytes"),
        ({"baselines": 0.0}, "LRP takes no baselines"),
        ({"axes": "CC"}, "axes must name each of its 3 dimensions once"),
        ({"image": "gone.npy"}, r"gone\.npy: there is no such file or folder"),
        ({"image": np.zeros((2, 3, 4, 5))}, r"must have shape \(H, W\)"),
        ({"image": np.zeros((3, 0, 4))}, "must hold at least one pixel"),
        ({"image": np.array([["a"]])}, "must hold numbers"),
        ({"image": np.full((3, 40, 40), np.nan)}, r"must be finite; it is not in the window"),
    ],
)
def test_what_cannot_be_used(
    options: dict[str, Any],
    words: str,
    lrp: relprop.LRP,
    scene: Image,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {"image": scene, "output": "R.npy", "target": 1} | options
    with pytest.raises(InvalidInputError, match=words):
        explain_large(lrp, **given)


def test_what_has_the_wrong_type(lrp: relprop.LRP, scene: Image, tmp_path: Path) -> None:
    output = tmp_path / "R.npy"
    with pytest.raises(InvalidTypeError, match="image must be a path, an array, or a source"):
        explain_large(lrp, 7, output, 1)
    with pytest.raises(InvalidTypeError, match=r"got torch\.uint8: give a preprocess"):
        explain_large(lrp, np.zeros((3, 40, 40), np.uint8), output, 1)
    guided = relprop.IntegratedGradients(network("ResNet"))
    with pytest.raises(InvalidTypeError, match="method must be one that makes tiles: LRP"):
        explain_large(guided, scene, output, 1)  # as a user may who does not look at types


def test_rules_that_are_not_linear_are_named(scene: Image, tmp_path: Path) -> None:
    guided = relprop.GuidedBackprop(network("VGG"))
    with pytest.raises(InvalidInputError, match="its rule is not linear in what arrives"):
        explain_large(guided, scene, tmp_path / "R.npy", 1, memory_budget="100KiB")


class TwoInputs(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * b).mean((2, 3))


def test_models_of_two_inputs(scene: Image, tmp_path: Path) -> None:
    with pytest.raises(relprop.RelpropError):
        explain_large(relprop.LRP(TwoInputs()), scene, tmp_path / "R.npy", 1)


@pytest.mark.parametrize(
    ("baselines", "words"),
    [
        ("blur", "must be a number, one for each channel, or an image"),
        ([0.0, 1.0], "one for each of 3 channels"),
        (float("nan"), "must be a finite number"),
        (np.zeros((3, 5, 5)), r"must have the image's shape, \(3, 75, 62\)"),
        (lambda x: x, "must be a number, one for each channel, or an image"),
    ],
)
def test_baselines_without_windows(
    baselines: Any, words: str, scene: Image, tmp_path: Path
) -> None:
    deep_lift = relprop.DeepLift(network("ResNet"))
    with pytest.raises(InvalidInputError, match=words):
        explain_large(deep_lift, scene, tmp_path / "R.npy", 1, baselines=baselines)


def test_preprocessing_that_moves_pixels(lrp: relprop.LRP, scene: Image, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="preprocess must leave height and width"):
        explain_large(lrp, scene, tmp_path / "R.npy", 1, preprocess=lambda x: x[:, ::2])
    with pytest.raises(InvalidInputError, match="as many channels as there are means, 3; got 2"):
        explain_large(lrp, scene[:2], tmp_path / "R.npy", 1, preprocess=Normalise())


def test_files_that_are_damaged(tmp_path: Path) -> None:
    (tmp_path / "notes.npy").write_text("buy milk")
    with pytest.raises(InvalidInputError, match=r"notes\.npy: is no NumPy array"):
        open_image(tmp_path / "notes.npy")
    pytest.importorskip("zarr")
    pytest.importorskip("tifffile")
    (tmp_path / "notes.tif").write_text("buy milk")
    with pytest.raises(InvalidInputError, match=r"notes\.tif: is no TIFF that can be read"):
        open_image(tmp_path / "notes.tif")
    (tmp_path / "notes.zarr").mkdir()
    with pytest.raises(InvalidInputError, match=r"notes\.zarr: is no Zarr array or group"):
        open_image(tmp_path / "notes.zarr")


def test_groups_that_are_no_images(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.create_group(tmp_path / "g.zarr").create_array("a", shape=(4, 4), dtype="f4")
    with pytest.raises(InvalidInputError, match=r"name one of its arrays .* of which it has a"):
        open_image(tmp_path / "g.zarr")


class Damaged:
    shape, dtype = (3, 40, 40), np.dtype(float)

    def __getitem__(self, at: object) -> None:
        raise RuntimeError("a codec's error")


def test_chunks_that_are_damaged(lrp: relprop.LRP, tmp_path: Path) -> None:
    source = ArraySource(Damaged(), name="scene.zarr")
    with pytest.raises(InvalidInputError, match=r"scene\.zarr: is damaged or cut short at"):
        explain_large(lrp, source, tmp_path / "R.npy", 1)


@pytest.mark.parametrize("missing", ["tifffile", "openslide"])
def test_packages_that_are_not_there_are_named(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def import_module(name: str) -> Any:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(importlib, "import_module", import_module)
    path = tmp_path / ("scan.svs" if missing == "openslide" else "scene.tif")
    path.write_bytes(b"")
    with pytest.raises(MissingPackageError, match=f"this needs {missing}, which is not installed"):
        open_image(path)
