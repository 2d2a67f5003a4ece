"""Slopes of sigmoid, tanh and silu, taken without a difference of values, and digits of `exp`.

Numbers of ordinary size take another way there than large ones; neither may show.
"""

import itertools

import pytest
import torch
from function_formulas import value
from mpmath import mp, mpf
from torch import Tensor

from relprop.ops import ACTIVATIONS, reference, rescale, reveal_cancel, signed_reveal_cancel

TYPES = [torch.float32, torch.float64]
SMOOTH = ["sigmoid", "tanh", "silu"]
#: The last few are of ordinary size to no function; 1e-42 is a denormal float32.
SIZES = (0.0, 1e-42, 1e-7, 1e-3, 0.3, 2.5, 11.0, 25.0, 90.0, 1000.0)
PLACES = (*SIZES[:-3], 59.0, -1e-7, -0.3, -2.5, -11.0, -59.0, 90.0, -90.0, 1000.0, -1000.0)


def chord(activation: str, a: mpf, b: mpf) -> mpf:
    """(f(b) - f(a)) / (b - a), to 100 digits; from a point to itself, f'."""
    if a == b:
        return mp.diff(lambda x: value(activation, x), a)
    return (value(activation, b) - value(activation, a)) / (b - a)


def scale_of(activation: str, wanted: Tensor) -> Tensor:
    """What rounding is relative to: slopes of sigmoid and tanh, which have no zeros, themselves."""
    return torch.ones_like(wanted) if activation == "silu" else wanted


def every_place(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """P, N and r, with both signs of r."""
    places = torch.tensor(list(itertools.product(SIZES, SIZES, PLACES)), dtype=dtype, device=device)
    P, N, r = places.T.contiguous()
    return P, -N, r


def from_the_end(P: Tensor, N: Tensor, r: Tensor, x: Tensor) -> list[tuple[mpf, ...]]:
    """The four points of each place, the one with the larger part alone reckoned from x."""
    points = []
    for p, n, a, b in zip(*(t.tolist() for t in (P, N, r, x)), strict=True):
        p, n, a, b = mpf(p), mpf(n), mpf(a), mpf(b)
        near = abs(p) <= abs(n)
        points.append((a, a + p if near else b - n, b - p if near else a + n, b))
    return points


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("activation", SMOOTH)
@mp.workdps(100)
def test_reveal_cancel_is_right_up_to_extreme_numbers(
    activation: str, dtype: torch.dtype, device: torch.device
) -> None:
    P, N, r = every_place(dtype, device)
    x, one = r + (P + N), torch.ones_like(r)
    results = reveal_cancel(one, one, P, N, r, x, activation=activation)
    halves = signed_reveal_cancel(one, None, x, r, P - N, activation=activation)
    points = from_the_end(P, N, r, x)
    slopes = (
        lambda r, rP, rN, x: chord(activation, r, rP) + chord(activation, rN, x),
        lambda r, rP, rN, x: chord(activation, r, rN) + chord(activation, rP, x),
    )
    exact = [torch.tensor([float(s(*p) / 2) for p in points], dtype=torch.float64) for s in slopes]
    eps = torch.finfo(dtype).eps
    ordinary = ((P - N <= 12) & (r.abs() <= 30)).cpu()
    # slopes change by no more than themselves, or twice that, where an argument changes by 1
    arguments = (r.abs() + P - N).double().cpu()
    rounding = eps * (16 + 8 * arguments)
    far = 8 * (24 * eps) ** (2 / 3) * (1 + arguments * (activation == "silu"))
    for m, wanted in zip(results, exact, strict=True):
        error = (m.double().cpu() - wanted).abs()
        assert bool((error <= rounding * scale_of(activation, wanted))[ordinary].all())
        assert bool((error <= far).all())
    u, v = (t.double().cpu() for t in halves)
    # P and N of the halves are off by what x - r and P - N were rounded
    exact_halves = (exact[0] + exact[1]) / 2, (exact[0] - exact[1]) / 2
    for half, wanted in zip((u, v), exact_halves, strict=True):
        assert (half - wanted).abs()[ordinary].max().item() <= 64 * eps


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("activation", SMOOTH)
@mp.workdps(100)
def test_rescale_loses_no_digits_where_the_input_is_close_to_the_baseline(
    activation: str, dtype: torch.dtype, device: torch.device
) -> None:
    steps = [sign * size for size in SIZES[:-3] for sign in (1.0, -1.0)]
    places = [(a, a + d) for a in PLACES if abs(a) <= 11 for d in steps]
    x0, x = torch.tensor(places, dtype=dtype, device=device).T.contiguous()
    m = rescale(torch.ones_like(x), x, x0, activation=activation).double().cpu()
    pairs = zip(x0.tolist(), x.tolist(), strict=True)
    exact = [float(chord(activation, mpf(a), mpf(b))) for a, b in pairs]
    wanted = torch.tensor(exact, dtype=torch.float64)
    rounding = torch.finfo(dtype).eps * (16 + 8 * (x0.abs() + x.abs()).double().cpu())
    assert bool(((m - wanted).abs() <= rounding * scale_of(activation, wanted)).all())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("activation", SMOOTH)
def test_infinities_and_not_a_number_give_what_the_reference_gives(
    activation: str, dtype: torch.dtype, device: torch.device
) -> None:
    special = (0.0, 1.0, -1.0, float("inf"), -float("inf"), float("nan"))
    places = list(itertools.product(special, repeat=3))
    P, N, r = torch.tensor(places, dtype=dtype, device=device).T.contiguous()
    one, function = torch.ones_like(r), (ACTIVATIONS[activation].code, [])
    calls = {
        "reveal_cancel": (one, one, P, N, r, None),
        "signed_reveal_cancel": (one, None, P, r, N),
        "reveal_cancel_size": (P, r, N),
        "rescale": (one, P, N),
    }
    for name, tensors in calls.items():
        actual = getattr(torch.ops.relprop, name)(*tensors, *function)
        expected = getattr(reference, name)(*tensors, *function)
        torch.testing.assert_close(actual, expected, equal_nan=True, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("activation", SMOOTH)
def test_elements_do_not_depend_on_their_neighbours(
    activation: str, dtype: torch.dtype, device: torch.device
) -> None:
    """Every seventh has numbers that are not of ordinary size, or none at all."""
    P, N, r = (torch.randn(3, 2600, dtype=dtype, device=device)).unbind()
    strange = torch.arange(len(r), device=device) % 7 == 0
    extreme = torch.tensor([1000.0, float("nan"), -float("inf")], dtype=dtype, device=device)
    wild = torch.where(strange, extreme[torch.arange(len(r), device=device) % 3], r)
    one, code = torch.ones_like(r), ACTIVATIONS[activation].code
    for name, tensors in (
        ("reveal_cancel", (one, one, P, N)),
        ("rescale", (one, P)),
    ):
        more = (None,) if name == "reveal_cancel" else ()
        operator = getattr(torch.ops.relprop, name)
        alone, among = (operator(*tensors, t, *more, code, []) for t in (r, wild))
        pairs = ((alone, among),) if isinstance(alone, Tensor) else zip(alone, among, strict=True)
        for a, b in pairs:
            assert torch.equal(a[~strange], b[~strange])


#: A function that shows an exponential, and how many units in the last place it may be off.
DIGITS = {"exp": 4, "elu": 3, "sigmoid": 3, "tanh": 3, "logsigmoid": 4}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("activation", DIGITS)
def test_exponentials_are_right_to_a_few_units_in_the_last_place(
    activation: str, dtype: torch.dtype, device: torch.device
) -> None:
    x = torch.cat([torch.linspace(-80, 8, 1201), torch.logspace(-20, 0, 101).neg()])
    x = x.to(device, dtype)
    code, p = ACTIVATIONS[activation].code, list(ACTIVATIONS[activation].defaults.values())
    one = torch.ones_like(x)
    y = torch.ops.relprop.lrp_ratio(one, None, x, one, None, 0.0, 0, code, p).double().cpu()
    known = {"elu": mp.expm1, "tanh": mp.tanh}
    f = known.get(activation, lambda t: value(activation, t))
    exact = [float(t if activation == "elu" and t > 0 else f(mpf(t))) for t in x.tolist()]
    wanted = torch.tensor(exact, dtype=torch.float64)
    error = ((y - wanted) / wanted).abs().max().item()
    assert error <= DIGITS[activation] * torch.finfo(dtype).eps
