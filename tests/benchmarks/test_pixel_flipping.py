"""Erasing must go by the map, follow the right score, and call a map good that finds the object."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.pixel_flipping import erasing, photos, results
from benchmarks.pixel_flipping.curves import Curves, Estimate, area_over, area_under
from benchmarks.pixel_flipping.erasing import FILLS, Eraser
from benchmarks.pixel_flipping.methods import METHODS, RANDOM, Problem
from benchmarks.pixel_flipping.network import folded
from relprop import InvalidInputError
from relprop.cli.images import Preprocessing
from relprop.errors import MissingPackageError

PATCH = 8

takes_quantus = pytest.mark.skipif(
    importlib.util.find_spec("quantus") is None, reason="takes Quantus"
)


@pytest.fixture
def network() -> nn.Module:
    """Small, untrained, with everything that the methods treat in ways of their own."""
    layers = [nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(6, 6, 3, 1, 1, groups=6, bias=False), nn.BatchNorm2d(6), nn.ReLU6()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)]
    model = nn.Sequential(*layers)
    for module in model:
        if isinstance(module, nn.BatchNorm2d):
            for numbers in (module.running_mean, module.running_var, module.weight, module.bias):
                nn.init.uniform_(numbers, 0.5, 1.5)
    return model.eval().requires_grad_(False)


class Brightness(nn.Module):
    """The logit of class 1 is how much of a picture is brighter than 1; class 0 is against it."""

    def forward(self, x: Tensor) -> Tensor:
        bright = torch.relu(x - 1).sum((1, 2, 3))[:, None]
        return torch.cat([-bright, bright], 1) / 100


def planted(n: int = 6) -> tuple[Tensor, Tensor]:
    """Dim noise with one bright region somewhere, (N, 3, 32, 32); where it is, (N, 1, 32, 32)."""
    images, mask = torch.rand(n, 3, 32, 32), torch.zeros(n, 1, 32, 32)
    for photo, place in enumerate(torch.randperm(16)[:n].tolist()):
        top, left = PATCH * (place // 4), PATCH * (place % 4)
        mask[photo, :, top : top + PATCH, left : left + PATCH] = 1
    return images + 2 * mask, mask


def problem(model: nn.Module, images: Tensor) -> Problem:
    classes = torch.ones(len(images), dtype=torch.int64)
    return Problem(model, images, classes, images.new_zeros(1, 3, 1, 1) - 4, images.max() + 4)


def by_hand(
    model: nn.Module, image: Tensor, target: int, relevance: Tensor, fill: Tensor, steps: int
) -> tuple[list[float], list[float]]:
    """Probabilities and logits while squares go one by one, for one picture of shape (3, H, W)."""
    corners = [
        (top, left)
        for top in range(0, image.shape[1], PATCH)
        for left in range(0, image.shape[2], PATCH)
    ]

    def square(corner: tuple[int, int]) -> tuple[slice, slice, slice]:
        top, left = corner
        return slice(None), slice(top, top + PATCH), slice(left, left + PATCH)

    corners.sort(key=lambda corner: relevance[square(corner)].sum().item(), reverse=True)
    image = image.clone()
    probabilities, logits = [], []
    for corner in [None, *corners[:steps]]:
        if corner is not None:
            image[square(corner)] = fill[square(corner)]
        output = model(image[None])[0]
        logits.append(output[target].item())
        probabilities.append((output.exp() / output.exp().sum())[target].item())
    return probabilities, logits


@pytest.mark.peers
@takes_quantus
@pytest.mark.parametrize(("fill", "share", "steps"), [("mean", 1.0, 16), ("blur", 0.3, 5)])
def test_curves_and_areas_are_those_of_erasing_by_hand(
    network: nn.Module, fill: str, share: float, steps: int
) -> None:
    images, classes = torch.randn(3, 3, 32, 32), torch.tensor([2, 0, 3])
    maps = torch.randn(3, 1, 32, 32)
    eraser = Eraser(network, images, classes, patch=PATCH, share=share, fill=fill)
    assert eraser.erased == steps / 16
    curves = eraser.curves(maps)
    fills = FILLS[fill].of(images)
    for photo, target in enumerate(classes.tolist()):
        expected = by_hand(network, images[photo], target, maps[photo], fills[photo], steps)
        for scores, heights in zip((curves.probability, curves.logit), expected, strict=True):
            torch.testing.assert_close(scores[photo].tolist(), heights, rtol=1e-5, atol=1e-5)
            trapezoids = sum((a + b) / 2 for a, b in pairwise(heights))
            assert area_under(scores)[photo].item() == pytest.approx(trapezoids / steps, rel=1e-4)
            falls = sum(heights[0] - height for height in heights) / (steps + 1)
            assert area_over(scores)[photo].item() == pytest.approx(falls, rel=1e-3, abs=1e-5)


@pytest.mark.peers
@takes_quantus
def test_a_map_of_the_planted_object_erases_it_at_once() -> None:
    images, mask = planted()
    there = torch.ones(len(images), dtype=torch.int64)
    eraser = Eraser(Brightness(), images, there, patch=PATCH, fill="mean")
    logits = eraser.curves(mask).logit
    assert (logits[:, 0] > 1).all()
    assert (logits[:, 1:] < 0.01).all()  # nothing else is brighter than 1
    last = eraser.curves(-mask).logit
    assert (last[:, :-1] > 1).all()
    assert (last[:, -1] < 0.01).all()


@pytest.mark.peers
@takes_quantus
@pytest.mark.parametrize("name", ["LRP epsilon", "input x gradient", "gradient magnitude"])
def test_methods_that_find_the_planted_object_beat_random(name: str) -> None:
    images, _ = planted()
    given = problem(Brightness(), images)
    eraser = Eraser(given.network, images, given.classes, patch=PATCH, fill="mean")
    (found,) = METHODS[name].maps(given)
    guesses = Curves.mean([eraser.curves(one) for one in METHODS[RANDOM].maps(given)])
    for score in ("probability", "logit"):
        ours, theirs = (getattr(curves, score) for curves in (eraser.curves(found), guesses))
        assert (area_under(ours) < area_under(theirs)).all()
        assert (area_over(ours) > area_over(theirs)).all()


@pytest.mark.peers
@takes_quantus
def test_the_network_is_asked_once_for_each_step(network: nn.Module) -> None:
    calls = []
    network.register_forward_hook(lambda *_: calls.append(1))
    eraser = Eraser(network, torch.randn(2, 3, 32, 32), torch.tensor([0, 1]), patch=16)
    eraser.curves(torch.randn(2, 1, 32, 32))
    assert len(calls) == 1 + 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"patch": 5}, "must divide 32 and 32, the photos' height and width in pixels; got 5"),
        ({"patch": 0}, "must divide 32 and 32"),
        ({"patch": 8, "share": 0.0}, "must be more than 0 and at most 1; got 0.0"),
    ],
)
def test_wrong_regions_are_refused(
    network: nn.Module, arguments: dict[str, float], sentence: str
) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        Eraser(network, torch.zeros(1, 3, 32, 32), torch.tensor([0]), **arguments)


@pytest.mark.parametrize(
    ("package", "use"),
    [
        ("quantus", erasing.quantus),
        ("foolbox", lambda: photos.load_photos(Preprocessing(32))),
    ],
)
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str, use: Callable[[], object]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=f"this needs .*{package}, which "):
        use()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_one_finite_number_a_pixel(network: nn.Module, name: str) -> None:
    images = torch.randn(2, 3, 32, 32)
    maps = list(METHODS[name].maps(problem(network, images)))
    assert len(maps) == METHODS[name].draws
    for one in maps:
        assert one.shape == (2, 1, 32, 32)
        assert one.isfinite().all()
        assert one.flatten(1).std(1).gt(0).all()


def test_the_folded_network_gives_the_same_logits(network: nn.Module) -> None:
    network, images = network.double(), torch.randn(3, 3, 32, 32, dtype=torch.float64)
    expected = network(images)
    copy = folded(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in copy.modules())
    torch.testing.assert_close(copy(images), expected, rtol=1e-12, atol=1e-12)
    assert network(images).equal(expected)
    assert isinstance(network[1], nn.BatchNorm2d)


def test_the_standard_error_is_that_of_a_mean() -> None:
    estimate = Estimate.of(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert (estimate.mean, estimate.error) == pytest.approx((2.5, (5 / 3) ** 0.5 / 2))


def test_results_are_written_the_best_method_first(tmp_path: Path) -> None:
    def falling(rate: float) -> Curves:
        heights = torch.exp(-rate * torch.arange(5.0)).repeat(3, 1)
        return Curves(heights, 10 * heights)

    outcomes = {name: falling(0.1 * place) for place, name in enumerate(METHODS)}
    files = results.write(outcomes, 0.5, {"network": "none"}, tmp_path)
    assert [file.name for file in files] == ["results.md", "results.json", "curves.png"]
    rows = [line.split(" | ") for line in files[0].read_text().splitlines() if " ± " in line]
    assert [row[0].removeprefix("| ") for row in rows] == list(METHODS)[::-1]
    read = json.loads(files[1].read_text())
    assert list(read["methods"]) == list(METHODS)[::-1]
    assert read["erased"] == [0, 0.125, 0.25, 0.375, 0.5]
    assert files[2].read_bytes().startswith(b"\x89PNG")
