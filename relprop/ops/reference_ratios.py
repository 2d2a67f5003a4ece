"""The ratios of LRP's rules that weigh contributions by their sign: what kernels must compute."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .reference import _accumulate, _like, lrp_ratio


def signed_ratio(
    multiplier: Tensor | None,
    amount: Tensor | None,
    z: Tensor,
    size: Tensor,
    whole: float,
    gamma: float,
    epsilon: float,
    activation: int,
    parameters: Sequence[float],
) -> Tensor:
    """``s = R / stab(d)``, ``d = whole * z + gamma * (z+ where z >= 0, z- elsewhere)``."""
    total = _accumulate(z)
    all_of_it = torch.maximum(_accumulate(size), total.abs())
    side = torch.where(total >= 0, total + all_of_it, total - all_of_it) / 2
    d = whole * total + gamma * side
    return lrp_ratio(multiplier, amount, z, d, None, epsilon, 0, activation, parameters)


def signed_ratio_apart(
    multiplier: Tensor | None,
    amount: Tensor | None,
    z: Tensor,
    size: Tensor,
    whole: float,
    gamma: float,
    epsilon: float,
    activation: int,
    parameters: Sequence[float],
) -> tuple[Tensor, Tensor]:
    """`signed_ratio` where z >= 0, with 0 elsewhere; and where it is not."""
    s = signed_ratio(multiplier, amount, z, size, whole, gamma, epsilon, activation, parameters)
    above = z >= 0
    return _like(z, torch.where(above, s, 0)), _like(z, torch.where(above, 0, s))
