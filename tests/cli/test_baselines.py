"""What a baseline must leave alone, and what it must take away."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from relprop.baselines import BASELINES, BLUR_FRACTION, blank, blur
from relprop.errors import InvalidInputError, InvalidTypeError

SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(lambda sides: (2, 3, *sides))
SIGMAS = st.floats(0, 20)


def seeded(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def smoothing_matrix(n: int, sigma: float) -> Tensor:
    """exp(sigma^2 / 2 * L), L the second difference of n values that are mirrored at both ends."""
    second = torch.diag(torch.full((n,), -2.0, dtype=torch.float64))
    second += torch.diag(torch.ones(n - 1, dtype=torch.float64), 1) + torch.diag(
        torch.ones(n - 1, dtype=torch.float64), -1
    )
    second[0, 0] += 1
    second[-1, -1] += 1
    return torch.linalg.matrix_exp(sigma**2 / 2 * second)


@pytest.mark.parametrize("name", BASELINES)
def test_baseline_has_the_shape_and_type_of_the_inputs(name: str) -> None:
    for dtype in (torch.float16, torch.float32, torch.float64):
        inputs = seeded((2, 3, 5, 7)).to(dtype)
        assert BASELINES[name](inputs).shape == inputs.shape
        assert BASELINES[name](inputs).dtype == dtype


def test_blank_is_zero() -> None:
    assert not blank(seeded((2, 3, 4, 5))).any()


@given(SHAPES, SIGMAS)
def test_blur_keeps_constants_and_sums(shape: tuple[int, ...], sigma: float) -> None:
    inputs, spatial = seeded(shape), tuple(range(2, len(shape)))
    torch.testing.assert_close(
        blur(torch.full_like(inputs, 3.25), sigma), torch.full_like(inputs, 3.25)
    )
    torch.testing.assert_close(blur(inputs, sigma).sum(spatial), inputs.sum(spatial))


@given(st.integers(2, 12), SIGMAS)
def test_blur_is_diffusion_between_mirrors(n: int, sigma: float) -> None:
    inputs = seeded((2, 3, n))
    torch.testing.assert_close(
        blur(inputs, sigma), inputs @ smoothing_matrix(n, sigma).T, rtol=1e-9, atol=1e-9
    )


@given(SHAPES, SIGMAS)
def test_blur_never_leaves_the_range_of_the_inputs(shape: tuple[int, ...], sigma: float) -> None:
    inputs = seeded(shape)
    assert blur(inputs, sigma).max() <= inputs.max() + 1e-9
    assert blur(inputs, sigma).min() >= inputs.min() - 1e-9


def test_blur_of_a_point_is_as_wide_as_sigma_says() -> None:
    point = torch.zeros(1, 1, 201, dtype=torch.float64)
    point[0, 0, 100] = 1
    places = torch.arange(201, dtype=torch.float64) - 100
    assert math.isclose(float((blur(point, 4.0)[0, 0] * places**2).sum()), 16.0, rel_tol=1e-9)


def test_blur_is_a_fraction_of_the_shorter_side_wide_by_default() -> None:
    inputs = seeded((1, 3, 32, 48))
    torch.testing.assert_close(blur(inputs), blur(inputs, 32 * BLUR_FRACTION))


@pytest.mark.parametrize("sigma", [-1.0, math.nan, math.inf])
def test_blur_refuses_a_width_that_is_none(sigma: float) -> None:
    with pytest.raises(InvalidInputError, match="sigma must be"):
        blur(seeded((1, 3, 4, 4)), sigma)


def test_blur_refuses_inputs_without_spatial_dimensions() -> None:
    with pytest.raises(InvalidInputError, match="use 'blank' instead"):
        blur(seeded((4, 3)))


def test_blur_refuses_integers() -> None:
    with pytest.raises(InvalidTypeError, match=r"floating-point inputs, not torch\.uint8"):
        blur(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
