"""What is explained from file to file is the explanation of the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import relprop
from relprop.attribution.tiled import Tiled
from relprop.large import explain_large
from tests.large.budgets import in_stages
from tests.large.conftest import Image
from tests.tiling.image_networks import build, network

METHODS: dict[str, Callable[[nn.Module], Tiled]] = {
    "z+ and flat": relprop.LRP,
    "biases handed down": lambda net: relprop.LRP(net, "epsilon_plus", bias="redistribute"),
    "deep Taylor": lambda net: relprop.DeepTaylor(net, low=-6.0, high=6.0),
    "RevealCancel, Shapley pools": lambda net: relprop.DeepLift(net, "reveal_cancel", "shapley"),
    "gradient": relprop.Gradient,
    "input x gradient": relprop.InputXGradient,
}


OFTEN = ("z+ and flat", "RevealCancel, Shapley pools", "gradient")
CASES = [("EfficientNet-Lite", method) for method in METHODS]
CASES += [(name, method) for name in ("ResNet", "VGG") for method in OFTEN]


@pytest.mark.parametrize(("name", "method"), CASES)
def test_stages_of_tiles_add_up_to_the_whole(
    name: str, method: str, scene: Image, tmp_path: Path
) -> None:
    explainer, x = METHODS[method](network(name)), torch.from_numpy(scene)[None]
    options: dict[str, Any] = {}
    if isinstance(explainer, relprop.DeepLift):
        options["baselines"] = 0.3
    R = explainer.attribute(x, target=2, **options)[0].numpy()
    chain = in_stages(explainer, scene, **options)
    found = explain_large(
        explainer, scene, tmp_path / "R.npy", 2, memory_budget=chain.budget, chunk=32, **options
    )
    by_stages = np.load(tmp_path / "R.npy")
    assert by_stages.dtype == np.float64
    assert np.abs(by_stages - R).max() <= 1e-11 * np.abs(R).max()
    assert found.sum == pytest.approx(R.sum(), rel=1e-11, abs=1e-11 * np.abs(R).sum())
    y = network(name)(x)[0, 2].item()
    if options:
        y -= network(name)(torch.full_like(x, 0.3))[0, 2].item()
    assert found.score == pytest.approx(y, rel=1e-11)
    assert found.shortfall == pytest.approx(found.score - found.sum, abs=1e-15)


@pytest.mark.parametrize("bias", ["absorb", "redistribute"])
def test_a_mean_over_space_is_taken_tile_by_tile(bias: str, scene: Image, tmp_path: Path) -> None:
    lrp = relprop.LRP(network("ResNet"), "epsilon_plus", bias=bias)
    chain = in_stages(lrp, scene, pooled=True)
    assert chain.pooled is not None
    R = lrp.attribute(torch.from_numpy(scene)[None], target=1)[0].numpy()
    explain_large(lrp, scene, tmp_path / "R.npy", 1, memory_budget=chain.budget, chunk=64)
    assert np.abs(np.load(tmp_path / "R.npy") - R).max() <= 1e-11 * np.abs(R).max()


class MeansOfColumns(nn.Module):
    """A head that reads the cut through a mean without the sizes of 1 that it leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3, 2), nn.Tanh(), nn.Conv2d(5, 7, 3))
        self.end = nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(self.body(x).mean((-1, -2)).tanh())


@pytest.mark.parametrize("make", [relprop.LRP, relprop.DeepLift, relprop.InputXGradient])
def test_a_mean_with_a_function_above_it(
    make: Callable[[nn.Module], Tiled], scene: Image, tmp_path: Path
) -> None:
    explainer, x = make(MeansOfColumns().double()), torch.from_numpy(scene)[None]
    R = explainer.attribute(x, target=0)[0].numpy()
    explain_large(explainer, scene, tmp_path / "R.npy", 0, memory_budget=60000)
    assert np.abs(np.load(tmp_path / "R.npy") - R).max() <= 1e-11 * np.abs(R).max()


def test_a_network_of_one_value_a_pixel(scene: Image, tmp_path: Path) -> None:
    gradient, target = relprop.InputXGradient(network("U-Net, bilinear")), (1, 20, 17)
    R = gradient.attribute(torch.from_numpy(scene)[None], target=target)[0].numpy()
    explain_large(gradient, scene, tmp_path / "R.npy", target)
    assert np.abs(np.load(tmp_path / "R.npy") - R).max() <= 1e-12 * np.abs(R).max()


def test_the_class_may_be_chosen_by_the_outputs(scene: Image, tmp_path: Path) -> None:
    net = network("ResNet")
    found = explain_large(
        relprop.LRP(net), scene, tmp_path / "R.npy", lambda outputs: int(outputs.argmin())
    )
    outputs = net(torch.from_numpy(scene)[None])[0]
    assert found.target == outputs.argmin()
    assert found.score == pytest.approx(outputs.min().item(), rel=1e-12)


@pytest.mark.parametrize("baseline", ["channels", "image"])
def test_baselines_of_channels_and_of_pixels(baseline: str, scene: Image, tmp_path: Path) -> None:
    deep_lift = relprop.DeepLift(network("VGG"))
    channels = [0.1, -0.2, 0.3]
    image = np.flip(scene, 1).copy()
    given = channels if baseline == "channels" else image
    x0 = np.broadcast_to(np.array(channels)[:, None, None], scene.shape).copy()
    x0 = torch.from_numpy(x0 if baseline == "channels" else image)[None]
    R = deep_lift.attribute(torch.from_numpy(scene)[None], x0, target=1)[0].numpy()
    explain_large(
        deep_lift, scene, tmp_path / "R.npy", 1, baselines=given, memory_budget="2MiB", chunk=32
    )
    assert np.abs(np.load(tmp_path / "R.npy") - R).max() <= 1e-11 * np.abs(R).max()


def test_single_precision_stays_single(scene: Image, tmp_path: Path) -> None:
    lrp = relprop.LRP(build("EfficientNet-Lite").float())
    image = scene.astype(np.float32)
    R = lrp.attribute(torch.from_numpy(image)[None], target=1)[0].numpy()
    chain = in_stages(lrp, image)
    explain_large(lrp, image, tmp_path / "R.npy", 1, memory_budget=chain.budget)
    by_stages = np.load(tmp_path / "R.npy")
    assert by_stages.dtype == np.float32
    assert np.abs(by_stages - R).max() <= 1e-5 * np.abs(R).max()


def test_progress_grows_to_the_whole(scene: Image, tmp_path: Path) -> None:
    lrp, shares = relprop.LRP(network("ResNet")), []
    chain = in_stages(lrp, scene)
    explain_large(
        lrp, scene, tmp_path / "R.npy", 1, memory_budget=chain.budget, watch=shares.append
    )
    assert shares == sorted(shares) and shares[0] > 0
    assert shares[-1] == pytest.approx(1.0)
    assert len(shares) == 2 * sum(len(stage.boxes) for stage in chain.stages)
