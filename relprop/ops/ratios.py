"""The step of LRP between two layers by rules that weigh contributions by their sign.

The functions check their arguments and call the operator of the same name; see `relprop.ops`.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from . import arguments
from .library import call


def signed_ratio(
    multiplier: Tensor | None,
    amount: Tensor | None,
    z: Tensor,
    size: Tensor,
    *,
    gamma: float,
    whole: float = 1.0,
    epsilon: float = 0.0,
    activation: str = "identity",
    parameters: Sequence[float] = (),
) -> Tensor:
    """`lrp_ratio` by a denominator that weighs contributions by their sign.

    Of a neuron's contributions ``z_ij``, z is the sum and size the sum of ``|z_ij|``, so the
    positive ones sum to ``z+ = (z + size) / 2``, the negative ones to ``z- = (z - size) / 2``. ::

        R = multiplier * f(z) + amount
        d = whole * z + gamma * (z+ where z >= 0, z- elsewhere)
        s = R / (d + epsilon * sign(d)),   sign(0) = +1

    with ``s = 0`` wherever ``R`` or the stabilized denominator is 0. With ``whole = 1`` it is the
    gamma rule (Montavon et al. 2019; for z < 0 Andéol et al. 2021). With ``whole = 0`` and
    ``gamma = 1`` it is the z+ rule (Montavon et al. 2017) where relevance arrives at z > 0 alone,
    as below a ReLU: there ``z+`` is no difference of larger numbers.

    Args:
        multiplier: relevance per unit of ``f(z)``, shaped like z; or None.
        amount: relevance as such, shaped like z; or None. One of the two must be given.
        z: pre-activations, any shape.
        size: shaped like z; where rounding has left it below ``|z|``, that is taken.
        gamma: what the part with the sign of z counts.
        whole: what z counts.
        epsilon: the stabilizer.
        activation: ``f``, by its name in `ACTIVATIONS`.
        parameters: of ``f``; missing ones take their defaults.

    Returns:
        ``s``, with z's shape, dtype and memory format.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to::

        R = multiplier * f(z) + amount
        d = whole * z + gamma * torch.where(z >= 0, z + size, z - size) / 2
        s = ops.lrp_ratio(None, R, z, d, epsilon=epsilon)
    """
    given = _checked(multiplier, amount, z, size, whole, gamma, epsilon, activation, parameters)
    s: Tensor = call("signed_ratio", *given)
    return s


def signed_ratio_apart(
    multiplier: Tensor | None,
    amount: Tensor | None,
    z: Tensor,
    size: Tensor,
    *,
    gamma: float,
    whole: float = 1.0,
    epsilon: float = 0.0,
    activation: str = "identity",
    parameters: Sequence[float] = (),
) -> tuple[Tensor, Tensor]:
    """`signed_ratio` in two tensors: where z >= 0, and where it is not; each is 0 elsewhere.

    The gamma rule sends the two back by different weights, as it favours positive contributions
    where ``z >= 0`` and negative ones elsewhere (Andéol et al. 2021).

    Args:
        multiplier: relevance per unit of ``f(z)``, shaped like z; or None.
        amount: relevance as such, shaped like z; or None. One of the two must be given.
        z: pre-activations, any shape.
        size: shaped like z; where rounding has left it below ``|z|``, that is taken.
        gamma: what the part with the sign of z counts.
        whole: what z counts.
        epsilon: the stabilizer.
        activation: ``f``, by its name in `ACTIVATIONS`.
        parameters: of ``f``; missing ones take their defaults.

    Returns:
        ``s`` where z >= 0, and ``s`` elsewhere; both with z's shape, dtype and memory format.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to::

        s = ops.signed_ratio(multiplier, amount, z, size, gamma=gamma, epsilon=epsilon)
        above, below = torch.where(z >= 0, s, 0), torch.where(z >= 0, 0, s)
    """
    given = _checked(multiplier, amount, z, size, whole, gamma, epsilon, activation, parameters)
    apart: tuple[Tensor, Tensor] = call("signed_ratio_apart", *given)
    return apart


def _checked(
    multiplier: Tensor | None,
    amount: Tensor | None,
    z: Tensor,
    size: Tensor,
    whole: float,
    gamma: float,
    epsilon: float,
    activation: str,
    parameters: Sequence[float],
) -> tuple[Any, ...]:
    """What the operators take."""
    arguments.check_relevance(multiplier, amount, z)
    arguments.check_same_shape("size", size, "z", z)
    for name, weight in (("whole", whole), ("gamma", gamma), ("epsilon", epsilon)):
        if not weight >= 0:
            raise ValueError(f"{name} must be 0 or more, got {weight}")
    f, p = arguments.activation_of(activation, parameters)
    return multiplier, amount, z, size, whole, gamma, epsilon, f.code, p
