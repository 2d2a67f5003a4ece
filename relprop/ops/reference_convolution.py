"""The signed convolution in plain PyTorch: two convolutions each way, where the formula has four.

``W+ = (W + |W|) / 2`` and ``W- = (W - |W|) / 2``, so that all is made of what W does to a sum, and
of what ``|W|`` does to a difference.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .geometry import left_over


def signed_convolution(
    p: Tensor,
    n: Tensor,
    weight: Tensor,
    magnitude: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> tuple[Tensor, Tensor]:
    """``P = (W (p + n) + |W| (p - n)) / 2`` and ``N = (W (p + n) - |W| (p - n)) / 2``."""
    geometry = (stride, padding, dilation, transposed, output_padding, groups)
    total = torch.convolution(p + n, weight, None, *geometry)
    size = torch.convolution(p - n, _magnitude(weight, magnitude), None, *geometry)
    # Rounding may leave a part that is 0 with the sign of the other.
    return ((total + size) / 2).clamp(min=0), ((total - size) / 2).clamp(max=0)


def signed_convolution_backward(
    positive: Tensor,
    negative: Tensor,
    weight: Tensor,
    magnitude: Tensor | None,
    input_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> tuple[Tensor, Tensor]:
    """``u, v = (W^T (m+ + m-) ± |W|^T (m+ - m-)) / 2``."""
    rest = [0] * len(stride)
    if not transposed:
        sizes = (input_size, positive.shape[2:], weight.shape[2:])
        rest = left_over(*sizes, stride, padding, dilation)
    geometry = (stride, padding, dilation, not transposed, rest, groups)
    total = torch.convolution((positive + negative) / 2, weight, None, *geometry)
    difference = (positive - negative) / 2
    size = torch.convolution(difference, _magnitude(weight, magnitude), None, *geometry)
    return total + size, total - size


def _magnitude(weight: Tensor, magnitude: Tensor | None) -> Tensor:
    return weight.abs() if magnitude is None else magnitude
