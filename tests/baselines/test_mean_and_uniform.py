"""The mean of a data set, and noise within bounds."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from relprop import DeepLift
from relprop.baselines import mean, uniform
from relprop.errors import InvalidInputError, InvalidTypeError

BOUNDS = st.floats(-1e3, 1e3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 6) -> Tensor:
    return torch.randn(n, 3, 4, 5, generator=generator(), dtype=torch.float64)


def test_mean_is_the_sum_over_the_number_of_examples() -> None:
    expected = torch.stack([sum(images()[:, c]) / 6 for c in range(3)])[None]
    torch.testing.assert_close(mean(images()), expected)


def test_mean_of_half_precision_is_summed_in_single() -> None:
    bright = torch.full((4096, 2), 100.0, dtype=torch.float16)  # the sum overflows float16
    assert mean(bright).tolist() == [[100.0, 100.0]]
    assert mean(bright).dtype == torch.float16


def test_mean_refuses_a_data_set_without_examples() -> None:
    with pytest.raises(InvalidInputError, match=r"one example or more.*got \(0, 3\)"):
        mean(torch.zeros(0, 3))


@pytest.mark.parametrize("data", [[1.0, 2.0], torch.zeros(2, 3, dtype=torch.uint8)])
def test_mean_refuses_what_is_no_floating_point_tensor(data: Any) -> None:
    with pytest.raises(InvalidTypeError, match="data must be"):
        mean(data)


@given(low=BOUNDS, high=BOUNDS, samples=st.integers(1, 5), seed=st.integers(0, 99))
@settings(deadline=None)
def test_noise_stays_within_bounds(low: float, high: float, samples: int, seed: int) -> None:
    low, high = min(low, high), max(low, high)
    for dtype in (torch.float32, torch.float64):
        noise = uniform(images().to(dtype), low, high, samples, generator(seed))
        assert noise.shape == (samples, 3, 4, 5)
        assert noise.dtype == dtype
        bounds = torch.tensor([low, high], dtype=dtype)
        assert noise.min() >= bounds[0]
        assert noise.max() <= bounds[1]


def test_noise_is_uniform_between_the_bounds() -> None:
    noise = uniform(images(), -2.0, 4.0, 4000, generator()).flatten()
    shares = torch.histc(noise, bins=12, min=-2, max=4) / noise.numel()
    spread = math.sqrt(1 / 12 * 11 / 12 / noise.numel())
    assert (shares - 1 / 12).abs().max() < 4 * spread


def test_every_channel_has_bounds_of_its_own() -> None:
    low = torch.tensor([0.0, 10.0, 20.0]).view(3, 1, 1)
    noise = uniform(images(), low, low + 1, 50, generator())
    assert (noise.floor() == low).all()


def test_noise_repeats_with_its_generator_only() -> None:
    first = uniform(images(), 0, 1, 3, generator(1))
    assert first.equal(uniform(images(), 0, 1, 3, generator(1)))
    assert not first.equal(uniform(images(), 0, 1, 3, generator(2)))


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (1.0, 0.0, "low must not exceed high"),
        (math.nan, 0.0, "low must be finite"),
        (0.0, math.inf, "high must be finite"),
        (torch.zeros(4, 1, 1), 1.0, r"low must be a number or broadcast.*got shape \(4, 1, 1\)"),
    ],
)
def test_noise_refuses_bounds_that_are_none(low: Any, high: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        uniform(images(), low, high, 2)


@pytest.mark.parametrize(
    ("samples", "error"),
    [(0, InvalidInputError), (2.0, InvalidTypeError), (True, InvalidTypeError)],
)
def test_noise_refuses_a_number_of_samples_that_is_none(
    samples: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="samples must be"):
        uniform(images(), 0, 1, samples)


def test_mean_and_noise_serve_as_baselines_common_to_all_inputs() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(60, 2)).double()
    for baseline in (mean(images()), uniform(images(), -1, 1, 1, generator())):
        explained = DeepLift(model).attribute(images(), baselines=baseline, target=0)
        difference = (model(images()) - model(baseline))[:, 0]
        torch.testing.assert_close(explained.flatten(1).sum(1), difference)
