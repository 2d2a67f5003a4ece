import itertools
from functools import partial
from typing import Any

import pytest
import shapley_formulas as formulas
import torch
from agreement import assert_as_accurate, assert_close, assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import CHANNELS_LAST, CONTIGUOUS, DTYPES, SLICES
from operator_formulas import Window, fixed_window
from pool_cases import GEOMETRIES, MAX_POOLS, pooled, pools
from torch import Tensor

from relprop.ops import max_pool_shapley, max_pool_shapley_parts
from relprop.ops import reference_shapley as reference

IMPLEMENTATIONS = (torch.ops.relprop.max_pool_shapley, reference.max_pool_shapley)
PARTS = (torch.ops.relprop.max_pool_shapley_parts, reference.max_pool_shapley_parts)

Pool = tuple[Tensor, tuple[Any, ...]]


def other(x: Tensor) -> Tensor:
    return torch.randint(-2, 3, x.shape, dtype=x.dtype)


def window_of(x: Tensor, geometry: tuple[Any, ...]) -> "partial[Window]":
    named = dict(zip(("kernel", "stride", "padding", "dilation"), geometry[:4], strict=True))
    return partial(fixed_window, shape=x.shape[2:], **named)


def values_of_one_window(implementation: Any, x: Tensor, x0: Tensor) -> Tensor:
    m = torch.ones(1, 1, 1, dtype=x.dtype)
    m_x = implementation(m, None, x[None, None], x0[None, None], [len(x)], [1], [0], [1], False)
    return m_x[0, 0] * (x - x0)


@pytest.mark.parametrize("count", range(1, 10))
@pytest.mark.parametrize("kind", ["no ties", "ties", "rises", "falls", "a common maximum"])
def test_values_are_the_mean_over_all_orders(count: int, kind: str) -> None:
    x, x0 = torch.randn(2, count, dtype=torch.float64)
    if kind == "ties":
        x, x0 = (x * 2).round(), (x0 * 2).round()
    if kind in ("rises", "falls"):
        x, x0 = torch.maximum(x, x0), torch.minimum(x, x0)
    if kind == "falls":
        x, x0 = x0, x
    if kind == "a common maximum":
        x[0] = x0[0] = 1
    expected = formulas.over_all_orders(x, x0)
    assert_close(formulas.over_all_coalitions(x, x0), expected, 1e-12)
    for implementation in IMPLEMENTATIONS:
        assert_close(values_of_one_window(implementation, x, x0), expected, 1e-12)


@settings(max_examples=60, deadline=None)
@given(pools(most_taps=9), st.booleans())
def test_multipliers_follow_the_formula(pool: Pool, common_baseline: bool) -> None:
    x, geometry = pool
    x0 = other(x)[: 1 if common_baseline else None]
    positive, negative = torch.randn(2, *pooled(x, geometry).shape, dtype=torch.float64)
    expected = formulas.max_pool_shapley(positive, negative, x, x0, window_of(x, geometry))
    for implementation in IMPLEMENTATIONS:
        assert_close(implementation(positive, negative, x, x0, *geometry), expected, 1e-12)


@settings(max_examples=40, deadline=None)
@given(pools(most_taps=9), st.booleans())
def test_parts_are_what_rises_and_falls_bring(pool: Pool, common_baseline: bool) -> None:
    x, geometry = pool
    x0 = other(x)[: 1 if common_baseline else None]
    expected = formulas.max_pool_shapley_parts(pooled(x, geometry), x, x0, window_of(x, geometry))
    for implementation in PARTS:
        for part, wanted in zip(implementation(x, x0, *geometry), expected, strict=True):
            assert_close(part, wanted, 1e-12)


@settings(max_examples=50, deadline=None)
@given(pools())
def test_values_sum_to_the_difference_window_by_window(pool: Pool) -> None:
    x, geometry = pool
    x0 = other(x)
    difference = pooled(x, geometry) - pooled(x0, geometry)
    rises, falls = torch.ops.relprop.max_pool_shapley_parts(x, x0, *geometry)
    assert_close(rises + falls, difference, 1e-14)
    assert falls.max() <= 0 <= rises.min()
    for place in itertools.islice(itertools.product(*map(range, difference.shape)), 40):
        one_window = torch.zeros_like(difference)
        one_window[place] = 1
        m_x = torch.ops.relprop.max_pool_shapley(one_window, None, x, x0, *geometry)
        assert abs((m_x * (x - x0)).sum().item() - difference[place].item()) < 1e-14
        assert 0 <= m_x.min() <= m_x.max() <= 1 + 1e-15


@pytest.mark.parametrize("taps", [10, 49, 64, 65, 1200, 112 * 112])
def test_long_windows_sum_to_the_difference(taps: int, device: torch.device) -> None:
    x, x0 = torch.randn(2, 2, 5, taps, dtype=torch.float64, device=device)
    x0 -= x0.amax(-1, keepdim=True) + 3  # above all the lower ends are all inputs
    x[0], x0[0] = x0[0].clone(), x[0].clone()
    x[1, :, ::2], x0[1, :, ::2] = x0[1, :, ::2].clone(), x[1, :, ::2].clone()
    a = (x, x0, [taps], [1], [0], [1], False)
    difference = pooled(x, a[2:]) - pooled(x0, a[2:])
    ones = torch.ones_like(difference)
    m_x = torch.ops.relprop.max_pool_shapley(ones, None, *a)
    assert_close((m_x * (x - x0)).sum(-1, keepdim=True), difference, 1e-12)
    assert_close(m_x, reference.max_pool_shapley(ones, None, *a), 1e-12)
    for part, expected in zip(
        torch.ops.relprop.max_pool_shapley_parts(*a),
        reference.max_pool_shapley_parts(*a),
        strict=True,
    ):
        assert_close(part, expected, 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory_format", [CONTIGUOUS, CHANNELS_LAST])
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("baseline", ["common", "each"])
@pytest.mark.parametrize("channels", [1, 5, 70])
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
    x0 = torch.randn(shape, device=device).to(dtype)[: 1 if baseline == "common" else None]
    windows = GEOMETRIES[geometry]
    positive, negative = torch.randn(2, *pooled(x, windows).shape, device=device).to(dtype)
    a = (positive, negative, x, x0, *windows)
    # a sum over up to nine windows
    assert_same(torch.ops.relprop.max_pool_shapley(*a), reference.max_pool_shapley(*a), ulps=64)
    for part, expected in zip(
        torch.ops.relprop.max_pool_shapley_parts(x, x0, *windows),
        reference.max_pool_shapley_parts(x, x0, *windows),
        strict=True,
    ):
        assert_same(part, expected, ulps=32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_as_accurate_as_plain_torch(dtype: torch.dtype, device: torch.device) -> None:
    x, x0, m = (torch.randn(2, 3, size, 40, device=device).to(dtype) for size in (40, 40, 38))
    m = m[..., :38].contiguous()
    geometry = ([3, 3], [1, 1], [0, 0], [1, 1], False)
    exact = reference.max_pool_shapley(m.double(), None, x.double(), x0.double(), *geometry)
    kernel, plain = (f(m, None, x, x0, *geometry) for f in IMPLEMENTATIONS)
    assert_as_accurate(kernel, plain, exact)


@pytest.mark.parametrize("size", [1, 2, 129, 151])
def test_awkward_sizes(size: int, device: torch.device) -> None:
    x, x0 = torch.randn(2, 2, 3, size, size, device=device)
    geometry = ([3, 3], [2, 2], [1, 1], [1, 1], False)
    a = (torch.randn_like(pooled(x, geometry)), None, x, x0, *geometry)
    assert_same(torch.ops.relprop.max_pool_shapley(*a), reference.max_pool_shapley(*a), ulps=32)


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
    x0 = x0[:1] if common_baseline else x0
    geometry = ([3, 2], [2, 2], [1, 1], [1, 1], False)
    m = torch.randn_like(pooled(x, geometry)).transpose(2, 3).contiguous().transpose(2, 3)
    a = (m, m.flip(2), x, x0, *geometry)
    assert_same(torch.ops.relprop.max_pool_shapley(*a), reference.max_pool_shapley(*a), ulps=32)
    parts, expected = (f(x, x0, *geometry) for f in PARTS)
    for part, wanted in zip(parts, expected, strict=True):
        assert_same(part, wanted, ulps=32)


def test_three_dimensional_channels_last(device: torch.device) -> None:
    x = torch.randn(2, 5, 7, 8, 9, device=device).to(memory_format=torch.channels_last_3d)
    geometry = ([2, 3, 3], [2, 2, 1], [1, 0, 1], [1, 1, 2], True)
    x0 = torch.randn_like(x)
    a = (torch.randn_like(pooled(x, geometry)), None, x, x0, *geometry)
    assert_same(torch.ops.relprop.max_pool_shapley(*a), reference.max_pool_shapley(*a), ulps=32)
    parts, expected = (f(x, x0, *geometry) for f in PARTS)
    for part, wanted in zip(parts, expected, strict=True):
        assert_same(part, wanted, ulps=32)


def test_unchanged_winner_gets_the_mean_of_the_multipliers(device: torch.device) -> None:
    x = torch.tensor([[[1.0, 3, 3, 0, 0, 0, 2, 5]]], device=device)
    x0 = torch.tensor([[[2.0, 3, 1, 0, 0, 0, 5, 5]]], device=device)
    positive, negative = torch.full((2, 1, 1, 4), 2.0, device=device)
    m_x = max_pool_shapley(positive, x, x0, negative + 2, kernel_size=2)
    # beside a fall below it; where another rose; the first of two; not where another was first
    assert m_x.flatten().tolist() == [0, 3, 2, 0, 3, 0, 0, 0]


def test_infinite_numbers_that_did_not_change_count_for_nothing(device: torch.device) -> None:
    x, x0 = torch.randn(2, 1, 2, 12, 12, device=device)
    masked = torch.rand(12, 12, device=device) < 0.3
    masked[:2, :2] = True
    a, r = (t.masked_fill(masked, -float("inf")) for t in (x, x0))
    low, low0 = (t.masked_fill(masked, -100.0) for t in (x, x0))
    m = torch.randn(1, 2, 6, 6, device=device)
    assert torch.equal(
        max_pool_shapley(m, a, r, kernel_size=2), max_pool_shapley(m, low, low0, kernel_size=2)
    )


def test_padding_never_wins(device: torch.device) -> None:
    x = torch.full((1, 1, 12, 12), -float("inf"), device=device)
    a = (torch.ones(1, 1, 7, 7, device=device), None, x, x, [2, 2], [2, 2], [1, 1], [1, 1], False)
    m_x = torch.ops.relprop.max_pool_shapley(*a)
    assert m_x.sum() == 49
    assert torch.equal(m_x, reference.max_pool_shapley(*a))


def test_same_result_every_time(device: torch.device) -> None:
    x, x0 = torch.randn(2, 4, 16, 40, 40, device=device)
    m = torch.randn(4, 16, 38, 38, device=device)
    results = [max_pool_shapley(m, x, x0, kernel_size=3, stride=1) for _ in range(3)]
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("shape", [(2, 3, 9), (2, 3, 9, 8), (2, 3, 9, 8, 7), (0, 3, 9, 8)])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_parts_have_the_shape_of_the_pool(shape: tuple[int, ...], ceil_mode: bool) -> None:
    x, x0 = torch.randn(2, *shape)
    parts = max_pool_shapley_parts(x, x0, kernel_size=3, stride=2, padding=1, ceil_mode=ceil_mode)
    y = MAX_POOLS[x.dim()](x, 3, 2, 1, 1, ceil_mode) if x.numel() else x.new_empty(0, 3, 5, 4)
    if x.numel():
        assert [part.shape for part in parts] == [y.shape, y.shape]
