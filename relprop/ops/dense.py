"""The signed dense layer: what a difference brings upwards and what it brings downwards.

The functions check their arguments and call the operator of the same name; see `relprop.ops`.
"""

from torch import Tensor

from . import arguments
from .library import call


def signed_linear(d: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The positive and the negative part of a dense layer's change (Shrikumar et al. 2017).

    ::

        P = d+ W+^T + d- W-^T >= 0
        N = d+ W-^T + d- W+^T <= 0

    with ``t+ = max(t, 0)``, ``t- = min(t, 0)``; ``P + N = d W^T`` (section 3.5.1: the contributions
    of all inputs, by their sign). Both come from one read of the weight, and neither from a
    difference of the other, so that a small part is as accurate as a large one.

    Args:
        d: the change of the layer's input, (..., in).
        weight: the layer's, (out, in).

    Returns:
        ``P`` and ``N``, (..., out), contiguous.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to::

        P = linear(d.clamp(min=0), W.clamp(min=0)) + linear(d.clamp(max=0), W.clamp(max=0))
        N = linear(d.clamp(min=0), W.clamp(max=0)) + linear(d.clamp(max=0), W.clamp(min=0))
    """
    arguments.check_dense(d, weight)
    parts: tuple[Tensor, Tensor] = call("signed_linear", d, weight)
    return parts


def signed_linear_backward(positive: Tensor, negative: Tensor, d: Tensor, weight: Tensor) -> Tensor:
    """The multipliers of a dense layer's input from those of its positive and negative part.

    ::

        m_i = sum_j W+_ji m+_j + W-_ji m-_j    where d_i > 0
        m_i = sum_j W-_ji m+_j + W+_ji m-_j    where d_i < 0
        m_i = sum_j W_ji (m+_j + m-_j) / 2     where d_i = 0

    so that ``m * d`` sums to ``m+ * P + m- * N`` of `signed_linear` (Shrikumar et al. 2017,
    section 3.5.1).

    Args:
        positive: ``m+``, the multiplier of P, (..., out).
        negative: ``m-``, the multiplier of N, (..., out).
        d: the change of the layer's input, (..., in).
        weight: the layer's, (out, in).

    Returns:
        ``m``, (..., in), contiguous.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to::

        rose = positive @ W.clamp(min=0) + negative @ W.clamp(max=0)
        fell = positive @ W.clamp(max=0) + negative @ W.clamp(min=0)
        m = torch.where(d > 0, rose, torch.where(d < 0, fell, (rose + fell) / 2))
    """
    arguments.check_dense(d, weight)
    arguments.check_dense_output("positive", positive, d, weight)
    arguments.check_dense_output("negative", negative, d, weight)
    m: Tensor = call("signed_linear_backward", positive, negative, d, weight)
    return m
