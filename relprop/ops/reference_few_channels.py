"""The way back to images of few channels in plain PyTorch: what its kernel must compute."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .reference import _accumulate


def few_channel_transpose(
    s: Tensor,
    weight: Tensor,
    input_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    positive: float,
    negative: float,
    other: Tensor | None,
    other_positive: float,
    other_negative: float,
) -> Tensor:
    """``r = W'^T s + W''^T t``, each weight by its sign, channels last."""
    sizes = zip(input_size, s.shape[2:], weight.shape[2:], stride, padding, strict=True)
    rest = [n + 2 * p - k - st * (m - 1) for n, m, k, st, p in sizes]
    r = _sent_back(s, positive, negative, weight, stride, padding, rest)
    if other is not None:
        factors = other_positive, other_negative
        r = r + _sent_back(other, *factors, weight, stride, padding, rest)
    return torch.empty_like(r, dtype=s.dtype, memory_format=torch.channels_last).copy_(r)


def _sent_back(
    s: Tensor,
    positive: float,
    negative: float,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    rest: Sequence[int],
) -> Tensor:
    w = _accumulate(weight)
    w = torch.where(w < 0, negative * w, positive * w)
    return torch.convolution(_accumulate(s), w, None, stride, padding, [1, 1], True, rest, 1)
