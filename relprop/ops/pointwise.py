"""The convolution by 1x1 filters, of which weights are taken by their sign, and where to use it.

`pointwise_convolution` checks its arguments and calls the operator of the same name; see
`relprop.ops`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from . import arguments
from .backends import is_built
from .library import call


def suits(x: Tensor, weight: Tensor, *, padding: Sequence[int], groups: int) -> bool:
    """Whether `pointwise_convolution` can stand for torch's convolution of x, and takes less time.

    Args:
        x: what is to be convolved.
        weight: the convolution's.
        padding, groups: the convolution's.

    Returns:
        True for a float32 convolution of images by 1x1 filters without padding, in one group,
        where the kernel is built for this device.
    """
    shaped = x.dim() == weight.dim() == 4 and weight.shape[2:] == (1, 1) and groups == 1
    if not shaped or any(padding) or x.dtype != torch.float32 or weight.dtype != torch.float32:
        return False
    return is_built("pointwise_convolution", x.device.type)


def pointwise_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    positive: float = 1.0,
    negative: float = 1.0,
    transposed: bool = False,
    other: Tensor | None = None,
    other_positive: float = 1.0,
    other_negative: float = 1.0,
) -> Tensor:
    """A convolution by 1x1 filters, or its transpose, of one or two inputs, by parts of the weight.

    ::

        z = W' x + W'' y + b    or, transposed,    z = W'^T x + W''^T y + b
        W' = positive * W+ + negative * W-
        W'' = other_positive * W+ + other_negative * W-

    with ``t+ = max(t, 0)``, ``t- = min(t, 0)``: 1 and 1 are ``W``, 1 and 0 are ``W+``, 1 and -1 are
    ``|W|``; ``alpha`` and 0 for x with 0 and ``-beta`` for y are the way back of the rule of alpha
    and beta (Bach et al. 2015, eq. 60). Neither is ever held as a whole. Each result is one sum
    over the channels in their order. Stride, dilation and groups are 1: the places that a stride
    leads to are a view, ``x[..., ::2, ::2]``.

    Args:
        x: (batch, in, height, width); channels-last ones are read as they lie, others are copied.
        weight: (out, in, 1, 1); transposed, (in, out, 1, 1), which is that of the convolution whose
            output x is shaped like.
        bias: (out,); or None.
        positive: what weights above 0 are multiplied by where they meet x.
        negative: what weights below 0 are multiplied by where they meet x.
        transposed: whether to go back through the convolution.
        other: ``y``, shaped like x; or None.
        other_positive: what weights above 0 are multiplied by where they meet y.
        other_negative: what weights below 0 are multiplied by where they meet y.

    Returns:
        ``z``, (batch, out, height, width), channels last.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to::

        W = positive * W.clamp(min=0) + negative * W.clamp(max=0)  # and so for other
        z = conv2d(x, W, bias)  # or conv_transpose2d
    """
    arguments.check_filters(x, weight, bias, transposed, side=1)
    if other is not None:
        arguments.check_same_shape("other", other, "x", x)
    factors = (positive, negative, other_positive, other_negative)
    names = ("positive", "negative", "other_positive", "other_negative")
    for name, factor in zip(names, factors, strict=True):
        arguments.check_finite(name, factor)
    z: Tensor = call(
        "pointwise_convolution",
        x,
        weight,
        bias,
        positive,
        negative,
        transposed,
        other,
        other_positive,
        other_negative,
    )
    return z
