"""What the colours of a relevance map may be trusted to say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from relprop.errors import InvalidInputError, InvalidTypeError
from relprop.visualize import COLOR_MAPS, heat_map, limit, overlay, total

WHITE = [255, 255, 255]


def seeded(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_no_relevance_is_white() -> None:
    assert (heat_map(torch.zeros(3, 4, 5)) == 255).all()


def test_zero_stays_white_where_all_else_is_positive() -> None:
    relevance = seeded(6, 6).abs()
    relevance[2, 3] = 0
    assert heat_map(relevance)[2, 3].tolist() == WHITE


def test_for_is_red_and_against_is_blue() -> None:
    red, _, blue = heat_map(torch.tensor([[1.0]]))[0, 0]
    assert red > blue
    red, _, blue = heat_map(torch.tensor([[-1.0]]))[0, 0]
    assert blue > red


def test_scale_is_the_same_for_both_signs() -> None:
    relevance = seeded(3, 7, 9)
    assert limit(relevance) == limit(-relevance) > 0
    assert (heat_map(relevance, 1.0) == heat_map(relevance * 5, 5.0)).all()


def test_a_single_outlier_does_not_pale_the_rest() -> None:
    relevance = seeded(40, 40)
    before = limit(relevance)
    relevance[0, 0] = 1e6
    assert limit(relevance) < 2 * before


def test_a_single_relevant_pixel_is_seen() -> None:
    relevance = torch.zeros(40, 40)
    relevance[3, 4] = 2.0
    assert limit(relevance) == 2.0


def test_channels_are_summed() -> None:
    relevance = seeded(3, 4, 5)
    np.testing.assert_allclose(total(relevance), relevance.double().sum(0).numpy())


def test_overlay_shows_the_picture_where_nothing_is_relevant() -> None:
    picture = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3) * 4
    painted = overlay(picture, torch.zeros(4, 5))
    assert painted.shape == (4, 5, 3)
    assert (painted[..., 0] == painted[..., 2]).all()
    assert (np.diff(painted[..., 0].ravel().astype(int)) >= 0).all()


def lightness(colors: NDArray[np.uint8]) -> NDArray[np.float64]:
    """CIE L* of sRGB colours: 0 is black, 100 is white."""
    encoded = colors / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    Y = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(Y > 216 / 24389, 116 * np.cbrt(Y) - 16, Y * 24389 / 27)


def test_equal_magnitudes_of_either_sign_are_equally_light() -> None:
    magnitudes = torch.linspace(0, 1, 65)[None]
    red, blue = heat_map(magnitudes, 1.0), heat_map(-magnitudes, 1.0)
    np.testing.assert_allclose(lightness(red), lightness(blue), atol=6)
    assert (np.diff(lightness(red)) <= 0).all() and (np.diff(lightness(blue)) <= 0).all()


def test_yellow_blue_keeps_the_sign_in_grey() -> None:
    colors = heat_map(torch.linspace(-1, 1, 129)[None], 1.0, "yellow-blue")
    assert (np.diff(lightness(colors)) >= 0).all()
    assert np.ptp(heat_map(torch.zeros(1, 1), 1.0, "yellow-blue").astype(int)) <= 1


def test_positive_map_is_white_for_all_that_is_not_positive() -> None:
    colors = heat_map(torch.tensor([[-3.0, 0.0, 0.5, 1.0]]), 1.0, "positive")[0]
    assert (colors[:2] == 255).all()
    assert (np.diff(lightness(colors[1:])) < 0).all()


@pytest.mark.parametrize("colors", COLOR_MAPS)
def test_beyond_the_scale_nothing_gets_another_colour(colors: str) -> None:
    ends = heat_map(torch.tensor([[-1.0, -9.0, 1.0, 9.0]]), 1.0, colors)[0]
    assert (ends[0] == ends[1]).all() and (ends[2] == ends[3]).all()


@pytest.mark.parametrize("colors", COLOR_MAPS)
def test_full_relevance_covers_the_picture(colors: str) -> None:
    relevance = torch.tensor([[1.0, 0.0, 1.0]])
    painted = overlay(np.array([[0, 100, 255]]), relevance, 1.0, colors)
    assert (painted[0, [0, 2]] == heat_map(relevance, 1.0, colors)[0, [0, 2]]).all()
    assert painted[0, 1].tolist() == [round(255 - 0.45 * 155)] * 3


@pytest.mark.parametrize("gray", [0, 90, 255])
def test_no_relevance_bleaches_the_picture(gray: int) -> None:
    relevance = torch.linspace(-1, 1, 81)[None]
    painted = overlay(np.full((1, 81), gray), relevance, 1.0)
    assert lightness(painted).max() == lightness(painted)[0, 40]
    against, in_favour = painted[0, :36].astype(int), painted[0, 45:].astype(int)
    assert (against[:, 2] > against[:, 0]).all() and (in_favour[:, 0] > in_favour[:, 2]).all()


def test_a_batch_of_one_is_its_only_example() -> None:
    relevance = seeded(1, 3, 4, 5)
    assert (heat_map(relevance) == heat_map(relevance[0])).all()


@pytest.mark.parametrize(
    ("relevance", "sentence"),
    [
        (torch.zeros(2, 3, 4, 5), "not a batch of 2"),
        (torch.zeros(7), r"must have the shape \(C, H, W\)"),
        (torch.zeros(3, 0, 5), "no side of 0"),
        (torch.full((2, 2), torch.nan), "must be finite"),
    ],
)
def test_relevance_that_is_no_map_is_refused(relevance: Tensor, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        heat_map(relevance)


def test_arrays_and_unknown_colours_are_refused() -> None:
    with pytest.raises(InvalidTypeError, match="must be a tensor, not ndarray"):
        heat_map(np.zeros((2, 2)))
    with pytest.raises(InvalidInputError, match="colors must be one of 'red-blue'"):
        heat_map(torch.zeros(2, 2), colors="jet")


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(InvalidInputError, match="greater than 0"):
        heat_map(torch.zeros(2, 2), scale)


def test_picture_of_another_size_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"must have the shape \(4, 5, 3\) or \(4, 5\)"):
        overlay(np.zeros((5, 4)), torch.zeros(4, 5))
