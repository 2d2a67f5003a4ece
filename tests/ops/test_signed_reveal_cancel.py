"""RevealCancel as convolutions want it: the sizes of differences in, halves of multipliers out."""

from collections.abc import Callable

import operator_formulas as formulas
import pytest
import torch
from agreement import assert_as_accurate, assert_close, assert_same
from function_formulas import PARAMETERS, POSITIVE, TORCH
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

from relprop.ops import ACTIVATIONS, reference, reveal_cancel_size, signed_reveal_cancel

HALVES = {
    "operator": torch.ops.relprop.signed_reveal_cancel,
    "reference": reference.signed_reveal_cancel,
}
SIZE = {
    "operator": torch.ops.relprop.reveal_cancel_size,
    "reference": reference.reveal_cancel_size,
}


def exact_parts(activation: str, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """P, N and r in steps of 1/64, so that no sum of them is rounded; P and N are not small."""
    P, N = torch.randint(4, 128, (2, 3, 20), device=device).double() / 64
    r = torch.randint(-128, 128, (3, 20), device=device).double() / 64
    return P, -N, baseline_for(activation, r, N).mul(64).ceil() / 64


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("activation", NAMES)
def test_multipliers_are_those_of_the_papers_formula(
    name: str, activation: str, device: torch.device
) -> None:
    """m+ = u + v = positive * y+ / P and m- = u - v = negative * y- / N."""
    P, N, r = exact_parts(activation, device)
    positive, negative = torch.randn_like(P), torch.randn_like(N)
    y_positive, y_negative = formulas.reveal_cancel_parts(P, N, r, activation)
    function = code_and_parameters(activation)
    u, v = HALVES[name](positive, negative, r + P + N, r, P - N, *function)
    assert_close(u + v, positive * y_positive.to(device) / P, 1e-12)
    assert_close(u - v, negative * y_negative.to(device) / N, 1e-12)
    u, v = HALVES[name](positive, None, r + P + N, r, P - N, *function)
    assert_close(u + v, positive * y_positive.to(device) / P, 1e-12)
    assert_close(u - v, positive * y_negative.to(device) / N, 1e-12)


@pytest.mark.parametrize("name", SIZE)
@pytest.mark.parametrize("activation", NAMES)
def test_size_is_the_distance_of_the_papers_parts(
    name: str, activation: str, device: torch.device
) -> None:
    P, N, r = exact_parts(activation, device)
    y_positive, y_negative = formulas.reveal_cancel_parts(P, N, r, activation)
    size = SIZE[name](r + P + N, r, P - N, *code_and_parameters(activation))
    assert_close(size, y_positive - y_negative, 1e-14)


def test_worked_example() -> None:
    r, P, N = torch.zeros(1), torch.full((1,), 3.0), -torch.ones(1)
    x, size = r + P + N, P - N
    # y+ = [f(3) - f(0) + f(2) - f(-1)] / 2 = 2.5, y- = [f(-1) - f(0) + f(2) - f(3)] / 2 = -0.5
    assert reveal_cancel_size(x, r, size, activation="relu").item() == 3
    # m+ = 6 * 2.5 / 3 = 5, m- = 4 * 0.5 / 1 = 2
    u, v = signed_reveal_cancel(6 + r, 4 + r, x, r, size, activation="relu")
    assert (u.item(), v.item()) == (3.5, 1.5)


@pytest.mark.parametrize("activation", NAMES)
def test_contributions_of_the_parts_sum_to_the_difference(
    activation: str, device: torch.device
) -> None:
    """m+ P + m- N = u (x - x0) + v (P - N) = f(x) - f(x0), if the multipliers are 1."""
    P, N, r = exact_parts(activation, device)
    x, one, p = r + P + N, torch.ones_like(P), PARAMETERS.get(activation, ())
    u, v = signed_reveal_cancel(one, None, x, r, P - N, activation=activation, parameters=p)
    rise = TORCH[activation](x, *p) - TORCH[activation](r, *p)
    assert_close(u * (x - r) + v * (P - N), rise, 1e-13)


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_input_that_did_not_change_keeps_its_gradient(
    name: str, dtype: torch.dtype, device: torch.device
) -> None:
    r = torch.tensor([5.0, 1e-3, 0.0, -2.0], dtype=dtype, device=device)
    none, relu = torch.zeros_like(r), code_and_parameters("relu")
    u, v = HALVES[name](torch.ones_like(r), None, r, r, none, *relu)
    assert u.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert v.tolist() == [0.0] * 4
    assert SIZE[name](r, r, none, *relu).tolist() == [0.0] * 4


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_part_that_rounding_turned_round_is_no_part(
    name: str, dtype: torch.dtype, sign: float, device: torch.device
) -> None:
    """A size a little below the difference leaves a part of 0 with the other's sign.

    The root would make much of it: it is steep beside 0, and not defined below.
    """
    ends = torch.tensor([4.0, 0.0], dtype=dtype, device=device)
    x, x0 = (ends[:1], ends[1:]) if sign > 0 else (ends[1:], ends[:1])
    root = code_and_parameters("sqrt")
    for size in (4.0, 4.0 * (1 - 2 * torch.finfo(dtype).eps)):
        wide = torch.full_like(x, size)
        assert_close(SIZE[name](x, x0, wide, *root), torch.full_like(x, 2), 4e-7)
        u, v = HALVES[name](torch.ones_like(x), None, x, x0, wide, *root)
        assert_close(u + sign * v, torch.full_like(x, 0.5), 4e-7)


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("activation", NAMES)
def test_parts_of_any_sign_sum_to_the_difference(
    name: str, activation: str, device: torch.device
) -> None:
    """Above a function that falls, P may be negative, and N positive."""
    P, N, r = exact_parts(activation, device)
    P, N = torch.where(r < r.median(), -P, P), -N
    r = r + 4 if activation in POSITIVE else r
    x, p, function = r + P + N, PARAMETERS.get(activation, ()), code_and_parameters(activation)
    u, v = HALVES[name](torch.ones_like(x), None, x, r, P - N, *function)
    rise = TORCH[activation](x, *p) - TORCH[activation](r, *p)
    assert_close(u * (x - r) + v * (P - N), rise, 1e-13)
    assert_close(SIZE[name](x, r, P - N, *function), (u + v) * P - (u - v) * N, 1e-13)


def test_not_a_number_is_not_hidden(device: torch.device) -> None:
    r = torch.tensor([float("nan")], device=device)
    zero = torch.zeros_like(r)
    for activation in ("sigmoid", "leaky_relu", "gelu"):
        assert reveal_cancel_size(r, r, zero, activation=activation).isnan().all()
        for half in signed_reveal_cancel(zero + 1, None, r, r, zero, activation=activation):
            assert half.isnan().all()


def operands(
    activation: str, *shape: int, dtype: torch.dtype = torch.float32, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Two multipliers, x, x0, and the size of a change; a quarter of the parts is 0."""
    options = {"dtype": dtype, "device": device}
    positive, negative, r = torch.randn(3, *shape, **options)
    P, N = (torch.rand(2, *shape, **options) - 0.25).clamp(min=0)
    r = baseline_for(activation, r, N)
    return positive, negative, r + P - N, r, P + N


def assert_both_equal_the_reference(
    a: tuple[Tensor | None, ...], function: tuple[int, list[float]], ulps: float = 8
) -> None:
    halves = (f(*a, *function) for f in HALVES.values())
    for ours, theirs in zip(*halves, strict=True):
        assert_same(ours, theirs, ulps=ulps)
    assert_same(*(f(*a[2:], *function) for f in SIZE.values()), ulps=max(ulps, 64))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory_format", [CONTIGUOUS, CHANNELS_LAST])
@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("common_baseline", [True, False])
def test_kernel_equals_reference(
    dtype: torch.dtype,
    memory_format: torch.memory_format,
    activation: str,
    common_baseline: bool,
    device: torch.device,
) -> None:
    a = operands(activation, 3, 5, 17, 13, dtype=dtype, device=device)
    positive, negative, x, x0, size = (t.to(memory_format=memory_format) for t in a)
    if common_baseline:
        x, x0 = x + (x0[:1] - x0), x0[:1]
    # functions differ by a unit or two, which the division by the distance enlarges
    h = threshold(torch.float32 if dtype.itemsize < 4 else dtype)
    enlarged = 16 / h if ACTIVATIONS[activation].smooth else 8
    for other in (negative, None):
        a = (positive, other, x, x0, size)
        assert_both_equal_the_reference(a, code_and_parameters(activation), enlarged)


@pytest.mark.parametrize("size", [1, 129, 151, 4096 + 32, 100_003])
@pytest.mark.parametrize("batch", [1, 2])
def test_awkward_sizes(size: int, batch: int, device: torch.device) -> None:
    positive, negative, x, x0, wide = operands("relu", batch, size, device=device)
    a = (positive, negative, x, x0[:1], wide + (x0 - x0[:1]).abs())
    assert_both_equal_the_reference(a, code_and_parameters("relu"))


@pytest.mark.parametrize("shape", [(0,), (0, 3, 4, 4), (2, 0, 4)])
def test_nothing_in_gives_nothing_out(shape: tuple[int, ...], device: torch.device) -> None:
    a = operands("identity", *shape, device=device)
    assert_both_equal_the_reference(a, code_and_parameters("relu"))


@pytest.mark.parametrize("slice_name", SLICES)
@pytest.mark.parametrize("operand", ["x", "others", "all"])
@pytest.mark.parametrize("common_baseline", [True, False])
def test_slices_are_read_as_they_lie(
    slice_name: str, operand: str, common_baseline: bool, device: torch.device
) -> None:
    view = SLICES[slice_name]
    positive, negative, x, x0, size = operands("hardtanh", 4, 6, 9, 11, device=device)
    if common_baseline:
        x, x0 = x + (x0[:1] - x0), x0[:1].expand_as(x0)
    sliced = [view(t) for t in (x, positive, negative, x0, size)]
    plain = [t.clone(memory_format=CONTIGUOUS) for t in sliced]
    x = (sliced if operand in ("x", "all") else plain)[0]
    positive, negative, x0, size = (sliced if operand in ("others", "all") else plain)[1:]
    a = (positive, negative, x, x0[:1] if common_baseline else x0, size)
    assert_both_equal_the_reference(a, code_and_parameters("hardtanh"))


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != torch.float64])
@pytest.mark.parametrize("activation", ["relu", "hardtanh", "leaky_relu", "hardswish"])
def test_kernel_is_as_accurate_as_plain_torch(
    dtype: torch.dtype, activation: str, device: torch.device
) -> None:
    a = operands(activation, 3, 16, 33, 33, dtype=dtype, device=device)
    wide, function = [t.double() for t in a], code_and_parameters(activation)
    plain, exact = (HALVES["reference"](*tensors, *function) for tensors in (a, wide))
    for side, ours in enumerate(HALVES["operator"](*a, *function)):
        assert_as_accurate(ours, plain[side], exact[side])
    plain, exact = (SIZE["reference"](*tensors[2:], *function) for tensors in (a, wide))
    assert_as_accurate(SIZE["operator"](*a[2:], *function), plain, exact)


X = torch.ones(2, 3)
MISTAKES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "an integer input": (
        lambda: reveal_cancel_size(X.long(), X, X, activation="relu"),
        TypeError,
        r"x must be float32, .* got torch.int64; convert it with x.float\(\)",
    ),
    "a baseline of another shape": (
        lambda: signed_reveal_cancel(X, None, X, X[:, :1], X, activation="relu"),
        ValueError,
        r"x0 must have the shape of x, \(2, 3\), or size 1 in place of its first dimension",
    ),
    "a size of another shape": (
        lambda: reveal_cancel_size(X, X, X[:1], activation="relu"),
        ValueError,
        r"size must have the shape of x, \(2, 3\), got \(1, 3\)",
    ),
    "a size of another dtype": (
        lambda: signed_reveal_cancel(X, None, X, X, X.double(), activation="relu"),
        TypeError,
        "size must have the dtype of x, torch.float32, got torch.float64",
    ),
    "a multiplier of another shape": (
        lambda: signed_reveal_cancel(X[:1], None, X, X, X, activation="relu"),
        ValueError,
        r"positive must have the shape of x, \(2, 3\), got \(1, 3\)",
    ),
    "a second multiplier of another dtype": (
        lambda: signed_reveal_cancel(X, X.double(), X, X, X, activation="relu"),
        TypeError,
        "negative must have the dtype of x, torch.float32, got torch.float64",
    ),
    "an unknown activation": (
        lambda: reveal_cancel_size(X, X, X, activation="Relu"),
        ValueError,
        "activation must be one of identity, relu, .*, got 'Relu'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_met_by_one_sentence(mistake: str) -> None:
    call, error, sentence = MISTAKES[mistake]
    with pytest.raises(error, match=sentence):
        call()
