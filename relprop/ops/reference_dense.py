"""The signed dense layer in plain PyTorch: what its kernels must compute."""

import torch
from torch import Tensor
from torch.nn import functional

from .reference import _accumulate


def signed_linear(d: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """``P = d+ W+^T + d- W-^T`` and ``N = d+ W-^T + d- W+^T``."""
    rise, fall = _signs(d)
    W_rise, W_fall = _signs(weight)
    P = functional.linear(rise, W_rise) + functional.linear(fall, W_fall)
    N = functional.linear(rise, W_fall) + functional.linear(fall, W_rise)
    return P.to(d.dtype), N.to(d.dtype)


def signed_linear_backward(positive: Tensor, negative: Tensor, d: Tensor, weight: Tensor) -> Tensor:
    """``W+^T m+ + W-^T m-`` where ``d > 0``, mirrored where ``d < 0``, the mean where ``d = 0``."""
    m_rise, m_fall = _accumulate(positive), _accumulate(negative)
    W_rise, W_fall = _signs(weight)
    rose = m_rise @ W_rise + m_fall @ W_fall
    fell = m_rise @ W_fall + m_fall @ W_rise
    still = ((m_rise + m_fall) / 2) @ _accumulate(weight)
    return torch.where(d > 0, rose, torch.where(d < 0, fell, still)).to(d.dtype)


def _signs(t: Tensor) -> tuple[Tensor, Tensor]:
    t = _accumulate(t)
    return t.clamp(min=0), t.clamp(max=0)
