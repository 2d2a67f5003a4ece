import itertools
from typing import Any

import operator_formulas as formulas
import pytest
import torch
from agreement import assert_as_accurate, assert_close, assert_same
from function_formulas import PARAMETERS, inside
from operator_cases import CHANNELS_LAST, CONTIGUOUS, DTYPES, NAMES, SLICES
from torch import Tensor

from relprop.ops import ACTIVATIONS, lrp_ratio, reference

IMPLEMENTATIONS = {"operator": torch.ops.relprop.lrp_ratio, "reference": reference.lrp_ratio}


def arguments(
    z: Tensor, activation: str, *, given: tuple[bool, bool, bool, bool], channel_dim: int = 1
) -> tuple[Any, ...]:
    """Random multiplier, amount, denominator and bias for z, where given."""
    shaped = [torch.randn_like(z) if g else None for g in given[:3]]
    bias = torch.randn(z.shape[channel_dim], dtype=z.dtype, device=z.device)
    p = list(PARAMETERS.get(activation, ()))
    return (
        shaped[0],
        shaped[1],
        z,
        shaped[2],
        bias if given[3] else None,
        0.25,
        channel_dim,
        ACTIVATIONS[activation].code,
        p,
    )


EVERY_CHOICE = [g for g in itertools.product((True, False), repeat=4) if g[0] or g[1]]


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("given", EVERY_CHOICE)
def test_formula_of_bach_holds(
    name: str, activation: str, given: tuple[bool, bool, bool, bool], device: torch.device
) -> None:
    z = inside(activation, torch.randn(2, 3, 4, 5, dtype=torch.float64, device=device))
    a = arguments(z, activation, given=given)
    expected = formulas.lrp_ratio(*a[:7], activation)
    assert_close(IMPLEMENTATIONS[name](*a), expected, 1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory_format", [CONTIGUOUS, CHANNELS_LAST])
@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("given", [(True, False, False, True), (True, True, True, False)])
def test_kernel_equals_reference(
    dtype: torch.dtype,
    memory_format: torch.memory_format,
    activation: str,
    given: tuple[bool, bool, bool, bool],
    device: torch.device,
) -> None:
    z = inside(activation, torch.randn(3, 5, 17, 13, dtype=dtype, device=device))
    z = z.to(memory_format=memory_format)
    a = arguments(z, activation, given=given)
    assert_same(torch.ops.relprop.lrp_ratio(*a), reference.lrp_ratio(*a))


@pytest.mark.parametrize("size", [1, 129, 151, 4096 + 32, 100_003])
def test_awkward_sizes(size: int, device: torch.device) -> None:
    z = torch.randn(size, device=device)
    a = arguments(z, "tanh", given=(True, True, True, True), channel_dim=0)
    assert_same(torch.ops.relprop.lrp_ratio(*a), reference.lrp_ratio(*a))


@pytest.mark.parametrize(
    ("shape", "channel_dim"),
    [((2, 3, 40, 40), 1), ((2, 3, 40, 40), -3), ((70, 2000), -1), ((5, 6, 7), 0), ((9, 1, 8), 1)],
)
def test_bias_runs_along_any_dimension(
    shape: tuple[int, ...], channel_dim: int, device: torch.device
) -> None:
    z = torch.randn(shape, dtype=torch.float64, device=device)
    a = arguments(z, "relu", given=(True, False, False, True), channel_dim=channel_dim)
    assert_same(torch.ops.relprop.lrp_ratio(*a), reference.lrp_ratio(*a))


@pytest.mark.parametrize("slice_name", SLICES)
@pytest.mark.parametrize("operand", ["z", "others", "all"])
def test_slices_are_read_as_they_lie(slice_name: str, operand: str, device: torch.device) -> None:
    view = SLICES[slice_name]
    sliced = [view(torch.randn(4, 6, 9, 11, device=device)) for _ in range(4)]
    plain = [t.clone(memory_format=CONTIGUOUS) for t in sliced]
    z = (sliced if operand in ("z", "all") else plain)[0]
    m, amount, d = (sliced if operand in ("others", "all") else plain)[1:]
    bias = torch.randn(z.shape[1], device=device)
    a = (m, amount, z, d, bias, 0.25, 1, ACTIVATIONS["relu"].code, [])
    assert_same(torch.ops.relprop.lrp_ratio(*a), reference.lrp_ratio(*a))


@pytest.mark.parametrize("activation", NAMES)
def test_float32_is_as_accurate_as_plain_torch(activation: str, device: torch.device) -> None:
    z = inside(activation, torch.randn(3, 16, 33, 33, device=device))
    a = arguments(z, activation, given=(True, True, False, True))
    wide = [t.double() if isinstance(t, Tensor) else t for t in a]
    assert_as_accurate(
        torch.ops.relprop.lrp_ratio(*a), reference.lrp_ratio(*a), reference.lrp_ratio(*wide)
    )


def test_nothing_is_shared_where_the_denominator_vanishes(device: torch.device) -> None:
    z = torch.tensor([0.0, -0.0, 1.0, 0.0], device=device)
    m = torch.tensor([1.0, 1.0, 0.0, 2.0], device=device)
    amount = torch.tensor([0.0, 0.0, 0.0, 3.0], device=device)
    s = lrp_ratio(m, amount, z, epsilon=0.0)
    assert s.tolist() == [0.0, 0.0, 0.0, 0.0]


def test_sign_of_zero_is_plus_one(device: torch.device) -> None:
    z = torch.tensor([0.0, -0.0], device=device)
    s = lrp_ratio(None, torch.ones_like(z), z, epsilon=0.5)
    assert s.tolist() == [2.0, 2.0]


def test_not_a_number_is_not_hidden(device: torch.device) -> None:
    z = torch.tensor([float("nan"), 1.0], device=device)
    assert lrp_ratio(torch.ones_like(z), None, z, epsilon=0.5).isnan().tolist() == [True, False]


def test_omitted_parameters_take_their_defaults(device: torch.device) -> None:
    z = torch.linspace(-2, 2, 9, device=device)
    m = torch.ones_like(z)
    assert torch.equal(
        lrp_ratio(m, None, z, epsilon=0.1, activation="hardtanh"),
        lrp_ratio(m, None, z, epsilon=0.1, activation="hardtanh", parameters=(-1.0, 1.0)),
    )
