"""Max pools whose maxima share, and those whose inputs get by their value."""

from functools import partial
from typing import Any

import operator_formulas as formulas
import pool_formulas
import pytest
import torch
from agreement import assert_close, assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import CHANNELS_LAST, CONTIGUOUS, DTYPES, SLICES
from pool_cases import GEOMETRIES, adaptive_pools, pooled, pools
from torch import Tensor
from torch.nn import functional

from relprop import ops
from relprop.ops import reference_shares

KERNELS = torch.ops.relprop
BOTH = (KERNELS, reference_shares)
# a sum over a window of hundreds of inputs
ULPS = 64


def fixed_members(x: Tensor, size: torch.Size, geometry: tuple[Any, ...]) -> Tensor:
    names = ("kernel", "stride", "padding", "dilation")
    settings = dict(zip(names, geometry[:4], strict=True))
    window_of = partial(formulas.fixed_window, shape=x.shape[2:], **settings)
    return pool_formulas.members(x.shape[2:], size, window_of)


def adaptive_members(x: Tensor, size: list[int]) -> Tensor:
    window_of = partial(formulas.adaptive_window, shape=x.shape[2:], size=size)
    return pool_formulas.members(x.shape[2:], size, window_of)


def given_of(m: Tensor, amount: Tensor, which: str) -> tuple[Tensor | None, Tensor | None]:
    return (m if "multiplier" in which else None), (amount if "amount" in which else None)


WHICH = st.sampled_from(["multiplier", "amount", "multiplier and amount"])


@settings(max_examples=40, deadline=None)
@given(pools())
def test_maxima_share_as_the_formula_has_it(pool: tuple[Tensor, tuple[Any, ...]]) -> None:
    x, geometry = pool
    m = torch.randn_like(pooled(x, geometry))
    expected = pool_formulas.shared(m, x, fixed_members(x, m.shape[2:], geometry))
    for module in BOTH:
        assert_close(module.max_pool_shared(m, x, *geometry), expected, 1e-14)


@settings(max_examples=40, deadline=None)
@given(adaptive_pools())
def test_maxima_of_adaptive_windows_share(pool: tuple[Tensor, list[int]]) -> None:
    x, size = pool
    m = torch.randn(*x.shape[:2], *size, dtype=torch.float64)
    expected = pool_formulas.shared(m, x, adaptive_members(x, size))
    for module in BOTH:
        assert_close(module.adaptive_max_pool_shared(m, x), expected, 1e-14)


@settings(max_examples=40, deadline=None)
@given(pools(), WHICH)
def test_inputs_get_by_their_value_as_the_formula_has_it(
    pool: tuple[Tensor, tuple[Any, ...]], which: str
) -> None:
    x, geometry = pool
    y = pooled(x, geometry)
    m, amount = given_of(torch.randn_like(y), torch.randn_like(y), which)
    M = fixed_members(x, y.shape[2:], geometry)
    expected = pool_formulas.proportional(m, amount, x, M, 0.25)
    for module in BOTH:
        assert_close(module.max_pool_proportional(m, amount, x, *geometry, 0.25), expected, 1e-13)


@settings(max_examples=40, deadline=None)
@given(adaptive_pools(), WHICH)
def test_inputs_of_adaptive_windows_get_by_their_value(
    pool: tuple[Tensor, list[int]], which: str
) -> None:
    x, size = pool
    both = torch.randn(2, *x.shape[:2], *size, dtype=torch.float64)
    m, amount = given_of(both[0], both[1], which)
    expected = pool_formulas.proportional(m, amount, x, adaptive_members(x, size), 0.25)
    for module in BOTH:
        assert_close(module.adaptive_max_pool_proportional(m, amount, x, 0.25), expected, 1e-13)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_each_window_hands_on_all_that_it_has(geometry: str) -> None:
    x = torch.randint(1, 4, (2, 3, 19, 37), dtype=torch.float64)
    y = pooled(x, GEOMETRIES[geometry])
    m = torch.randn_like(y)
    shared = KERNELS.max_pool_shared(m, x, *GEOMETRIES[geometry])
    by_value = KERNELS.max_pool_proportional(m, None, x, *GEOMETRIES[geometry], 0.0)
    assert_close((shared * x).sum(), (m * y).sum(), 1e-13)
    assert_close((by_value * x).sum(), (m * y).sum(), 1e-13)


Call = tuple[str, tuple[Any, ...]]


def calls(x: Tensor, geometry: tuple[Any, ...]) -> list[Call]:
    """Both operators, of inputs that are 0 or more, so that sums are not differences."""
    y = pooled(x, geometry)
    m, amount = torch.randn_like(y), torch.randn_like(y)
    return [
        ("max_pool_shared", (m, x, *geometry)),
        ("max_pool_proportional", (m, amount, x, *geometry, 0.1)),
    ]


def assert_kernel_is_reference(call: Call) -> None:
    name, a = call
    assert_same(getattr(KERNELS, name)(*a), getattr(reference_shares, name)(*a), ULPS)


def ties(*shape: int, **options: Any) -> Tensor:
    return torch.randint(0, 4, shape, **options).float()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory_format", [CONTIGUOUS, CHANNELS_LAST])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_kernel_equals_reference(
    dtype: torch.dtype, memory_format: torch.memory_format, geometry: str, device: torch.device
) -> None:
    x = ties(2, 3, 19, 37, device=device).to(dtype).to(memory_format=memory_format)
    for call in calls(x, GEOMETRIES[geometry]):
        assert_kernel_is_reference(call)


@pytest.mark.parametrize("channels", [1, 260])
@pytest.mark.parametrize("memory_format", [CONTIGUOUS, CHANNELS_LAST])
def test_one_and_many_channels(
    channels: int, memory_format: torch.memory_format, device: torch.device
) -> None:
    x = ties(2, channels, 7, 9, device=device).to(memory_format=memory_format)
    for call in calls(x, GEOMETRIES["overlapping and padded"]):
        assert_kernel_is_reference(call)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory_format", [CONTIGUOUS, CHANNELS_LAST])
@pytest.mark.parametrize("size", [(1, 1), (3, 4), (7, 7), (20, 50)])
def test_adaptive_kernel_equals_reference(
    dtype: torch.dtype,
    memory_format: torch.memory_format,
    size: tuple[int, int],
    device: torch.device,
) -> None:
    x = ties(2, 5, 19, 37, device=device).to(dtype).to(memory_format=memory_format)
    m, amount = torch.randn(2, 2, 5, *size, device=device).to(dtype)
    assert_kernel_is_reference(("adaptive_max_pool_shared", (m, x)))
    assert_kernel_is_reference(("adaptive_max_pool_proportional", (m, amount, x, 0.1)))


@pytest.mark.parametrize("size", [1, 2, 129, 151])
def test_awkward_sizes(size: int, device: torch.device) -> None:
    x = ties(2, 3, size, size, device=device)
    for call in calls(x, ([3, 3], [2, 2], [1, 1], [1, 1], False)):
        assert_kernel_is_reference(call)


@pytest.mark.parametrize("slice_name", [name for name in SLICES if "offset" not in name])
def test_slices_are_read_as_they_lie(slice_name: str, device: torch.device) -> None:
    x = SLICES[slice_name](ties(4, 6, 9, 11, device=device))
    for name, a in calls(x, ([3, 2], [2, 2], [1, 1], [1, 1], False)):
        m = a[0].transpose(2, 3).contiguous().transpose(2, 3)
        assert_kernel_is_reference((name, (m, *a[1:])))


def test_three_dimensional_channels_last(device: torch.device) -> None:
    x = ties(2, 5, 7, 8, 9, device=device).to(memory_format=torch.channels_last_3d)
    for call in calls(x, ([2, 3, 3], [2, 2, 1], [1, 0, 1], [1, 1, 2], True)):
        assert_kernel_is_reference(call)


def test_padding_gets_nothing_and_counts_for_nothing(device: torch.device) -> None:
    x = torch.full((1, 1, 4, 4), -5.0, device=device)
    pool: dict[str, Any] = {"kernel_size": 2, "stride": 2, "padding": 1}
    m = torch.ones(1, 1, 3, 3, device=device)
    n = torch.tensor([1.0, 2, 2, 1])  # inputs of the window along one dimension
    one_each = (1 / torch.outer(n, n)).to(device)
    assert torch.equal(ops.max_pool_shared(m, x, **pool)[0, 0], one_each)
    by_value = ops.max_pool_proportional(m, None, x, **pool)
    torch.testing.assert_close(by_value[0, 0], one_each)


def test_a_missing_number_is_the_maximum_as_in_torch(device: torch.device) -> None:
    x = torch.tensor([[[1.0, torch.nan, 3.0, torch.nan, 5.0, 5.0]]], device=device)
    assert functional.max_pool1d(x, 3).isnan().tolist() == [[[True, True]]]
    m = torch.tensor([[[2.0, 6.0]]], device=device)
    got = ops.max_pool_shared(m, x, kernel_size=3)
    assert got.tolist() == [[[0, 2, 0, 6, 0, 0]]]
    assert ops.adaptive_max_pool_shared(m, x).equal(got)


def test_output_size_one_is_the_global_pool(device: torch.device) -> None:
    x, m = ties(3, 4, 33, 70, device=device), torch.randn(3, 4, 1, 1, device=device)
    everything: dict[str, Any] = {"kernel_size": (33, 70)}
    assert torch.equal(ops.adaptive_max_pool_shared(m, x), ops.max_pool_shared(m, x, **everything))
    assert torch.equal(
        ops.adaptive_max_pool_proportional(m, None, x, epsilon=0.5),
        ops.max_pool_proportional(m, None, x, **everything, epsilon=0.5),
    )
    R = m * functional.adaptive_max_pool2d(x, 1)
    torch.testing.assert_close(
        ops.adaptive_max_pool_proportional(None, R, x), (R / x.sum((2, 3), True)).expand_as(x)
    )


@pytest.mark.parametrize("epsilon", [0.0, 0.5])
def test_nothing_comes_of_a_window_that_sums_to_zero(epsilon: float, device: torch.device) -> None:
    x = torch.tensor([[[1.0, -1.0, 0.0, 0.0]]], device=device)
    amount = torch.tensor([[[3.0, 0.0]]], device=device)
    got = ops.max_pool_proportional(None, amount, x, kernel_size=2, epsilon=epsilon)
    each = 3 / epsilon if epsilon else 0.0
    assert got.tolist() == [[[each, each, 0, 0]]]
