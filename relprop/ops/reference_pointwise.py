"""The convolution by 1x1 filters in plain PyTorch: what its kernel must compute."""

import torch
from torch import Tensor

from .reference import _accumulate


def pointwise_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    positive: float,
    negative: float,
    transposed: bool,
    other: Tensor | None,
    other_positive: float,
    other_negative: float,
) -> Tensor:
    """``z = W' x + W'' y + b``, each weight by its sign, channels last."""
    z = _product(x, weight, positive, negative, transposed)
    if other is not None:
        z = z + _product(other, weight, other_positive, other_negative, transposed)
    if bias is not None:
        z = z + _accumulate(bias).reshape(-1, 1, 1)
    return torch.empty_like(z, dtype=x.dtype, memory_format=torch.channels_last).copy_(z)


def _product(
    x: Tensor, weight: Tensor, positive: float, negative: float, transposed: bool
) -> Tensor:
    w = _accumulate(weight).flatten(1)
    w = torch.where(w < 0, negative * w, positive * w)
    return torch.einsum("nihw,io->nohw" if transposed else "nihw,oi->nohw", _accumulate(x), w)
