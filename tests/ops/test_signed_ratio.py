"""Ratios by denominators that weigh the contributions to a neuron by their sign."""

from typing import Any

import pytest
import torch
from agreement import assert_as_accurate, assert_close, assert_same
from function_formulas import inside, value
from operator_cases import CHANNELS_LAST, CONTIGUOUS, DTYPES, NAMES, SLICES, code_and_parameters
from torch import Tensor

from relprop import ops
from relprop.ops import reference_ratios

KERNELS = torch.ops.relprop
BOTH = (KERNELS, reference_ratios)
GIVEN = [(True, False), (False, True), (True, True)]
WEIGHTS = [(1.0, 0.25), (0.0, 1.0)]
"""Of the gamma rule, and of the z+ rule below a ReLU."""


def arguments(
    z: Tensor, activation: str, given: tuple[bool, bool], whole: float = 1.0, gamma: float = 0.25
) -> tuple[Any, ...]:
    m, amount = (torch.randn_like(z) if g else None for g in given)
    size = (z.abs() + torch.rand_like(z)).to(z.dtype)
    return (m, amount, z, size, whole, gamma, 0.25, *code_and_parameters(activation))


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize(("whole", "gamma"), WEIGHTS)
@pytest.mark.parametrize("module", BOTH)
def test_denominator_is_the_sum_of_weighed_contributions(
    module: Any, given: tuple[bool, bool], whole: float, gamma: float, device: torch.device
) -> None:
    """Andéol et al. 2021: z_j + gamma z+_j where z_j >= 0, z_j + gamma z-_j elsewhere."""
    z_ij = torch.randn(6, 40, dtype=torch.float64, device=device)
    z, size = z_ij.sum(0), z_ij.abs().sum(0)
    m, amount = (torch.randn_like(z) if g else None for g in given)
    own_sign = (z_ij >= 0) == (z >= 0)
    d = (whole * z_ij + gamma * z_ij * own_sign).sum(0)
    R = sum(t for t in (None if m is None else m * z.tanh(), amount) if t is not None)
    expected = R / (d + 0.25 * torch.where(z >= 0, 1.0, -1.0))
    a = (m, amount, z, size, whole, gamma, 0.25, *code_and_parameters("tanh"))
    assert_close(module.signed_ratio(*a), expected, 1e-13)
    above, below = module.signed_ratio_apart(*a)
    assert_close(above, torch.where(z >= 0, expected, 0), 1e-13)
    assert_close(below, torch.where(z >= 0, 0, expected), 1e-13)


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("module", BOTH)
def test_relevance_is_per_unit_of_the_function(module: Any, activation: str) -> None:
    z = inside(activation, torch.randn(4, 9, dtype=torch.float64))
    m, _, *rest = arguments(z, activation, (True, False))
    f_z = torch.empty_like(z).map_(z, lambda _, x: float(value(activation, x)))
    identity = (None, m * f_z, *rest[:-2], *code_and_parameters("identity"))
    assert_close(
        module.signed_ratio(m, None, *rest), reference_ratios.signed_ratio(*identity), 1e-13
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory_format", [CONTIGUOUS, CHANNELS_LAST])
@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("given", GIVEN)
def test_kernels_equal_their_references(
    dtype: torch.dtype,
    memory_format: torch.memory_format,
    activation: str,
    given: tuple[bool, bool],
    device: torch.device,
) -> None:
    z = torch.randn(3, 5, 17, 13, dtype=dtype, device=device).to(memory_format=memory_format)
    for whole, gamma in WEIGHTS:
        a = arguments(z, activation, given, whole, gamma)
        assert_same(KERNELS.signed_ratio(*a), reference_ratios.signed_ratio(*a))
        expected = reference_ratios.signed_ratio_apart(*a)
        for part, wanted in zip(KERNELS.signed_ratio_apart(*a), expected, strict=True):
            assert_same(part, wanted)


@pytest.mark.parametrize("size", [1, 129, 151, 4096 + 32, 100_003])
def test_awkward_sizes(size: int, device: torch.device) -> None:
    a = arguments(torch.randn(size, device=device), "tanh", (True, True))
    assert_same(KERNELS.signed_ratio(*a), reference_ratios.signed_ratio(*a))


@pytest.mark.parametrize("slice_name", SLICES)
@pytest.mark.parametrize("operand", ["z", "others", "all"])
def test_slices_are_read_as_they_lie(slice_name: str, operand: str, device: torch.device) -> None:
    view = SLICES[slice_name]
    sliced = [view(torch.randn(4, 6, 9, 11, device=device)) for _ in range(4)]
    plain = [t.clone(memory_format=CONTIGUOUS) for t in sliced]
    z = (sliced if operand in ("z", "all") else plain)[0]
    m, amount, size = (sliced if operand in ("others", "all") else plain)[1:]
    a = (m, amount, z, size, 1.0, 0.25, 0.25, *code_and_parameters("relu"))
    assert_same(KERNELS.signed_ratio(*a), reference_ratios.signed_ratio(*a))


@pytest.mark.parametrize("activation", NAMES)
def test_float32_is_as_accurate_as_plain_torch(activation: str, device: torch.device) -> None:
    z = inside(activation, torch.randn(3, 16, 33, 33, device=device))
    a = arguments(z, activation, (True, True))
    wide = [t.double() if isinstance(t, Tensor) else t for t in a]
    assert_as_accurate(
        KERNELS.signed_ratio(*a),
        reference_ratios.signed_ratio(*a),
        reference_ratios.signed_ratio(*wide),
    )


def test_a_size_that_rounding_left_below_the_total_does_no_harm(device: torch.device) -> None:
    z = torch.tensor([2.0, -3.0], device=device)
    R = torch.ones_like(z)
    got = ops.signed_ratio(None, R, z, z.abs() * (1 - 1e-6), whole=0.0, gamma=1.0)
    assert got.tolist() == [1 / 2, pytest.approx(-1 / 3)]


def test_nothing_is_shared_where_nothing_contributes(device: torch.device) -> None:
    z = torch.zeros(3, device=device)
    R = torch.tensor([1.0, 0.0, 2.0], device=device)
    assert ops.signed_ratio(None, R, z, z, gamma=0.5).tolist() == [0.0, 0.0, 0.0]
    assert ops.signed_ratio(None, R, z, z, gamma=0.5, epsilon=0.5).tolist() == [2.0, 0.0, 4.0]


def test_not_a_number_is_not_hidden(device: torch.device) -> None:
    z = torch.tensor([float("nan"), 1.0], device=device)
    s = ops.signed_ratio(torch.ones_like(z), None, z, z.abs(), gamma=0.5)
    assert s.isnan().tolist() == [True, False]


def test_omitted_parameters_take_their_defaults(device: torch.device) -> None:
    z = torch.linspace(-2, 2, 9, device=device)
    m = torch.ones_like(z)
    assert torch.equal(
        ops.signed_ratio(m, None, z, z.abs(), gamma=0.1, activation="hardtanh"),
        ops.signed_ratio(m, None, z, z.abs(), gamma=0.1, activation="hardtanh", parameters=(-1, 1)),
    )
