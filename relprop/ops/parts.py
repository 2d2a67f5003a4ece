"""Operators that keep the positive and the negative part of a difference apart."""

from collections.abc import Sequence

from torch import Tensor

from . import arguments
from .activations import Activation
from .library import call


def reveal_cancel(
    positive: Tensor,
    negative: Tensor,
    P: Tensor,
    N: Tensor,
    x0: Tensor,
    x: Tensor | None = None,
    *,
    activation: str,
    parameters: Sequence[float] = (),
) -> tuple[Tensor, Tensor]:
    """DeepLIFT's RevealCancel for an elementwise function (Shrikumar et al. 2017, section 3.5.3).

    ::

        y+ = 1/2 [f(r + P) - f(r) + f(r + N + P) - f(r + N)]
        y- = 1/2 [f(r + N) - f(r) + f(r + P + N) - f(r + P)]
        m+ = positive * y+ / P
        m- = negative * y- / N

    with ``r = x0``, so that ``P * m+ + N * m-`` is ``f(r + P + N) - f(r)`` times the multiplier, if
    the two multipliers are the same. Both ratios are means of two slopes of f, each as `rescale`
    has it; so where P is 0, ``y+ / P`` is its limit ``1/2 [f'(r) + f'(r + N)]``, and an input that
    did not change keeps its gradient. (The original package adds 1e-7 to P instead.)

    Where f's input x is much smaller than r, their difference has lost its digits, and with it
    ``r + P + N``; for a function that is steep near 0, such as a logarithm, this is not precise
    enough, and x should be given. The points with one part alone are reckoned from the nearer end:
    if P is the smaller part, they are ``r + P`` and ``x - P``, else ``r + N`` and ``x - N``.

    Where f is not defined at all four points (a logarithm or a root beside 0, a quotient across
    its pole), or has an infinite slope there, nothing can be said of P and N apart: that element is
    crossed by Rescale, both ratios being ``[f(x) - f(r)] / (x - r)``.

    A function that falls makes of P a negative ``y+``, and of N a positive ``y-``; they are handed
    on so, as what P and N do, and sum to the difference like others.

    Args:
        positive: the multiplier of the output's positive part, shaped like P.
        negative: the multiplier of the output's negative part, shaped like P.
        P: the positive part of the difference of f's input from the baseline, any shape.
        N: its negative part, shaped like P.
        x0: what f was applied to in the baseline; shaped like P, or with size 1 in place of the
            first dimension (a baseline common to the batch, which is not copied along it).
        x: what f was applied to, shaped like P; if None, ``x0 + P + N``.
        activation: ``f``, by its name in `ACTIVATIONS`.
        parameters: of ``f``; missing ones take their defaults.

    Returns:
        ``(m+, m-)``, with P's shape, dtype and memory format.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to (except where P or N is close to 0)::

        y_positive = (f(x0 + P) - f(x0) + f(x0 + N + P) - f(x0 + N)) / 2
        y_negative = (f(x0 + N) - f(x0) + f(x0 + P + N) - f(x0 + P)) / 2
        m_positive, m_negative = positive * y_positive / P, negative * y_negative / N
    """
    f, p = _checked(P, N, x0, x, activation, parameters)
    arguments.check_same_shape("positive", positive, "P", P)
    arguments.check_same_shape("negative", negative, "P", P)
    m: tuple[Tensor, Tensor] = call("reveal_cancel", positive, negative, P, N, x0, x, f.code, p)
    return m


def reveal_cancel_parts(
    P: Tensor,
    N: Tensor,
    x0: Tensor,
    x: Tensor | None = None,
    *,
    activation: str,
    parameters: Sequence[float] = (),
) -> tuple[Tensor, Tensor]:
    """The two parts of an activation's difference, as `reveal_cancel` shares it.

    ::

        y+ = 1/2 [f(r + P) - f(r) + f(r + N + P) - f(r + N)]
        y- = 1/2 [f(r + N) - f(r) + f(r + P + N) - f(r + P)]

    with ``r = x0``; they sum to ``f(r + P + N) - f(r)``. (Shrikumar et al. 2017, section 3.5.3.)
    Where P or N is small they are more accurate than these differences, since they are computed as
    P and N times a slope. Where f is not defined at all four points, or has an infinite slope
    there, both are in proportion to P and N, as `reveal_cancel` has it.

    Args:
        P: the positive part of the difference of f's input from the baseline, any shape.
        N: its negative part, shaped like P.
        x0: what f was applied to in the baseline; shaped like P, or with size 1 in place of the
            first dimension.
        x: what f was applied to, shaped like P; if None, ``x0 + P + N``. See `reveal_cancel`.
        activation: ``f``, by its name in `ACTIVATIONS`.
        parameters: of ``f``; missing ones take their defaults.

    Returns:
        ``(y+, y-)``, with P's shape, dtype and memory format.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to::

        y_positive = (f(x0 + P) - f(x0) + f(x0 + N + P) - f(x0 + N)) / 2
        y_negative = (f(x0 + N) - f(x0) + f(x0 + P + N) - f(x0 + P)) / 2
    """
    f, p = _checked(P, N, x0, x, activation, parameters)
    y: tuple[Tensor, Tensor] = call("reveal_cancel_parts", P, N, x0, x, f.code, p)
    return y


def signed_reveal_cancel(
    positive: Tensor,
    negative: Tensor | None,
    x: Tensor,
    x0: Tensor,
    size: Tensor,
    *,
    activation: str,
    parameters: Sequence[float] = (),
) -> tuple[Tensor, Tensor]:
    """`reveal_cancel` between two layers with weights, in the form that these read and write.

    A layer below says of its change not P and N, but its size ``P - N``, one product with ``|W|``;
    and it wants of their multipliers the mean, which it sends through ``W^T``, and half of the
    difference, which it sends through ``|W|^T``::

        P, N = (x - x0 ± size) / 2
        m+, m- = reveal_cancel(positive, negative, P, N, x0, x)
        u, v = (m+ ± m-) / 2

    Args:
        positive: the multiplier of the output's positive part, shaped like x.
        negative: that of its negative part, shaped like x; None if it is the same.
        x: what f was applied to, any shape.
        x0: what f was applied to in the baseline; shaped like x, or with size 1 in place of the
            first dimension.
        size: ``P - N``, shaped like x.
        activation: ``f``, by its name in `ACTIVATIONS`.
        parameters: of ``f``; missing ones take their defaults.

    Returns:
        ``(u, v)``, with x's shape, dtype and memory format.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to::

        P, N = (x - x0 + size) / 2, (x - x0 - size) / 2
        m_positive, m_negative = reveal_cancel(positive, negative, P, N, x0, x, activation=...)
        u, v = (m_positive + m_negative) / 2, (m_positive - m_negative) / 2
    """
    f, p = _checked_size(x, x0, size, activation, parameters)
    arguments.check_same_shape("positive", positive, "x", x)
    if negative is not None:
        arguments.check_same_shape("negative", negative, "x", x)
    halves: tuple[Tensor, Tensor] = call(
        "signed_reveal_cancel", positive, negative, x, x0, size, f.code, p
    )
    return halves


def reveal_cancel_size(
    x: Tensor, x0: Tensor, size: Tensor, *, activation: str, parameters: Sequence[float] = ()
) -> Tensor:
    """How large an activation's difference is in its parts: ``y+ - y-`` of `reveal_cancel_parts`.

    ::

        P, N = (x - x0 ± size) / 2
        y+, y- = reveal_cancel_parts(P, N, x0, x)

    Args:
        x: what f was applied to, any shape.
        x0: what f was applied to in the baseline; shaped like x, or with size 1 in place of the
            first dimension.
        size: ``P - N``, shaped like x.
        activation: ``f``, by its name in `ACTIVATIONS`.
        parameters: of ``f``; missing ones take their defaults.

    Returns:
        ``y+ - y-``, with x's shape, dtype and memory format.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to::

        P, N = (x - x0 + size) / 2, (x - x0 - size) / 2
        y_positive, y_negative = reveal_cancel_parts(P, N, x0, x, activation=...)
        y_positive - y_negative
    """
    f, p = _checked_size(x, x0, size, activation, parameters)
    size_of_y: Tensor = call("reveal_cancel_size", x, x0, size, f.code, p)
    return size_of_y


def _checked_size(
    x: Tensor, x0: Tensor, size: Tensor, activation: str, parameters: Sequence[float]
) -> tuple[Activation, list[float]]:
    arguments.check_floating("x", x)
    arguments.check_baseline(x0, x)
    arguments.check_same_shape("size", size, "x", x)
    return arguments.activation_of(activation, parameters)


def _checked(
    P: Tensor,
    N: Tensor,
    x0: Tensor,
    x: Tensor | None,
    activation: str,
    parameters: Sequence[float],
) -> tuple[Activation, list[float]]:
    arguments.check_floating("P", P)
    arguments.check_same_shape("N", N, "P", P)
    arguments.check_baseline(x0, P, "P")
    if x is not None:
        arguments.check_same_shape("x", x, "P", P)
    return arguments.activation_of(activation, parameters)
