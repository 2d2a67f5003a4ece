from functools import partial

import operator_formulas as formulas
import pytest
import torch
from agreement import assert_close, assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import CHANNELS_LAST, CONTIGUOUS, DTYPES
from pool_cases import ADAPTIVE_MAX_POOLS
from pool_cases import adaptive_pools as pools
from torch import Tensor

from relprop.ops import adaptive_max_pool_winner, max_pool_winner, reference

IMPLEMENTATIONS = (
    torch.ops.relprop.adaptive_max_pool_winner,
    reference.adaptive_max_pool_winner,
)


@settings(max_examples=150, deadline=None)
@given(pools())
def test_lrp_winner_takes_all_exactly_as_in_autograd(pool: tuple[Tensor, list[int]]) -> None:
    x, size = pool
    x.requires_grad_()
    y = ADAPTIVE_MAX_POOLS[x.dim()](x, size)
    m = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, x, m)
    for implementation in IMPLEMENTATIONS:
        assert_close(implementation(m, x.detach(), None), gradient, 1e-14)


@settings(max_examples=150, deadline=None)
@given(pools(), st.booleans())
def test_deeplift_winner_follows_the_formula_and_sums_to_the_difference(
    pool: tuple[Tensor, list[int]], common_baseline: bool
) -> None:
    x, size = pool
    x0 = torch.randint(-2, 3, x.shape, dtype=torch.float64)[: 1 if common_baseline else None]
    max_pool = partial(ADAPTIVE_MAX_POOLS[x.dim()], output_size=size)
    m = torch.randn(*x.shape[:2], *size, dtype=torch.float64)
    window_of = partial(formulas.adaptive_window, shape=x.shape[2:], size=size)
    expected = formulas.max_pool_winner(m, x, x0, window_of)
    difference = (m * (max_pool(x) - max_pool(x0))).sum()
    for implementation in IMPLEMENTATIONS:
        m_x = implementation(m, x, x0)
        assert_close(m_x, expected, 1e-14)
        assert_close((m_x * (x - x0)).sum(), difference, 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory_format", [CONTIGUOUS, CHANNELS_LAST])
@pytest.mark.parametrize("size", [(1, 1), (3, 4), (7, 7), (19, 37), (20, 50)])
@pytest.mark.parametrize("baseline", ["none", "common", "each"])
def test_kernel_equals_reference(
    dtype: torch.dtype,
    memory_format: torch.memory_format,
    size: tuple[int, int],
    baseline: str,
    device: torch.device,
) -> None:
    shape = (2, 5, 19, 37)
    x = torch.randn(shape, device=device).to(dtype).to(memory_format=memory_format)
    x0 = torch.randn(shape, device=device).to(dtype)
    x0_given = {"none": None, "common": x0[:1], "each": x0}[baseline]
    a = (torch.randn(2, 5, *size, device=device).to(dtype), x, x0_given)
    assert_same(
        torch.ops.relprop.adaptive_max_pool_winner(*a), reference.adaptive_max_pool_winner(*a)
    )


def test_output_size_one_is_global_max_pooling(device: torch.device) -> None:
    x, x0 = torch.randn(2, 3, 4, 33, 70, device=device)
    m = torch.randn(3, 4, 1, 1, device=device)
    assert torch.equal(
        adaptive_max_pool_winner(m, x, x0), max_pool_winner(m, x, x0, kernel_size=(33, 70))
    )


def test_maximum_of_long_rows_is_found_wherever_it_is(device: torch.device) -> None:
    for place in (0, 15, 16, 17, 63, 99, 100):
        x = torch.randn(1, 1, 101, device=device)
        x[0, 0, place] = 10
        m_x = adaptive_max_pool_winner(torch.ones(1, 1, 1, device=device), x)
        assert m_x.flatten().nonzero().tolist() == [[place]]
