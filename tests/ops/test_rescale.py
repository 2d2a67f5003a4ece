import operator_formulas as formulas
import pytest
import torch
from agreement import assert_as_accurate, assert_close, assert_same
from function_formulas import KINKS, PARAMETERS, TORCH, inside
from operator_cases import (
    CHANNELS_LAST,
    CONTIGUOUS,
    DTYPES,
    NAMES,
    SLICES,
    code_and_parameters,
    threshold,
)
from torch import Tensor

from relprop.ops import ACTIVATIONS, reference, rescale

IMPLEMENTATIONS = {"operator": torch.ops.relprop.rescale, "reference": reference.rescale}


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("distance", [1.0, 1e-3, 1e-5, 1e-8, 0.0])
def test_formula_of_shrikumar_holds_at_every_distance(
    name: str, activation: str, distance: float, device: torch.device
) -> None:
    x = inside(activation, 2 * torch.randn(2, 3, 50, dtype=torch.float64, device=device))
    x0 = inside(activation, x + distance * torch.randn_like(x))
    m = torch.randn_like(x)
    actual = IMPLEMENTATIONS[name](m, x, x0, *code_and_parameters(activation))
    h = threshold(torch.float64)
    tolerance = 1e-14 if not ACTIVATIONS[activation].smooth else h * h
    assert_close(actual, formulas.rescale(m, x, x0, activation), tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_slope_loses_at_most_a_third_of_the_digits_where_secant_meets_derivative(
    dtype: torch.dtype, activation: str, device: torch.device
) -> None:
    h = threshold(dtype)
    x = torch.linspace(-3, 3, 401, dtype=dtype, device=device)
    for distance in (0.9 * h, h, 1.1 * h):
        x0 = x - distance
        slope = rescale(torch.ones_like(x), x, x0, activation=activation)
        exact = formulas.rescale(torch.ones_like(x), x, x0, activation)
        assert_close(slope, exact, h * h / 4)


@pytest.mark.parametrize("activation", KINKS)
def test_derivative_at_a_kink_is_the_one_of_autograd(activation: str, device: torch.device) -> None:
    p = PARAMETERS.get(activation, ())
    x = torch.tensor(KINKS[activation], device=device, requires_grad=True)
    (gradient,) = torch.autograd.grad(TORCH[activation](x, *p).sum(), x)
    x = x.detach()
    slope = rescale(torch.ones_like(x), x, x, activation=activation, parameters=p)
    torch.testing.assert_close(slope, gradient)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("activation", KINKS)
@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9])
def test_no_kink_is_missed_between_two_numbers(
    name: str, activation: str, distance: float, device: torch.device
) -> None:
    kinks = torch.tensor(KINKS[activation], dtype=torch.float64, device=device)
    x, x0 = kinks + distance, kinks - distance / 3
    m = torch.ones_like(x)
    actual = IMPLEMENTATIONS[name](m, x, x0, *code_and_parameters(activation))
    assert_close(distance * actual, distance * formulas.rescale(m, x, x0, activation), 1e-15)


@pytest.mark.parametrize("activation", NAMES)
def test_multiplier_times_difference_sums_to_difference_of_outputs(
    activation: str, device: torch.device
) -> None:
    x, x0 = inside(activation, torch.randn(2, 5, 40, dtype=torch.float64, device=device))
    m_x = rescale(torch.ones_like(x), x, x0, activation=activation)
    f, p = ACTIVATIONS[activation].f, list(ACTIVATIONS[activation].defaults.values())
    assert_close(m_x * (x - x0), f(x, p) - f(x0, p), 1e-14)


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
    x, x0, m = inside(activation, torch.randn(3, 3, 5, 17, 13, dtype=dtype, device=device))
    x, x0, m = (t.to(memory_format=memory_format) for t in (x, x0, m))
    x0 = x0[:1] if common_baseline else x0
    a = (m, x, x0, *code_and_parameters(activation))
    # exp and tanh differ by a unit or two, which the division by |x - x0| >= h enlarges
    h = threshold(torch.float32 if dtype.itemsize < 4 else dtype)
    enlarged = 8 / h if ACTIVATIONS[activation].smooth else 8
    assert_same(torch.ops.relprop.rescale(*a), reference.rescale(*a), ulps=enlarged)


@pytest.mark.parametrize("size", [1, 129, 151, 4096 + 32, 100_003])
@pytest.mark.parametrize("batch", [1, 2])
def test_awkward_sizes(size: int, batch: int, device: torch.device) -> None:
    x, m = torch.randn(2, batch, size, device=device)
    a = (m, x, torch.randn(1, size, device=device), *code_and_parameters("relu"))
    assert_same(torch.ops.relprop.rescale(*a), reference.rescale(*a))


@pytest.mark.parametrize("slice_name", SLICES)
@pytest.mark.parametrize("operand", ["x", "others", "all"])
@pytest.mark.parametrize("common_baseline", [True, False])
def test_slices_are_read_as_they_lie(
    slice_name: str, operand: str, common_baseline: bool, device: torch.device
) -> None:
    view = SLICES[slice_name]
    sliced = [view(torch.randn(4, 6, 9, 11, device=device)) for _ in range(3)]
    plain = [t.clone(memory_format=CONTIGUOUS) for t in sliced]
    x = (sliced if operand in ("x", "all") else plain)[0]
    m, x0 = (sliced if operand in ("others", "all") else plain)[1:]
    a = (m, x, x0[:1] if common_baseline else x0, *code_and_parameters("hardtanh"))
    assert_same(torch.ops.relprop.rescale(*a), reference.rescale(*a))


@pytest.mark.parametrize("activation", ["relu", "hardtanh", "identity"])
def test_float32_is_as_accurate_as_plain_torch(activation: str, device: torch.device) -> None:
    x, x0, m = torch.randn(3, 3, 16, 33, 33, device=device)
    a = (m, x, x0, *code_and_parameters(activation))
    wide = [t.double() if isinstance(t, Tensor) else t for t in a]
    assert_as_accurate(
        torch.ops.relprop.rescale(*a), reference.rescale(*a), reference.rescale(*wide)
    )


FAR = [-90.0, -20.0, -1e-6, 1e-6, 20.0, 90.0, -800.0, 800.0, -1e30, 1e30]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", NAMES)
def test_slope_is_right_far_from_zero(
    activation: str, dtype: torch.dtype, device: torch.device
) -> None:
    x = inside(activation, torch.tensor(FAR, dtype=dtype, device=device))
    p = PARAMETERS.get(activation, ())
    x0 = torch.full_like(x, 0.25)
    y, y0 = (TORCH[activation](t, *p) for t in (x, x0))
    m_x = rescale(torch.ones_like(x), x, x0, activation=activation, parameters=p)
    known = y.isfinite()
    assert_close(m_x[known], ((y - y0) / (x - x0))[known], 1e-6)
    assert not m_x.isnan().any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", NAMES)
def test_far_input_that_did_not_change_keeps_the_gradient(
    activation: str, dtype: torch.dtype, device: torch.device
) -> None:
    x = inside(activation, torch.tensor(FAR, dtype=dtype, device=device)).requires_grad_()
    p = PARAMETERS.get(activation, ())
    (gradient,) = torch.autograd.grad(TORCH[activation](x, *p).sum(), x)
    x = x.detach()
    m_x = rescale(torch.ones_like(x), x, x, activation=activation, parameters=p)
    assert not m_x.isnan().any()
    known = gradient.isfinite()  # torch gives nan where a cube or an exponential overflows
    torch.testing.assert_close(m_x[known], gradient[known])


def test_example_without_difference_keeps_the_gradient(device: torch.device) -> None:
    x = torch.randn(4, 7, device=device)
    m = torch.randn_like(x)
    assert torch.equal(rescale(m, x, x, activation="relu"), m * (x > 0))
