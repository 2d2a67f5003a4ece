import itertools
from functools import partial
from typing import Any

import operator_formulas as formulas
import pytest
import torch
from agreement import assert_close, assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import CHANNELS_LAST, CONTIGUOUS, DTYPES, SLICES
from pool_cases import GEOMETRIES, pooled, pools
from torch import Tensor
from torch.nn import functional

from relprop.ops import max_pool_shapley, max_pool_shapley_parts, max_pool_winner, reference

IMPLEMENTATIONS = (torch.ops.relprop.max_pool_winner, reference.max_pool_winner)


@settings(max_examples=150, deadline=None)
@given(pools())
def test_lrp_winner_takes_all_exactly_as_in_autograd(
    pool: tuple[Tensor, tuple[Any, ...]],
) -> None:
    x, geometry = pool
    x.requires_grad_()
    y = pooled(x, geometry)
    m = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, x, m)
    for implementation in IMPLEMENTATIONS:
        assert_close(implementation(m, x.detach(), None, *geometry), gradient, 1e-14)


@settings(max_examples=150, deadline=None)
@given(pools(), st.booleans())
def test_deeplift_winner_follows_the_formula(
    pool: tuple[Tensor, tuple[Any, ...]], common_baseline: bool
) -> None:
    x, geometry = pool
    x0 = torch.randint(-2, 3, x.shape, dtype=torch.float64)[: 1 if common_baseline else None]
    m = torch.randn_like(pooled(x, geometry))
    window_of = partial(
        formulas.fixed_window,
        shape=x.shape[2:],
        **dict(zip(("kernel", "stride", "padding", "dilation"), geometry[:4], strict=True)),
    )
    expected = formulas.max_pool_winner(m, x, x0, window_of)
    for implementation in IMPLEMENTATIONS:
        assert_close(implementation(m, x, x0, *geometry), expected, 1e-14)


@settings(max_examples=50, deadline=None)
@given(pools())
def test_deeplift_winner_sums_to_the_difference_window_by_window(
    pool: tuple[Tensor, tuple[Any, ...]],
) -> None:
    x, geometry = pool
    x0 = torch.randint(-2, 3, x.shape, dtype=torch.float64)
    difference = pooled(x, geometry) - pooled(x0, geometry)
    for place in itertools.islice(itertools.product(*map(range, difference.shape)), 40):
        one_window = torch.zeros_like(difference)
        one_window[place] = 1
        m_x = torch.ops.relprop.max_pool_winner(one_window, x, x0, *geometry)
        assert abs((m_x * (x - x0)).sum().item() - difference[place].item()) < 1e-14
        assert 0 <= m_x.min() <= m_x.max() <= 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory_format", [CONTIGUOUS, CHANNELS_LAST])
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("baseline", ["none", "common", "each"])
@pytest.mark.parametrize("channels", [1, 3, 260])
def test_kernel_equals_reference(
    dtype: torch.dtype,
    memory_format: torch.memory_format,
    geometry: str,
    baseline: str,
    channels: int,
    device: torch.device,
) -> None:
    shape = (2, channels, 19, 37)
    x = torch.randn(shape, device=device).to(dtype).to(memory_format=memory_format)
    x0 = torch.randn(shape, device=device).to(dtype)
    x0_given = {"none": None, "common": x0[:1], "each": x0}[baseline]
    m = torch.randn_like(pooled(x, GEOMETRIES[geometry]))
    a = (m, x, x0_given, *GEOMETRIES[geometry])
    # a sum over up to nine windows
    assert_same(torch.ops.relprop.max_pool_winner(*a), reference.max_pool_winner(*a), ulps=32)


@pytest.mark.parametrize("size", [1, 2, 129, 151])
def test_awkward_sizes(size: int, device: torch.device) -> None:
    x, x0 = torch.randn(2, 2, 3, size, size, device=device)
    geometry = ([3, 3], [2, 2], [1, 1], [1, 1], False)
    for baseline in (None, x0):
        a = (torch.randn_like(pooled(x, geometry)), x, baseline, *geometry)
        assert_same(torch.ops.relprop.max_pool_winner(*a), reference.max_pool_winner(*a))


@pytest.mark.parametrize("slice_name", [name for name in SLICES if "offset" not in name])
@pytest.mark.parametrize("operand", ["x", "others", "all"])
@pytest.mark.parametrize("common_baseline", [True, False])
def test_slices_are_read_as_they_lie(
    slice_name: str, operand: str, common_baseline: bool, device: torch.device
) -> None:
    view = SLICES[slice_name]
    sliced = [view(torch.randn(4, 6, 9, 11, device=device)) for _ in range(2)]
    plain = [t.clone(memory_format=CONTIGUOUS) for t in sliced]
    x = (sliced if operand in ("x", "all") else plain)[0]
    x0 = (sliced if operand in ("others", "all") else plain)[1]
    geometry = ([3, 2], [2, 2], [1, 1], [1, 1], False)
    m = torch.randn_like(pooled(x, geometry)).transpose(2, 3).contiguous().transpose(2, 3)
    a = (m, x, x0[:1] if common_baseline else x0, *geometry)
    assert_same(torch.ops.relprop.max_pool_winner(*a), reference.max_pool_winner(*a))


def test_three_dimensional_channels_last(device: torch.device) -> None:
    x = torch.randn(2, 5, 7, 8, 9, device=device).to(memory_format=torch.channels_last_3d)
    geometry = ([2, 3, 3], [2, 2, 1], [1, 0, 1], [1, 1, 2], True)
    m = torch.randn_like(pooled(x, geometry))
    for x0 in (None, torch.randn_like(x)):
        a = (m, x, x0, *geometry)
        assert_same(torch.ops.relprop.max_pool_winner(*a), reference.max_pool_winner(*a))


def test_first_maximum_wins_and_padding_never_does(device: torch.device) -> None:
    x = torch.full((1, 1, 4, 4), -5.0, device=device)
    m_x = max_pool_winner(
        torch.ones(1, 1, 3, 3, device=device), x, kernel_size=2, stride=2, padding=1
    )
    expected = torch.tensor([[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1.0]])
    assert torch.equal(m_x[0, 0].cpu(), expected)


def test_infinite_and_missing_numbers_win_as_in_torch(device: torch.device) -> None:
    x = torch.randn(1, 2, 12, 12, device=device)
    x[0, 0, ::5] = -float("inf")
    x[0, 0, :, ::3] = -float("inf")
    x[0, 1, ::4, ::3] = float("nan")
    x.requires_grad_()
    y = functional.max_pool2d(x, 3, 2, 1)
    m = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, x, m)
    m_x = max_pool_winner(m, x.detach(), kernel_size=3, stride=2, padding=1)
    assert_close(m_x, gradient, 1e-6)


def test_same_result_every_time(device: torch.device) -> None:
    x = torch.randn(4, 16, 40, 40, device=device)
    m = torch.randn(4, 16, 38, 38, device=device)
    results = [max_pool_winner(m, x, kernel_size=3, stride=1) for _ in range(3)]
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("kernel", [2, 3])
def test_a_window_may_be_longer_than_the_input_in_ceil_mode(
    kernel: int, device: torch.device
) -> None:
    """torch lets the last window hang over the end, even if it is the only one."""
    x = torch.tensor([[[[-3.0]], [[2.0]]]], dtype=torch.float64, device=device)
    x0 = torch.tensor([[[[1.0]], [[-1.0]]]], dtype=torch.float64, device=device)
    m = torch.tensor([[[[5.0]], [[7.0]]]], dtype=torch.float64, device=device)
    assert torch.nn.functional.max_pool2d(x, kernel, ceil_mode=True).shape == m.shape
    for baseline in (None, x0):
        got = max_pool_winner(m, x, baseline, kernel_size=kernel, ceil_mode=True)
        assert torch.equal(got, m)
    assert torch.equal(max_pool_shapley(m, x, x0, kernel_size=kernel, ceil_mode=True), m)
    rises, falls = max_pool_shapley_parts(x, x0, kernel_size=kernel, ceil_mode=True)
    assert torch.equal(rises + falls, x - x0)
    with pytest.raises(ValueError, match="a window must fit into x"):
        max_pool_winner(m, x, kernel_size=kernel)
