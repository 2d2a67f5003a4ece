"""The windows of a pool, gathered into a last dimension of their own.

So one formula serves fixed and adaptive pools.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .arguments import pooled_size


@dataclass(frozen=True)
class PoolWindows:
    """The inputs of every window: (windows, taps), in scan order.

    Attributes:
        size: of the pool's output.
        places: the numbers of the inputs in their plane.
        present: false where a tap is padding.
    """

    size: list[int]
    places: Tensor
    present: Tensor

    @classmethod
    def fixed(
        cls,
        x: Tensor,
        kernel_size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        ceil_mode: bool,
    ) -> PoolWindows:
        """Those of a pool of x with these settings, one for each spatial dimension."""
        size, reached, present = [], [], []
        geometry = zip(x.shape[2:], kernel_size, stride, padding, dilation, strict=True)
        for length, k, s, p, d in geometry:
            size.append(pooled_size(length, k, s, p, d, ceil_mode))
            start = torch.arange(size[-1], device=x.device).unsqueeze(1) * s - p
            reached.append(start + torch.arange(k, device=x.device) * d)
            present.append((reached[-1] >= 0) & (reached[-1] < length))
        return _combined(x, size, reached, present)

    @classmethod
    def adaptive(cls, x: Tensor, output_size: Sequence[int]) -> PoolWindows:
        """torch's adaptive windows of x, one for every element of the output."""
        reached, present = [], []
        for length, count in zip(x.shape[2:], output_size, strict=True):
            o = torch.arange(count, device=x.device).unsqueeze(1)
            # the longest window, or one more
            taps = torch.arange(min(length, length // count + 2), device=x.device)
            reached.append(o * length // count + taps)
            present.append(reached[-1] < ((o + 1) * length + count - 1) // count)
        return _combined(x, list(output_size), reached, present)

    def of(self, t: Tensor, beyond: float) -> Tensor:
        """(batch, channels, windows, taps), with `beyond` where a tap is padding."""
        taps = t.flatten(2)[:, :, self.places.flatten()]
        windows = taps.reshape(*taps.shape[:2], *self.places.shape)
        return windows.masked_fill(~self.present, beyond)

    def added_up(self, parts: Tensor, x: Tensor) -> Tensor:
        """What the inputs get, in the shape of x: the transpose of `of`; padding must get 0."""
        flat = parts.new_zeros((*x.shape[:2], math.prod(x.shape[2:])))
        add = add_in_order if x.device.type == "cuda" else _add
        return add(flat, self.places.flatten(), parts.flatten(2)).reshape(x.shape)


def add_in_order(flat: Tensor, places: Tensor, parts: Tensor) -> Tensor:
    """`flat.index_add_(2, places, parts)`, which a GPU sorts by place before it adds.

    There, index_add_ itself adds in whatever order.
    """
    added: Tensor = torch.ops.aten.index_put_(flat, [None, None, places], parts, True)
    return added


def _add(flat: Tensor, places: Tensor, parts: Tensor) -> Tensor:
    return flat.index_add_(2, places, parts)


def _combined(
    x: Tensor, size: list[int], reached: list[Tensor], present: list[Tensor]
) -> PoolWindows:
    """Windows from what they reach along each dimension: (windows, taps) of each."""
    places = torch.zeros(1, 1, dtype=torch.long, device=x.device)
    inside = torch.ones(1, 1, dtype=torch.bool, device=x.device)
    for length, along, there in zip(x.shape[2:], reached, present, strict=True):
        along = along.clamp(0, length - 1)
        places = places[:, None, :, None] * length + along[None, :, None, :]
        inside = inside[:, None, :, None] & there[None, :, None, :]
        places, inside = (t.flatten(2).flatten(0, 1) for t in (places, inside))
    return PoolWindows(size, places, inside)
