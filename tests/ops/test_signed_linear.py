import pytest
import torch
from agreement import assert_as_accurate, assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import DTYPES
from torch import Tensor

from relprop.ops import reference_dense as reference
from relprop.ops import signed_linear, signed_linear_backward

FORWARD = (torch.ops.relprop.signed_linear, reference.signed_linear)
BACKWARD = (torch.ops.relprop.signed_linear_backward, reference.signed_linear_backward)

# in, out
SIZES = [(1, 1), (31, 3), (32, 8), (129, 33), (151, 130), (4200, 67)]


def layer(
    batch: int, size: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, ...]:
    """m+, m-, d with inputs that did not change, and a weight with zeros."""
    d, weight = torch.randn(batch, size[0]), torch.randn(size[1], size[0])
    d[:, ::3] = 0
    weight[::2, ::5] = 0
    m = torch.randn(2, batch, size[1])
    return tuple(t.to(device, dtype) for t in (*m, d, weight))


def contributions(d: Tensor, weight: Tensor) -> Tensor:
    """What input i adds to output j: (batch, out, in)."""
    return d[:, None, :].double() * weight.double()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 70), st.integers(1, 20), st.integers(0, 2**31))
def test_parts_are_the_sums_of_contributions_by_their_sign(
    batch: int, inputs: int, outputs: int, seed: int
) -> None:
    numbers = torch.Generator().manual_seed(seed)
    d, weight = (
        torch.randint(-3, 4, shape, generator=numbers, dtype=torch.float64)
        for shape in ((batch, inputs), (outputs, inputs))
    )
    each = contributions(d, weight)
    for implementation in FORWARD:
        P, N = implementation(d, weight)
        assert torch.equal(P, each.clamp(min=0).sum(-1))
        assert torch.equal(N, each.clamp(max=0).sum(-1))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 70), st.integers(1, 20), st.integers(0, 2**31))
def test_multipliers_are_those_of_the_part_that_a_contribution_falls_into(
    batch: int, inputs: int, outputs: int, seed: int
) -> None:
    numbers = torch.Generator().manual_seed(seed)
    shapes = ((batch, outputs), (batch, outputs), (batch, inputs), (outputs, inputs))
    m_rise, m_fall, d, weight = (
        torch.randint(-3, 4, shape, generator=numbers, dtype=torch.float64) for shape in shapes
    )
    each = contributions(d, weight)
    m = torch.where(each > 0, m_rise[..., None], m_fall[..., None])
    m = torch.where(d[:, None, :] == 0, ((m_rise + m_fall) / 2)[..., None], m)
    for implementation in BACKWARD:
        result = implementation(m_rise, m_fall, d, weight)
        assert torch.equal(result, (m * weight).sum(1))
        P, N = torch.ops.relprop.signed_linear(d, weight)
        assert torch.equal((result * d).sum(-1), (m_rise * P + m_fall * N).sum(-1))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", [1, 3, 4, 6])
def test_kernels_equal_the_reference(
    size: tuple[int, int], batch: int, device: torch.device
) -> None:
    m_rise, m_fall, d, weight = layer(batch, size, torch.float64, device)
    for part, expected in zip(*(f(d, weight) for f in FORWARD), strict=True):
        assert_close(part, expected, 1e-13)
    a = (m_rise, m_fall, d, weight)
    assert_close(BACKWARD[0](*a), BACKWARD[1](*a), 1e-13)


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != torch.float64])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", [1, 3, 4, 6])
def test_as_accurate_as_plain_torch(
    dtype: torch.dtype, size: tuple[int, int], batch: int, device: torch.device
) -> None:
    m_rise, m_fall, d, weight = layer(batch, size, dtype, device)
    each = contributions(d, weight)
    exact = (each.clamp(min=0).sum(-1), each.clamp(max=0).sum(-1))
    for part, plain, wanted in zip(*(f(d, weight) for f in FORWARD), exact, strict=True):
        assert part.dtype == dtype
        assert_as_accurate(part, plain, wanted)
    a = (m_rise, m_fall, d, weight)
    wanted = reference.signed_linear_backward(*(t.double() for t in a))
    kernel, plain = (f(*a) for f in BACKWARD)
    assert kernel.dtype == dtype
    assert_as_accurate(kernel, plain, wanted)


def test_small_part_beside_a_large_one_is_accurate(device: torch.device) -> None:
    d = torch.full((1, 1000), 1e4, device=device)
    weight = torch.ones(2, 1000, device=device)
    weight[:, 500] = -1e-7
    P, N = signed_linear(d, weight)
    assert_close(N, torch.full((1, 2), -1e-3, dtype=torch.float64), 1e-9)
    assert_close(P, torch.full((1, 2), 999e4, dtype=torch.float64), 1e-6)


VIEWS = {
    "transposed weight": lambda d, weight: (d, weight.t().contiguous().t()),
    "rows of a larger weight": lambda d, weight: (d, weight.repeat(1, 2)[::2, : d.shape[-1]]),
    "every other input": lambda d, weight: (d[:, ::2], weight[:, ::2]),
    "a common example": lambda d, weight: (d[:1].expand_as(d), weight),
    "expanded weight": lambda d, weight: (d, weight[:1].expand_as(weight)),
}


@pytest.mark.parametrize("view", VIEWS)
def test_operands_are_read_as_they_lie(view: str, device: torch.device) -> None:
    m_rise, m_fall, d, weight = layer(6, (38, 12), torch.float64, device)
    d, weight = VIEWS[view](d, weight)
    m_rise, m_fall = (m.t().contiguous().t()[:, : len(weight)] for m in (m_rise, m_fall))
    for part, expected in zip(*(f(d, weight) for f in FORWARD), strict=True):
        assert_close(part, expected, 1e-13)
    a = (m_rise, m_fall, d, weight)
    assert_close(BACKWARD[0](*a), BACKWARD[1](*a), 1e-13)


@pytest.mark.parametrize("shape", [(8,), (2, 3, 8), (0, 8), (2, 0, 8)])
def test_leading_dimensions_are_kept(shape: tuple[int, ...], device: torch.device) -> None:
    d, weight = torch.randn(shape, device=device), torch.randn(5, 8, device=device)
    P, N = signed_linear(d, weight)
    assert P.shape == N.shape == (*shape[:-1], 5)
    assert_close(P + N, torch.nn.functional.linear(d, weight), 1e-6)
    m = signed_linear_backward(P, P, d, weight)
    assert m.shape == d.shape
    assert_close(m, P @ weight, 1e-6)


@pytest.mark.parametrize(("inputs", "outputs"), [(0, 5), (8, 0)])
def test_layers_without_inputs_or_outputs(inputs: int, outputs: int, device: torch.device) -> None:
    d, weight = torch.randn(2, inputs, device=device), torch.randn(outputs, inputs, device=device)
    P, N = signed_linear(d, weight)
    assert torch.equal(P, torch.zeros(2, outputs, device=device))
    assert torch.equal(N, P)
    m = signed_linear_backward(P, N, d, weight)
    assert torch.equal(m, torch.zeros(2, inputs, device=device))
