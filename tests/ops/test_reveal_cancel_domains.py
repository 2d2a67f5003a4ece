"""RevealCancel of functions that are not defined for every number, element by element."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from agreement import assert_close
from mpmath import mp, mpf

from relprop.ops import ACTIVATIONS, reference, reveal_cancel, reveal_cancel_parts

IMPLEMENTATIONS = {
    "operator": torch.ops.relprop.reveal_cancel,
    "reference": reference.reveal_cancel,
}
Points = list[float]


def above(points: Points) -> bool:
    return min(points) > 0


def at_zero_or_above(points: Points) -> bool:
    return min(points) >= 0


def on_one_side(points: Points) -> bool:
    return min(points) > 0 or max(points) < 0


def anywhere(points: Points) -> bool:
    return True


#: A function, its parameters, and whether it is defined at some points and all between them.
FUNCTIONS: dict[str, tuple[str, tuple[float, ...], Callable[[Points], bool]]] = {
    "log": ("log", (), above),
    "sqrt": ("sqrt", (), at_zero_or_above),
    "a root": ("pow", (0.25,), at_zero_or_above),
    "x^2.5": ("pow", (2.5,), at_zero_or_above),
    "x^3": ("pow", (3.0,), anywhere),
    "1 / x": ("pow", (-1.0,), on_one_side),
    "1 / x^2": ("pow", (-2.0,), on_one_side),
    "1 / sqrt(x)": ("pow", (-0.5,), above),
}
#: The baseline, P and N: all four points positive; r + N at 0; beyond it; all four negative.
PLACES = list(itertools.product((0.5, 2.0, -3.0), (0.0, 0.75, 4.0), (0.0, -0.5, -1.75, -2.0)))


def f(name: str, x: float | mpf) -> mpf:
    activation, parameters, _ = FUNCTIONS[name]
    if activation == "pow":
        return mpf(x) ** parameters[0]
    return {"log": mp.log, "sqrt": mp.sqrt}[activation](mpf(x))


def slope(name: str, start: float, end: float) -> float:
    """The secant's; from a point to itself, the derivative."""
    if start == end:
        return float(mp.diff(lambda x: f(name, x), mpf(start), direction=0 if start else 1))
    return float((f(name, end) - f(name, start)) / (mpf(end) - mpf(start)))


def by_hand(name: str, r: float, P: float, N: float) -> tuple[float, float]:
    """`y+ / P` and `y- / N`; both the slope of Rescale where f is not defined at all points."""
    defined = FUNCTIONS[name][2]
    points = [r, r + P, r + N, r + P + N]
    infinite = min(points) == 0 and (P == 0 or N == 0) and name in ("sqrt", "a root")
    if not defined(points) or infinite:
        rescale = slope(name, r, r + P + N)
        return rescale, rescale
    rising = slope(name, r, r + P) + slope(name, r + N, r + P + N)
    falling = slope(name, r, r + N) + slope(name, r + P, r + P + N)
    return rising / 2, falling / 2


def crossable(name: str, r: float, P: float, N: float) -> bool:
    """Whether f and the change of f are defined: f at the input and at the baseline are numbers."""
    below = name not in ("x^3", "1 / x", "1 / x^2")
    ends = (r, r + P + N)
    needs_more_than_zero = name not in ("sqrt", "a root", "x^2.5", "x^3")
    steep_at_zero = name in ("sqrt", "a root") and ends == (0.0, 0.0)
    return not ((below and min(ends) < 0) or (needs_more_than_zero and 0 in ends) or steep_at_zero)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_element_outside_the_domain_is_crossed_by_rescale(
    implementation: str, name: str, device: torch.device
) -> None:
    activation, parameters, _ = FUNCTIONS[name]
    places = [place for place in PLACES if crossable(name, *place)]
    assert len(places) > 6
    r, P, N = torch.tensor(places, dtype=torch.float64, device=device).T.contiguous()
    one = torch.ones_like(r)
    a = (one, one, P, N, r, None, ACTIVATIONS[activation].code, list(parameters))
    m_positive, m_negative = IMPLEMENTATIONS[implementation](*a)
    expected = torch.tensor([by_hand(name, *place) for place in places], dtype=torch.float64)
    assert_close(m_positive, expected[:, 0], 1e-9)
    assert_close(m_negative, expected[:, 1], 1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parts_sum_to_the_difference_inside_the_domain_and_outside(
    name: str, device: torch.device
) -> None:
    activation, parameters, _ = FUNCTIONS[name]
    places = [place for place in PLACES if crossable(name, *place)]
    r, P, N = torch.tensor(places, dtype=torch.float64, device=device).T.contiguous()
    y = reveal_cancel_parts(P, N, r, activation=activation, parameters=parameters)
    change = [float(f(name, a + b + c) - f(name, a)) for a, b, c in places]
    assert_close(y[0] + y[1], torch.tensor(change, dtype=torch.float64), 1e-12)


def test_a_root_that_falls_to_zero_has_a_finite_multiplier(device: torch.device) -> None:
    """`sqrt` from 4 to 0: the derivative at 0, which P = 0 asks for, is infinite."""
    r, zero = torch.full((1,), 4.0, device=device), torch.zeros(1, device=device)
    one = torch.ones_like(r)
    m = reveal_cancel(one, one, zero, -r, r, activation="sqrt")
    assert [t.item() for t in m] == [0.5, 0.5]


#: f's input and the baseline's, far from one another, and the smaller part in terms of the nearer.
FAR = list(itertools.product((1e-20, 3e-9), (1.0, 7.3, 4e5), (0.0, 1e-9, 0.3, 0.999, 1.5)))


@mp.workdps(60)
def far_by_hand(name: str, x: float, r: float, P: float) -> tuple[float, float]:
    """`y+` and `y-` where x is far below r, with N = x - r - P."""
    if x <= P:
        change = (f(name, x) - f(name, r)) / (mpf(x) - mpf(r))
        return float(P * change), float((mpf(x) - mpf(r) - mpf(P)) * change)
    f_r, f_x = f(name, r), f(name, x)
    f_rP, f_rN = f(name, mpf(r) + mpf(P)), f(name, mpf(x) - mpf(P))
    return float((f_rP - f_r + f_x - f_rN) / 2), float((f_rN - f_r + f_x - f_rP) / 2)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in ("x^3", "1 / x^2")])
def test_parts_are_precise_where_the_input_is_far_below_the_baseline(
    implementation: str, name: str, device: torch.device
) -> None:
    """`r + P + N` would be 0, or anything of the size of r's last digit."""
    activation, parameters, _ = FUNCTIONS[name]
    places = [(x, r, share * x) for x, r, share in FAR]
    x, r, P = torch.tensor(places, dtype=torch.float64, device=device).T.contiguous()
    N, one = x - r - P, torch.ones_like(x)
    a = (one, one, P, N, r, x, ACTIVATIONS[activation].code, list(parameters))
    m_positive, m_negative = IMPLEMENTATIONS[implementation](*a)
    expected = torch.tensor([far_by_hand(name, *place) for place in places], dtype=torch.float64)
    for m, part, wanted in zip((m_positive, m_negative), (P, N), expected.T, strict=True):
        torch.testing.assert_close((m * part).cpu(), wanted, rtol=1e-9, atol=1e-30)
    total = (P * m_positive + N * m_negative).cpu()
    torch.testing.assert_close(total, expected.sum(1), rtol=1e-13, atol=0)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_part_is_a_step_from_the_end_that_is_nearer(
    implementation: str, device: torch.device
) -> None:
    """From 1 to 1e-18: with P = 5e-19 alone less, the logarithm falls by log 2; `1 + N` is 0."""
    one = torch.ones(1, dtype=torch.float64, device=device)
    a = (one, one, 5e-19 * one, -one, one, 1e-18 * one, ACTIVATIONS["log"].code, [])
    m_positive, m_negative = IMPLEMENTATIONS[implementation](*a)
    assert (m_positive * 5e-19).item() == pytest.approx(math.log(2) / 2, rel=1e-12)
    assert (-m_negative).item() == pytest.approx(math.log(1e-18) - math.log(2) / 2, rel=1e-12)
