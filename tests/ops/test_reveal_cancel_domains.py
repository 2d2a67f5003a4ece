"""RevealCancel of functions that are not defined for every number, element by element."""

import itertools
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


def f(name: str, x: float) -> mpf:
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
