"""The way back through a convolution to images of few channels, and where its kernel is used.

`few_channel_transpose` checks its arguments and calls the operator of the same name; see
`relprop.ops`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from . import arguments
from .backends import is_built
from .library import call

#: With so many channels or fewer, torch's convolution leaves half of a vector empty or more.
MOST_CHANNELS = 8


def suits(s: Tensor, weight: Tensor, *, dilation: Sequence[int], groups: int) -> bool:
    """Whether `few_channel_transpose` can stand for torch's transposed convolution, and is faster.

    Args:
        s: what is to be sent back.
        weight: the convolution's.
        dilation, groups: the convolution's.

    Returns:
        True for a float32 convolution of images of few channels, without dilation, in one group,
        where the kernel is built for this device.
    """
    if s.dim() != 4 or weight.dim() != 4 or weight.shape[1] > MOST_CHANNELS or groups != 1:
        return False
    if set(dilation) != {1} or s.dtype != torch.float32 or weight.dtype != torch.float32:
        return False
    return is_built("few_channel_transpose", s.device.type)


def few_channel_transpose(
    s: Tensor,
    weight: Tensor,
    *,
    input_size: Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    positive: float = 1.0,
    negative: float = 1.0,
    other: Tensor | None = None,
    other_positive: float = 1.0,
    other_negative: float = 1.0,
) -> Tensor:
    """The transpose of a convolution of images with few channels, by parts of its weight.

    ::

        r = W'^T s + W''^T t
        W' = positive * W+ + negative * W-
        W'' = other_positive * W+ + other_negative * W-

    as in `pointwise_convolution`. What each place sends to all the places that its filters see is
    one product of matrices; torch's convolution has a channel in each lane of a vector, of which
    three fill few. Dilation and groups are 1.

    Args:
        s: (batch, out, height, width), shaped like the convolution's output; channels-last ones are
            read as they lie, others are copied.
        weight: the convolution's, (out, in, rows, columns).
        input_size: rows and columns of the convolution's input.
        stride, padding: the convolution's, as in torch.
        positive: what weights above 0 are multiplied by where they meet s.
        negative: what weights below 0 are multiplied by where they meet s.
        other: ``t``, shaped like s; or None.
        other_positive: what weights above 0 are multiplied by where they meet t.
        other_negative: what weights below 0 are multiplied by where they meet t.

    Returns:
        ``r``, (batch, in, *input_size), channels last.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to::

        W = positive * W.clamp(min=0) + negative * W.clamp(max=0)  # and so for other
        r = torch.nn.grad.conv2d_input((batch, in, *input_size), W, s, stride, padding)
    """
    arguments.check_spatial(s, "s")
    arguments.check_alike("weight", weight, "s", s)
    if s.dim() != 4 or weight.dim() != 4 or weight.shape[0] != s.shape[1] or 0 in weight.shape:
        raise ValueError(
            f"s must be (batch, out, height, width) and weight (out, in, rows, columns); got "
            f"shapes {tuple(s.shape)} and {tuple(weight.shape)}"
        )
    if other is not None:
        arguments.check_same_shape("other", other, "s", s)
    size = arguments.per_dimension("input_size", input_size, 2, 1)
    steps = arguments.per_dimension("stride", stride, 2, 1)
    p = arguments.per_dimension("padding", padding, 2, 0)
    sizes = zip(size, weight.shape[2:], p, steps, strict=True)
    expected = [(n + 2 * q - k) // step + 1 for n, k, q, step in sizes]
    if list(s.shape[2:]) != expected:
        raise ValueError(
            f"s must have the rows and columns of the convolution's output, {tuple(expected)} for "
            f"input_size {tuple(size)}, got {tuple(s.shape[2:])}"
        )
    names = ("positive", "negative", "other_positive", "other_negative")
    factors = (positive, negative, other_positive, other_negative)
    for name, factor in zip(names, factors, strict=True):
        arguments.check_finite(name, factor)
    r: Tensor = call(
        "few_channel_transpose",
        s,
        weight,
        size,
        steps,
        p,
        positive,
        negative,
        other,
        other_positive,
        other_negative,
    )
    return r
