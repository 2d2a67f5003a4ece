"""Shapley max pooling in plain PyTorch: what its kernels must compute.

Windows are gathered into a last dimension of their own, so that one formula serves fixed and
adaptive pools; where a window reaches past the input, both its x and its x0 are -inf, which changes
nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .arguments import pooled_size
from .reference import _accumulate, _like


@dataclass(frozen=True)
class _Windows:
    """The inputs of every window: (windows, taps), in scan order.

    Attributes:
        size: of the pool's output.
        places: the numbers of the inputs in their plane.
        present: false where a tap is padding.
    """

    size: list[int]
    places: Tensor
    present: Tensor

    def of(self, t: Tensor) -> Tensor:
        """(batch, channels, windows, taps)."""
        taps = _accumulate(t).flatten(2)[:, :, self.places.flatten()]
        windows = taps.reshape(*taps.shape[:2], *self.places.shape)
        return windows.masked_fill(~self.present, -math.inf)


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
    windows = _fixed(x, kernel_size, stride, padding, dilation, ceil_mode)
    return _shared(positive, negative, x, x0, windows)


def adaptive_max_pool_shapley(
    positive: Tensor, negative: Tensor | None, x: Tensor, x0: Tensor
) -> Tensor:
    """`max_pool_shapley` over torch's adaptive windows, one for every element of positive."""
    return _shared(positive, negative, x, x0, _adaptive(x, positive.shape[2:]))


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
    return _parts(x, x0, _fixed(x, kernel_size, stride, padding, dilation, ceil_mode))


def adaptive_max_pool_shapley_parts(
    x: Tensor, x0: Tensor, output_size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """`max_pool_shapley_parts` over torch's adaptive windows."""
    return _parts(x, x0, _adaptive(x, output_size))


def _shared(
    positive: Tensor, negative: Tensor | None, x: Tensor, x0: Tensor, windows: _Windows
) -> Tensor:
    a, r = windows.of(x), windows.of(x0)
    m_rise = _accumulate(positive).flatten(2).unsqueeze(-1)
    m_fall = m_rise if negative is None else _accumulate(negative).flatten(2).unsqueeze(-1)
    share = _shapley_values(a, r) / torch.where(a == r, 1, a - r)
    changed = torch.where(a > r, m_rise, m_fall) * share
    highest = torch.maximum(a, r)
    highest = (highest == highest.amax(-1, keepdim=True)) & windows.present
    wins_both = highest & (highest.cumsum(-1) == 1)
    m = torch.where(a == r, torch.where(wins_both, (m_rise + m_fall) / 2, 0), changed)
    m_x = m.new_zeros((*x.shape[:2], math.prod(x.shape[2:])))
    m_x.index_add_(2, windows.places.flatten(), m.flatten(2))
    return _like(x, m_x.reshape(x.shape))


def _parts(x: Tensor, x0: Tensor, windows: _Windows) -> tuple[Tensor, Tensor]:
    a, r = windows.of(x), windows.of(x0)
    phi = _shapley_values(a, r)
    return _sum_in_windows(phi, a > r, x, windows), _sum_in_windows(phi, a < r, x, windows)


def _sum_in_windows(phi: Tensor, moved: Tensor, x: Tensor, windows: _Windows) -> Tensor:
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


def _fixed(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> _Windows:
    size, reached, present = [], [], []
    geometry = zip(x.shape[2:], kernel_size, stride, padding, dilation, strict=True)
    for length, k, s, p, d in geometry:
        size.append(pooled_size(length, k, s, p, d, ceil_mode))
        start = torch.arange(size[-1], device=x.device).unsqueeze(1) * s - p
        reached.append(start + torch.arange(k, device=x.device) * d)
        present.append((reached[-1] >= 0) & (reached[-1] < length))
    return _combined(x, size, reached, present)


def _adaptive(x: Tensor, output_size: Sequence[int]) -> _Windows:
    reached, present = [], []
    for length, count in zip(x.shape[2:], output_size, strict=True):
        o = torch.arange(count, device=x.device).unsqueeze(1)
        # the longest window, or one more
        taps = torch.arange(min(length, length // count + 2), device=x.device)
        reached.append(o * length // count + taps)
        present.append(reached[-1] < ((o + 1) * length + count - 1) // count)
    return _combined(x, list(output_size), reached, present)


def _combined(x: Tensor, size: list[int], reached: list[Tensor], present: list[Tensor]) -> _Windows:
    """Windows from what they reach along each dimension: (windows, taps) of each."""
    places = torch.zeros(1, 1, dtype=torch.long, device=x.device)
    inside = torch.ones(1, 1, dtype=torch.bool, device=x.device)
    for length, along, there in zip(x.shape[2:], reached, present, strict=True):
        along = along.clamp(0, length - 1)
        places = places[:, None, :, None] * length + along[None, :, None, :]
        inside = inside[:, None, :, None] & there[None, :, None, :]
        places, inside = (t.flatten(2).flatten(0, 1) for t in (places, inside))
    return _Windows(size, places, inside)


def _memory_format(x: Tensor) -> torch.memory_format:
    """The one in which a pool of x answers."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    last = formats.get(x.dim())
    if last is None or x.is_contiguous() or not x.is_contiguous(memory_format=last):
        return torch.contiguous_format
    return last
