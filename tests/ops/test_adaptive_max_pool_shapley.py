import math
from functools import partial

import pytest
import shapley_formulas as formulas
import torch
from agreement import assert_close, assert_same
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from operator_cases import CHANNELS_LAST, CONTIGUOUS, DTYPES
from operator_formulas import adaptive_window
from pool_cases import ADAPTIVE_MAX_POOLS, adaptive_pools
from torch import Tensor

from relprop.ops import (
    adaptive_max_pool_shapley,
    adaptive_max_pool_shapley_parts,
    max_pool_shapley,
)
from relprop.ops import reference_shapley as reference

IMPLEMENTATIONS = (
    torch.ops.relprop.adaptive_max_pool_shapley,
    reference.adaptive_max_pool_shapley,
)
PARTS = (
    torch.ops.relprop.adaptive_max_pool_shapley_parts,
    reference.adaptive_max_pool_shapley_parts,
)


@settings(max_examples=50, deadline=None)
@given(adaptive_pools(), st.booleans())
def test_multipliers_and_parts_follow_the_formula(
    pool: tuple[Tensor, list[int]], common_baseline: bool
) -> None:
    x, size = pool
    longest = math.prod(s // o + 2 for s, o in zip(x.shape[2:], size, strict=True))
    assume(longest <= 12)
    x0 = torch.randint(-2, 3, x.shape, dtype=torch.float64)[: 1 if common_baseline else None]
    positive, negative = torch.randn(2, *x.shape[:2], *size, dtype=torch.float64)
    window_of = partial(adaptive_window, shape=x.shape[2:], size=size)
    expected = formulas.max_pool_shapley(positive, negative, x, x0, window_of)
    for implementation in IMPLEMENTATIONS:
        assert_close(implementation(positive, negative, x, x0), expected, 1e-12)
    expected_parts = formulas.max_pool_shapley_parts(positive, x, x0, window_of)
    for implementation in PARTS:
        for part, wanted in zip(implementation(x, x0, size), expected_parts, strict=True):
            assert_close(part, wanted, 1e-12)


@settings(max_examples=100, deadline=None)
@given(adaptive_pools())
def test_values_sum_to_the_difference(pool: tuple[Tensor, list[int]]) -> None:
    x, size = pool
    x0 = torch.randint(-2, 3, x.shape, dtype=torch.float64)
    max_pool = partial(ADAPTIVE_MAX_POOLS[x.dim()], output_size=size)
    m = torch.randn(*x.shape[:2], *size, dtype=torch.float64)
    difference = max_pool(x) - max_pool(x0)
    for implementation in IMPLEMENTATIONS:
        m_x = implementation(m, None, x, x0)
        assert_close((m_x * (x - x0)).sum(), (m * difference).sum(), 1e-12)
    for implementation in PARTS:
        assert_close(sum(implementation(x, x0, size)), difference, 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory_format", [CONTIGUOUS, CHANNELS_LAST])
@pytest.mark.parametrize("size", [(1, 1), (3, 4), (7, 7), (19, 37), (20, 50)])
@pytest.mark.parametrize("baseline", ["common", "each"])
def test_kernel_equals_reference(
    dtype: torch.dtype,
    memory_format: torch.memory_format,
    size: tuple[int, int],
    baseline: str,
    device: torch.device,
) -> None:
    shape = (2, 5, 19, 37)
    x = torch.randn(shape, device=device).to(dtype).to(memory_format=memory_format)
    x0 = torch.randn(shape, device=device).to(dtype)[: 1 if baseline == "common" else None]
    positive, negative = torch.randn(2, 2, 5, *size, device=device).to(dtype)
    results = [f(positive, negative, x, x0) for f in IMPLEMENTATIONS]
    assert_same(*results, ulps=64)
    for part, expected in zip(*(f(x, x0, size) for f in PARTS), strict=True):
        assert_same(part, expected, ulps=32)


def test_output_size_one_is_global_max_pooling(device: torch.device) -> None:
    x, x0 = torch.randn(2, 3, 4, 33, 70, device=device)
    m = torch.randn(3, 4, 1, 1, device=device)
    assert torch.equal(
        adaptive_max_pool_shapley(m, x, x0), max_pool_shapley(m, x, x0, kernel_size=(33, 70))
    )
    rises, falls = adaptive_max_pool_shapley_parts(x, x0, output_size=1)
    assert_close(rises + falls, x.amax((2, 3), True) - x0.amax((2, 3), True), 1e-6)
