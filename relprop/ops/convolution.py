"""The signed convolution: what a difference brings upwards and what it brings downwards.

The functions check their arguments and call the operator of the same name; see `relprop.ops`.
"""

from collections.abc import Sequence

from torch import Tensor

from . import arguments
from .geometry import convolved_shape, geometry_of, input_channels
from .library import call


def signed_convolution(
    p: Tensor,
    n: Tensor,
    weight: Tensor,
    magnitude: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    transposed: bool = False,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
) -> tuple[Tensor, Tensor]:
    """The positive and the negative part of a convolution's change (Shrikumar et al. 2017).

    ::

        P = W+ p + W- n >= 0
        N = W- p + W+ n <= 0

    with ``W+ = max(W, 0)``, ``W- = min(W, 0)``; ``P + N = W (p + n)`` (section 3.5.1, where p and n
    are a difference by its sign). Two convolutions make both, of ``p + n`` with W and of ``p - n``
    with ``|W|``: so a part is as accurate as the sum of both parts' magnitudes.

    Args:
        p: the positive part of the change of the layer's input, (batch, in, and one to three
            spatial dimensions).
        n: its negative part, 0 or less; shaped like p.
        weight: the layer's: (out, in / groups, ...); of a transposed one, (in, out / groups, ...).
        magnitude: ``|weight|``, if it is at hand; else it is made for the call.
        stride, padding, dilation, groups: the layer's, as in torch.
        transposed: whether it is a transposed convolution.
        output_padding: of a transposed one, as in torch.

    Returns:
        ``P`` and ``N``, (batch, out, ...).

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to::

        P = conv2d(p, W.clamp(min=0), ...) + conv2d(n, W.clamp(max=0), ...)
        N = conv2d(p, W.clamp(max=0), ...) + conv2d(n, W.clamp(min=0), ...)
    """
    arguments.check_spatial(p, "p")
    arguments.check_same_shape("n", n, "p", p)
    _check_weight(weight, magnitude, "p", p)
    dims = p.dim() - 2
    geometry = geometry_of(dims, stride, padding, dilation, transposed, output_padding, groups)
    convolved_shape("p", p.shape, weight, geometry)
    parts: tuple[Tensor, Tensor] = call("signed_convolution", p, n, weight, magnitude, *geometry)
    return parts


def signed_convolution_backward(
    positive: Tensor,
    negative: Tensor,
    weight: Tensor,
    magnitude: Tensor | None = None,
    *,
    input_size: Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    transposed: bool = False,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
) -> tuple[Tensor, Tensor]:
    """The multipliers of the parts of a convolution's input from those of its output's parts.

    ::

        u = W+^T m+ + W-^T m-
        v = W-^T m+ + W+^T m-

    so that ``u * p + v * n`` sums to ``m+ * P + m- * N`` of `signed_convolution` (Shrikumar et al.
    2017, section 3.5.1). Two convolutions make both, of ``(m+ + m-) / 2`` with ``W^T`` and of
    ``(m+ - m-) / 2`` with ``|W|^T``. An input that did not change has the multiplier
    ``(u + v) / 2``.

    Args:
        positive: ``m+``, the multiplier of P, (batch, out, and one to three spatial dimensions).
        negative: ``m-``, the multiplier of N, shaped like positive.
        weight: the layer's: (out, in / groups, ...); of a transposed one, (in, out / groups, ...).
        magnitude: ``|weight|``, if it is at hand; else it is made for the call.
        input_size: the spatial dimensions of the layer's input.
        stride, padding, dilation, groups: the layer's, as in torch.
        transposed: whether the layer is a transposed convolution.
        output_padding: of a transposed one, as in torch.

    Returns:
        ``u`` and ``v``, the multipliers of p and n, (batch, in, ...).

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to::

        u = conv_transpose2d(positive, W+, ...) + conv_transpose2d(negative, W-, ...)
        v = conv_transpose2d(positive, W-, ...) + conv_transpose2d(negative, W+, ...)
    """
    arguments.check_spatial(positive, "positive")
    arguments.check_same_shape("negative", negative, "positive", positive)
    _check_weight(weight, magnitude, "positive", positive)
    dims = positive.dim() - 2
    size = arguments.per_dimension("input_size", input_size, dims, 1)
    geometry = geometry_of(dims, stride, padding, dilation, transposed, output_padding, groups)
    shape = (positive.shape[0], input_channels(weight, geometry), *size)
    expected = convolved_shape("input_size", shape, weight, geometry)
    if list(positive.shape) != expected:
        raise ValueError(
            f"positive must have the shape of the layer's output, {tuple(expected)} for "
            f"input_size {size}, got {tuple(positive.shape)}"
        )
    multipliers: tuple[Tensor, Tensor] = call(
        "signed_convolution_backward", positive, negative, weight, magnitude, size, *geometry
    )
    return multipliers


def _check_weight(weight: Tensor, magnitude: Tensor | None, name: str, owner: Tensor) -> None:
    arguments.check_alike("weight", weight, name, owner)
    if magnitude is not None:
        arguments.check_same_shape("magnitude", magnitude, "weight", weight)
