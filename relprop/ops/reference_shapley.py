"""Shapley max pooling in plain PyTorch: what its kernels must compute.

Where a window reaches past the input, both its x and its x0 are -inf, which changes nothing.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .pool_windows import PoolWindows
from .reference import _accumulate, _like


def max_pool_shapley(
    positive: Tensor,
    negative: Tensor | None,
    x: Tensor,
    x0: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Tensor:
    """Every input gets its Shapley value's share of a window's multipliers."""
    windows = PoolWindows.fixed(x, kernel_size, stride, padding, dilation, ceil_mode)
    return _shared(positive, negative, x, x0, windows)


def adaptive_max_pool_shapley(
    positive: Tensor, negative: Tensor | None, x: Tensor, x0: Tensor
) -> Tensor:
    """`max_pool_shapley` over torch's adaptive windows, one for every element of positive."""
    return _shared(positive, negative, x, x0, PoolWindows.adaptive(x, positive.shape[2:]))


def max_pool_shapley_parts(
    x: Tensor,
    x0: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> tuple[Tensor, Tensor]:
    """What the rises and what the falls of every window bring to the change of its maximum."""
    return _parts(x, x0, PoolWindows.fixed(x, kernel_size, stride, padding, dilation, ceil_mode))


def adaptive_max_pool_shapley_parts(
    x: Tensor, x0: Tensor, output_size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """`max_pool_shapley_parts` over torch's adaptive windows."""
    return _parts(x, x0, PoolWindows.adaptive(x, output_size))


def _shared(
    positive: Tensor, negative: Tensor | None, x: Tensor, x0: Tensor, windows: PoolWindows
) -> Tensor:
    a, r = (windows.of(_accumulate(t), -math.inf) for t in (x, x0))
    m_rise = _accumulate(positive).flatten(2).unsqueeze(-1)
    m_fall = m_rise if negative is None else _accumulate(negative).flatten(2).unsqueeze(-1)
    share = _shapley_values(a, r) / torch.where(a == r, 1, a - r)
    changed = torch.where(a > r, m_rise, m_fall) * share
    highest = torch.maximum(a, r)
    highest = (highest == highest.amax(-1, keepdim=True)) & windows.present
    wins_both = highest & (highest.cumsum(-1) == 1)
    m = torch.where(a == r, torch.where(wins_both, (m_rise + m_fall) / 2, 0), changed)
    return _like(x, windows.added_up(m, x))


def _parts(x: Tensor, x0: Tensor, windows: PoolWindows) -> tuple[Tensor, Tensor]:
    a, r = (windows.of(_accumulate(t), -math.inf) for t in (x, x0))
    phi = _shapley_values(a, r)
    return _sum_in_windows(phi, a > r, x, windows), _sum_in_windows(phi, a < r, x, windows)


def _sum_in_windows(phi: Tensor, moved: Tensor, x: Tensor, windows: PoolWindows) -> Tensor:
    """A pool's output in x's dtype and memory format."""
    sums = torch.where(moved, phi, 0).sum(-1).reshape(*x.shape[:2], *windows.size)
    result = torch.empty(
        sums.shape, dtype=x.dtype, device=x.device, memory_format=_memory_format(x)
    )
    return result.copy_(sums)


def _shapley_values(x: Tensor, r: Tensor) -> Tensor:
    """phi, of the game in which every input is at x or at r and the worth is the maximum.

    ``b_(1) >= b_(2) >= ...`` are the higher ends of the inputs' changes, none below T. Between
    ``b_(j + 1)`` and ``b_(j)``, p of the first j rose and n fell, and ``g = 1 / C(n + p, p)``.
    """
    T = torch.minimum(x, r).amax(-1, keepdim=True)
    b, order = torch.maximum(torch.maximum(x, r), T).sort(-1, descending=True)
    rose = (x > r).gather(-1, order)
    j = torch.arange(1, x.shape[-1] + 1, device=x.device, dtype=x.dtype)
    p = rose.to(x.dtype).cumsum(-1)
    n = j - p
    g = (torch.where(rose, p, n) / j).cumprod(-1)
    dt = b - torch.cat([b[..., 1:], T], -1)
    rise, fall = ((dt * g / count.clamp(min=1)).flip(-1).cumsum(-1).flip(-1) for count in (p, n))
    return torch.zeros_like(x).scatter(-1, order, torch.where(rose, rise, -fall))


def _memory_format(x: Tensor) -> torch.memory_format:
    """The one in which a pool of x answers."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    last = formats.get(x.dim())
    if last is None or x.is_contiguous() or not x.is_contiguous(memory_format=last):
        return torch.contiguous_format
    return last
