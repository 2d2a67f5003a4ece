"""Max pools of LRP in matrix form: M_ji is 1 where window j reads input i."""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from operator_formulas import Window
from torch import Tensor


def members(
    spatial: Sequence[int], size: Sequence[int], window_of: Callable[..., Window]
) -> Tensor:
    """M, (windows, inputs)."""
    M = torch.zeros(math.prod(size), math.prod(spatial), dtype=torch.float64)
    for j, o in enumerate(itertools.product(*map(range, size))):
        for place in window_of(o):
            i = 0
            for length, along in zip(spatial, place, strict=True):
                i = i * length + along
            M[j, i] = 1
    return M


def maxima(x: Tensor, M: Tensor) -> Tensor:
    """y_j, the maximum of window j."""
    return torch.where(M > 0, x.flatten(2).unsqueeze(2), -math.inf).amax(-1)


def shared(m: Tensor, x: Tensor, M: Tensor) -> Tensor:
    """c_i = sum_j E_ji m_j / n_j, where E_ji is 1 if x_i is the maximum of window j; n = E 1."""
    E = M * (x.flatten(2).unsqueeze(2) == maxima(x, M).unsqueeze(-1))
    return ((m.flatten(2) / E.sum(-1)).unsqueeze(-1) * E).sum(2).reshape(x.shape)


def proportional(
    m: Tensor | None, amount: Tensor | None, x: Tensor, M: Tensor, epsilon: float
) -> Tensor:
    """Bach et al. 2015, eq. 58, weights of 1: c = M^T s, s = R / (z + epsilon sign(z)), z = M x."""
    z = x.flatten(2) @ M.T
    R = torch.zeros_like(z)
    if m is not None:
        R = R + m.flatten(2) * maxima(x, M)
    if amount is not None:
        R = R + amount.flatten(2)
    s = R / (z + epsilon * torch.where(z < 0, -1.0, 1.0))
    return (s @ M).reshape(x.shape)
