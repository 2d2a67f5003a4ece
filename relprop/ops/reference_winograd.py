"""The convolution by 3x3 filters in plain PyTorch: what its kernel must compute."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .reference import _accumulate


def winograd_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: Sequence[int],
    positive: float,
    negative: float,
    transposed: bool,
) -> Tensor:
    """``z = W' x + b`` with ``W' = positive * W+ + negative * W-``, channels last."""
    w = _accumulate(weight)
    w = torch.where(w < 0, negative * w, positive * w)
    b = None if bias is None else _accumulate(bias)
    once, none = [1, 1], [0, 0]
    z = torch.convolution(_accumulate(x), w, b, once, padding, once, transposed, none, 1)
    return torch.empty_like(z, dtype=x.dtype, memory_format=torch.channels_last).copy_(z)
