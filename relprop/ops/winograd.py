"""The convolution by 3x3 filters with fewer multiplications, and where that is worth it.

`winograd_convolution` checks its arguments and calls the operator of the same name; see
`relprop.ops`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from . import arguments
from .backends import is_built
from .library import call

# What the CPU kernel was measured on, against torch's own (oneDNN's direct convolution, one thread
# of a Zen 4 processor with AVX-512, and with AVX2 alone): from 32 channels on both sides and four
# tiles of 4x4 outputs on, at least half of which are inside the image, it takes less time. With
# fewer channels the transforms cost what the multiplications save, with fewer tiles those of the
# filters do.
FEWEST_CHANNELS = 32
FEWEST_TILES = 4
TILE = 4


def suits(
    x: Tensor,
    weight: Tensor,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    transposed: bool = False,
) -> bool:
    """Whether `winograd_convolution` can stand for torch's convolution of x, and takes less time.

    Args:
        x: what is to be convolved.
        weight: the convolution's.
        stride, padding, dilation, groups, transposed: the convolution's, as in torch.

    Returns:
        True for a large enough float32 convolution by 3x3 filters, with stride and dilation 1, in
        one group, where the kernel is built for this device.
    """
    shaped = x.dim() == weight.dim() == 4 and weight.shape[2:] == (3, 3) and groups == 1
    if not shaped or x.dtype != torch.float32 or weight.dtype != torch.float32:
        return False
    steps = {"stride": stride, "dilation": dilation}
    if any(set(arguments.per_dimension(name, step, 2, 1)) != {1} for name, step in steps.items()):
        return False
    if not is_built("winograd_convolution", x.device.type):
        return False
    sides = zip(x.shape[2:], arguments.per_dimension("padding", padding, 2, 0), strict=True)
    grown = [side + (2 - 2 * p if transposed else 2 * p - 2) for side, p in sides]
    return min(weight.shape[:2]) >= FEWEST_CHANNELS and _tiles_are_filled(x.shape[0], *grown)


def _tiles_are_filled(batch: int, height: int, width: int) -> bool:
    tiles = -(-height // TILE) * -(-width // TILE)
    return batch * tiles >= FEWEST_TILES and 2 * height * width >= tiles * TILE**2


def winograd_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    padding: int | Sequence[int] = 0,
    positive: float = 1.0,
    negative: float = 1.0,
    transposed: bool = False,
) -> Tensor:
    """A convolution by 3x3 filters, or its transpose, of which the weight may be taken in parts.

    ::

        z = W' x + b    or, transposed,    z = W'^T x + b
        W' = positive * W+ + negative * W-

    with ``t+ = max(t, 0)``, ``t- = min(t, 0)``: 1 and 1 are ``W``, 1 and 0 are ``W+``, 0 and 1 are
    ``W-``, 1 and -1 are ``|W|``, ``1 + gamma`` and 1 are the gamma rule's ``W + gamma W+``
    (Montavon et al. 2019). ``W'`` is never held as a whole. Stride, dilation and groups are 1.

    The CPU kernel is Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016): a quarter of
    the multiplications, at the price of rounding errors that are in proportion to the largest
    numbers in the 6x6 inputs of a tile, not to each result. In float32 their root mean square is
    1e-6 to 2e-6 of that of z, about twice what direct summation has; where all products are of one
    sign, about 4e-7, which is less. A sum of zeros beside large numbers may come out as some 1e-6
    of them, of either sign; if the whole tile is zero, it is exactly 0.

    Args:
        x: (batch, in, height, width); channels-last ones are read as they lie, others are copied.
        weight: (out, in, 3, 3); transposed, (in, out, 3, 3), which is that of the convolution whose
            output x is shaped like.
        bias: (out,); or None.
        padding: that of the convolution, also if transposed.
        positive: what weights above 0 are multiplied by.
        negative: what weights below 0 are multiplied by.
        transposed: whether to go back through the convolution.

    Returns:
        ``z``, channels last: (batch, out, height + 2 * padding - 2, width + 2 * padding - 2);
        transposed, (batch, out, height + 2 - 2 * padding, width + 2 - 2 * padding).

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to::

        W = positive * W.clamp(min=0) + negative * W.clamp(max=0)
        z = conv2d(x, W, bias, padding=padding)  # or conv_transpose2d
    """
    arguments.check_filters(x, weight, bias, transposed)
    p = arguments.per_dimension("padding", padding, 2, 0)
    arguments.check_filtered(x, p, transposed)
    arguments.check_finite("positive", positive)
    arguments.check_finite("negative", negative)
    z: Tensor = call("winograd_convolution", x, weight, bias, p, positive, negative, transposed)
    return z
