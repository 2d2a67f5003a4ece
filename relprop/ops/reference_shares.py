"""Max pooling where several inputs of a window may get a part: what its kernels must compute."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .activations import ACTIVATIONS
from .pool_windows import PoolWindows
from .reference import _accumulate, _like, lrp_ratio


def max_pool_shared(
    multiplier: Tensor,
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Tensor:
    """The n inputs of a window that are its maximum get ``m / n`` each."""
    windows = PoolWindows.fixed(x, kernel_size, stride, padding, dilation, ceil_mode)
    return _shared(multiplier, x, windows)


def adaptive_max_pool_shared(multiplier: Tensor, x: Tensor) -> Tensor:
    """`max_pool_shared` over torch's adaptive windows, one for every element of the multiplier."""
    return _shared(multiplier, x, PoolWindows.adaptive(x, multiplier.shape[2:]))


def max_pool_proportional(
    multiplier: Tensor | None,
    amount: Tensor | None,
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    epsilon: float,
) -> Tensor:
    """All inputs of a window get ``s = R / stab(sum x)``, with ``R = multiplier * y + amount``."""
    windows = PoolWindows.fixed(x, kernel_size, stride, padding, dilation, ceil_mode)
    return _proportional(multiplier, amount, x, windows, epsilon)


def adaptive_max_pool_proportional(
    multiplier: Tensor | None, amount: Tensor | None, x: Tensor, epsilon: float
) -> Tensor:
    """`max_pool_proportional` over torch's adaptive windows, one for every element that arrives."""
    arriving = amount if multiplier is None else multiplier
    assert arriving is not None
    windows = PoolWindows.adaptive(x, arriving.shape[2:])
    return _proportional(multiplier, amount, x, windows, epsilon)


def _shared(multiplier: Tensor, x: Tensor, windows: PoolWindows) -> Tensor:
    a = windows.of(_accumulate(x), -math.inf)
    y = a.amax(-1, keepdim=True)
    is_maximum = ((a == y) | (a.isnan() & y.isnan())) & windows.present
    n = is_maximum.sum(-1, keepdim=True).clamp(min=1)
    part = _accumulate(multiplier).flatten(2).unsqueeze(-1) / n
    return _like(x, windows.added_up(torch.where(is_maximum, part, 0), x))


def _proportional(
    multiplier: Tensor | None,
    amount: Tensor | None,
    x: Tensor,
    windows: PoolWindows,
    epsilon: float,
) -> Tensor:
    m, extra = (None if t is None else t.flatten(2) for t in (multiplier, amount))
    y = windows.of(_accumulate(x), -math.inf).amax(-1)
    z = windows.of(_accumulate(x), 0).sum(-1)
    s = lrp_ratio(m, extra, y, z, None, epsilon, 1, ACTIVATIONS["identity"].code, ())
    return _like(x, windows.added_up(torch.where(windows.present, s.unsqueeze(-1), 0), x))
