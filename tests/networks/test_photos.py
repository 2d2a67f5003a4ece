"""A trained network and real photographs: sums hold to 1e-4 of the score in float32."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.baselines import BASELINES
from relprop.cli.images import Preprocessing, read_picture
from relprop.cli.zoo import BUILT_IN, sample_pictures

TOLERANCE = 1e-4


def labelled_photos() -> list[tuple[str, Path, int | None]]:
    """The cat, the cup, and foolbox's twenty ImageNet photos, whose names end with the class."""
    photos: list[tuple[str, Path, int | None]] = [(p.stem, p, None) for p in sample_pictures()]
    spec = importlib.util.find_spec("foolbox")
    if spec is None or spec.origin is None:
        return photos
    folder = Path(spec.origin).parent / "data"
    for path in sorted(folder.glob("imagenet_*")):
        photos.append((path.stem, path, int(path.stem.split("_")[-1])))
    return photos


PHOTOS = labelled_photos()


@pytest.fixture(scope="module")
def lite0() -> nn.Module:
    built_in = BUILT_IN["efficientnet-lite0"]
    model = built_in.build()
    model.load_state_dict(torch.load(built_in.weights(), weights_only=True))
    return model.eval()


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    preprocessing: Preprocessing = BUILT_IN["efficientnet-lite0"].preprocessing
    crops = [preprocessing.crop(read_picture(path)) for _, path, _ in PHOTOS]
    return torch.cat([preprocessing.tensor(crop) for crop in crops])


@pytest.fixture(scope="module")
def winners(lite0: nn.Module, pictures: Tensor) -> Tensor:
    with torch.no_grad():
        return lite0(pictures).argmax(1)


def test_the_network_knows_the_photos(winners: Tensor) -> None:
    labels = [label for _, _, label in PHOTOS]
    right = sum(a == b for a, b in zip(winners.tolist(), labels, strict=True) if b is not None)
    assert winners[:2].tolist() == [282, 967]  # tiger cat, espresso
    assert right >= 0.9 * (len(PHOTOS) - 2)


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
@pytest.mark.parametrize("baseline", ["blank", "blur"])
def test_deeplift_sums_to_the_difference(
    lite0: nn.Module, pictures: Tensor, winners: Tensor, baseline: str, rule: str
) -> None:
    deeplift = relprop.DeepLift(lite0, rule)
    contributions = deeplift.attribute(pictures, baselines=baseline, target=winners)
    with torch.no_grad():
        y, y0 = lite0(pictures), lite0(BASELINES[baseline](pictures))
        difference = (y - y0).gather(1, winners[:, None])[:, 0]
    error = (contributions.flatten(1).double().sum(1) - difference).abs()
    assert (error <= TOLERANCE * difference.abs()).all(), (error / difference.abs()).max()


@pytest.mark.parametrize("position", range(len(PHOTOS)), ids=[name for name, _, _ in PHOTOS])
def test_lrp_accounts_for_the_score(
    lite0: nn.Module, pictures: Tensor, winners: Tensor, position: int
) -> None:
    x, target = pictures[position : position + 1], int(winners[position])
    report = relprop.LRP(lite0, "epsilon_plus").report(x, target=target)
    with torch.no_grad():
        score = lite0(x)[0, target].item()
    assert report.score == pytest.approx(score, rel=TOLERANCE)
    assert abs(report.shortfall) <= TOLERANCE * abs(score)


def test_redistributed_relevance_is_the_score(
    lite0: nn.Module, pictures: Tensor, winners: Tensor
) -> None:
    lrp = relprop.LRP(lite0, "epsilon_plus_flat", bias="redistribute")
    _, delta = lrp.attribute(pictures, target=winners, return_convergence_delta=True)
    with torch.no_grad():
        score = lite0(pictures).gather(1, winners[:, None])[:, 0]
    assert (delta.abs() <= TOLERANCE * score.abs()).all()
