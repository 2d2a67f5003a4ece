import operator_formulas as formulas
import pytest
import torch
from agreement import assert_as_accurate, assert_close, assert_same
from function_formulas import KINKS, PARAMETERS, TORCH
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import (
    CHANNELS_LAST,
    CONTIGUOUS,
    DTYPES,
    NAMES,
    SLICES,
    baseline_for,
    code_and_parameters,
    threshold,
)
from torch import Tensor

from relprop.ops import ACTIVATIONS, reference, rescale, reveal_cancel, reveal_cancel_parts

IMPLEMENTATIONS = {
    "operator": torch.ops.relprop.reveal_cancel,
    "reference": reference.reveal_cancel,
}
PARTS = {
    "operator": torch.ops.relprop.reveal_cancel_parts,
    "reference": reference.reveal_cancel_parts,
}


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-6])
def test_formula_of_shrikumar_holds_whatever_the_size_of_the_parts(
    name: str, activation: str, size: float, device: torch.device
) -> None:
    options = {"dtype": torch.float64, "device": device}
    P, N = size * torch.rand(2, 3, 20, **options), -size * torch.rand(2, 3, 20, **options)
    r = baseline_for(activation, torch.randn(2, 3, 20, **options), N)
    positive, negative = torch.randn(2, 2, 3, 20, **options)
    y_positive, y_negative = formulas.reveal_cancel_parts(P, N, r, activation)
    a = (P, N, r, None, *code_and_parameters(activation))
    m_positive, m_negative = IMPLEMENTATIONS[name](positive, negative, *a)
    h = threshold(torch.float64)
    assert_close(m_positive, positive * y_positive / P, 8 * h * h)
    assert_close(m_negative, negative * y_negative / N, 8 * h * h)
    parts = PARTS[name](*a)
    assert_close(parts[0], y_positive, 1e-14)
    assert_close(parts[1], y_negative, 1e-14)


def test_worked_example() -> None:
    one, r = torch.ones(1), torch.zeros(1)
    P, N = 3 * one, -one
    # y+ = [f(3) - f(0) + f(2) - f(-1)] / 2, y- = [f(-1) - f(0) + f(2) - f(3)] / 2
    y = reveal_cancel_parts(P, N, r, activation="relu")
    m = reveal_cancel(one, one, P, N, r, activation="relu")
    assert [t.item() for t in y] == [2.5, -0.5]
    assert [t.item() for t in m] == pytest.approx([2.5 / 3, 0.5])


@pytest.mark.parametrize("dtype", DTYPES)
def test_input_that_did_not_change_keeps_its_gradient(
    dtype: torch.dtype, device: torch.device
) -> None:
    r = torch.tensor([5.0, 1e-3, 0.0, -2.0], dtype=dtype, device=device)
    one, zero = torch.ones_like(r), torch.zeros_like(r)
    for m in reveal_cancel(one, one, zero, zero, r, activation="relu"):
        assert m.tolist() == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_part_lost_in_rounding_meets_the_same_slope(
    dtype: torch.dtype, device: torch.device
) -> None:
    """5 + P is rounded, by up to more than P; the slope of relu is 1 all the same."""
    P = torch.logspace(-20, 0, 101, dtype=dtype, device=device)
    r, one = torch.full_like(P, 5.0), torch.ones_like(P)
    for m in reveal_cancel(one, one, P, -P / 3, r, activation="relu"):
        assert_close(m, one, 1e-15)


@pytest.mark.parametrize("activation", NAMES)
def test_part_of_zero_takes_the_limit(activation: str, device: torch.device) -> None:
    N = -torch.rand(40, dtype=torch.float64, device=device)
    r = baseline_for(activation, torch.randn_like(N), N)
    one, p = torch.ones_like(r), PARAMETERS.get(activation, ())
    points = torch.stack([r, r + N]).requires_grad_()
    (gradient,) = torch.autograd.grad(TORCH[activation](points, *p).sum(), points)
    m_positive, m_negative = reveal_cancel(
        one, one, torch.zeros_like(N), N, r, activation=activation, parameters=p
    )
    assert_close(m_positive, gradient.sum(0) / 2, 1e-7)
    secant = rescale(one, r + N, r, activation=activation, parameters=p)
    assert_close(m_negative, secant, 1e-9)


def test_nothing_comes_of_no_part_where_the_slope_is_infinite(device: torch.device) -> None:
    r = torch.zeros(1, device=device)
    y = reveal_cancel_parts(r + 4, r, r, activation="sqrt")
    assert [t.item() for t in y] == [2.0, 0.0]


def test_not_a_number_is_not_hidden(device: torch.device) -> None:
    r = torch.tensor([float("nan")], device=device)
    zero = torch.zeros_like(r)
    for activation in ("sigmoid", "leaky_relu", "gelu"):
        for y in reveal_cancel_parts(zero, zero, r, activation=activation):
            assert y.isnan().all()


sizes = st.one_of(st.just(0.0), st.floats(1e-18, 1e-3), st.floats(1e-3, 20.0))
places = st.one_of(
    st.floats(-30, 30), st.sampled_from(sorted({k for kinks in KINKS.values() for k in kinks}))
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(places, sizes, sizes), min_size=1, max_size=8))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", NAMES)
def test_parts_sum_to_the_difference_of_outputs(
    activation: str, dtype: torch.dtype, points: list[tuple[float, float, float]]
) -> None:
    """Up to some units in the last place of f's values, and of its arguments times the slope."""
    r, P, N = torch.tensor(points, dtype=dtype).T
    N = -N
    r = baseline_for(activation, r, N)
    one, p = torch.ones_like(r), PARAMETERS.get(activation, ())
    f = {x: TORCH[activation](x, *p).double() for x in (r, r + P, r + N, r + (P + N))}
    y_r, *_, y = f.values()
    m_positive, m_negative = reveal_cancel(one, one, P, N, r, activation=activation, parameters=p)
    total = P.double() * m_positive.double() + N.double() * m_negative.double()
    steepest = torch.maximum(m_positive.abs(), m_negative.abs()).double()
    scale = 1 + sum(v.abs() for v in f.values()) + steepest * (r.abs() + P - N).double()
    assert bool(((total - (y - y_r)).abs() <= 16 * torch.finfo(dtype).eps * scale).all())
    parts = reveal_cancel_parts(P, N, r, activation=activation, parameters=p)
    assert torch.equal(parts[0], P * m_positive)
    assert torch.equal(parts[1], N * m_negative)


def operands(
    *shape: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two multipliers, and P and N, of which a quarter is 0."""
    options = {"dtype": dtype, "device": device}
    positive, negative = torch.randn(2, *shape, **options)
    P, N = (torch.rand(2, *shape, **options) - 0.25).clamp(min=0)
    return positive, negative, P, -N


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory_format", [CONTIGUOUS, CHANNELS_LAST])
@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("common_baseline", [True, False])
@pytest.mark.parametrize("x_given", [True, False])
def test_kernel_equals_reference(
    dtype: torch.dtype,
    memory_format: torch.memory_format,
    activation: str,
    common_baseline: bool,
    x_given: bool,
    device: torch.device,
) -> None:
    a = operands(3, 5, 17, 13, dtype=dtype, device=device)
    r = baseline_for(activation, torch.randn_like(a[2]), a[3])
    *a, r = (t.to(memory_format=memory_format) for t in (*a, r))
    r = r[:1] if common_baseline else r
    x = r + (a[2] + a[3]) if x_given else None
    a = (*a, r, x, *code_and_parameters(activation))
    # functions differ by a unit or two, which the division by the distance enlarges
    h = threshold(torch.float32 if dtype.itemsize < 4 else dtype)
    enlarged = 16 / h if ACTIVATIONS[activation].smooth else 8
    for ours, theirs in zip(
        IMPLEMENTATIONS["operator"](*a), IMPLEMENTATIONS["reference"](*a), strict=True
    ):
        assert_same(ours, theirs, ulps=enlarged)
    for ours, theirs in zip(PARTS["operator"](*a[2:]), PARTS["reference"](*a[2:]), strict=True):
        assert_same(ours, theirs, ulps=64)


@pytest.mark.parametrize("size", [1, 129, 151, 4096 + 32, 100_003])
@pytest.mark.parametrize("batch", [1, 2])
def test_awkward_sizes(size: int, batch: int, device: torch.device) -> None:
    r = torch.randn(1, size, device=device)
    a = (*operands(batch, size, device=device), r, None, *code_and_parameters("relu"))
    for ours, theirs in zip(
        IMPLEMENTATIONS["operator"](*a), IMPLEMENTATIONS["reference"](*a), strict=True
    ):
        assert_same(ours, theirs)


@pytest.mark.parametrize("slice_name", SLICES)
@pytest.mark.parametrize("operand", ["P", "others", "all"])
@pytest.mark.parametrize("common_baseline", [True, False])
def test_slices_are_read_as_they_lie(
    slice_name: str, operand: str, common_baseline: bool, device: torch.device
) -> None:
    view = SLICES[slice_name]
    positive, negative, P, N = operands(4, 6, 9, 11, device=device)
    r = torch.randn_like(P[:1] if common_baseline else P).expand_as(P)
    sliced = [view(t) for t in (P, positive, negative, N, r, r + (P + N))]
    plain = [t.clone(memory_format=CONTIGUOUS) for t in sliced]
    P = (sliced if operand in ("P", "all") else plain)[0]
    positive, negative, N, r, x = (sliced if operand in ("others", "all") else plain)[1:]
    r = r[:1] if common_baseline else r
    a = (positive, negative, P, N, r, x, *code_and_parameters("hardtanh"))
    for ours, theirs in zip(
        IMPLEMENTATIONS["operator"](*a), IMPLEMENTATIONS["reference"](*a), strict=True
    ):
        assert_same(ours, theirs)


@pytest.mark.parametrize("activation", ["relu", "hardtanh", "leaky_relu", "hardswish"])
def test_float32_is_as_accurate_as_plain_torch(activation: str, device: torch.device) -> None:
    a = operands(3, 16, 33, 33, device=device)
    a = (*a, torch.randn_like(a[0]), None, *code_and_parameters(activation))
    wide = [t.double() if isinstance(t, Tensor) else t for t in a]
    plain, exact = IMPLEMENTATIONS["reference"](*a), IMPLEMENTATIONS["reference"](*wide)
    for side, ours in enumerate(IMPLEMENTATIONS["operator"](*a)):
        assert_as_accurate(ours, plain[side], exact[side])


X = torch.ones(2, 3)
MISTAKES = {
    "N of another shape": ((X, X, X, -X[:1], X), ValueError, "N must have the shape of P"),
    "another dtype": ((X, X.double(), X, -X, X), TypeError, "negative must have the dtype of P"),
    "a baseline of another shape": (
        (X, X, X, -X, X[:, :1]),
        ValueError,
        r"x0 must have the shape of P, \(2, 3\)",
    ),
    "an input of another shape": (
        (X, X, X, -X, X, X[:1]),
        ValueError,
        r"x must have the shape of P, \(2, 3\), got \(1, 3\)",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_met_by_one_sentence(mistake: str) -> None:
    tensors, error, message = MISTAKES[mistake]
    with pytest.raises(error, match=message):
        reveal_cancel(*tensors, activation="relu")
