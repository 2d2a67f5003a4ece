"""The convolution on tensor cores with the steps before and after it, and where it may be used.

The functions check their arguments and call the operator of the same name; see `relprop.ops`.
Whether it is used where it may be is for `relprop.ops.convolution_timing` to say.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import arguments
from .backends import is_built
from .geometry import convolved_shape, geometry_of
from .library import call

#: What the kernel multiplies: float32 in TF32, where torch's own convolutions may.
DTYPES = (torch.float32, torch.bfloat16)
#: The first compute capability with tensor cores for both.
AMPERE = (8, 0)
LAST = torch.channels_last
FACTORS = ("positive", "negative", "other_positive", "other_negative")


def suits(x: Tensor, weight: Tensor, *, dilation: Sequence[int]) -> bool:
    """Whether the kernel of `fused_convolution` can stand for torch's convolution of x.

    Args:
        x: what is to be convolved, or sent back through the convolution.
        weight: the convolution's.
        dilation: the convolution's, which is in one group.

    Returns:
        True for channels-last images on a GPU of at least Ampere, in bfloat16, or in float32 where
        torch's switches let convolutions take TF32; for a convolution without dilation, where the
        kernel is built.
    """
    if x.dim() != 4 or set(dilation) != {1} or x.device.type != "cuda":
        return False
    if x.dtype not in DTYPES or weight.dtype != x.dtype:
        return False
    if x.dtype == torch.float32 and not tf32_is_allowed():
        return False
    if not is_built("fused_convolution", "cuda") or not x.is_contiguous(memory_format=LAST):
        return False
    return torch.cuda.get_device_capability(x.device) >= AMPERE


def tf32_is_allowed() -> bool:
    """Whether torch's switches let convolutions of float32 round what they multiply to TF32."""
    cudnn: Any = torch.backends.cudnn
    return bool(cudnn.conv.fp32_precision == "tf32")


def fused_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    positive: float = 1.0,
    negative: float = 1.0,
    input_size: Sequence[int] | None = None,
    other: Tensor | None = None,
    other_positive: float = 1.0,
    other_negative: float = 1.0,
    z: Tensor | None = None,
    denominator: Tensor | None = None,
    other_denominator: Tensor | None = None,
    next_z: Tensor | None = None,
    next_denominator: Tensor | None = None,
    epsilon: float = 0.0,
    relu: bool = False,
) -> Tensor:
    """A convolution, or its transpose, of one or two inputs, with the steps before and after it.

    ::

        s = x,         or with z    s = x f(z) / stab(denominator),        t likewise
        c = W' s + W'' t + b    or, with input_size,    c = W'^T s + W''^T t + b
        r = c,         or with next_z    r = c f(next_z),
                       or with both    r = c f(next_z) / stab(next_denominator)

    with ``W' = positive * W+ + negative * W-`` (and ``W''`` likewise), ``W+ = max(W, 0)``,
    ``W- = min(W, 0)``, ``stab(d) = d + epsilon * sign(d)``, ``sign(0) = +1``, and f the identity or
    ReLU. The ratios are those of `lrp_ratio` (Bach et al. 2015, eq. 58); with 1 and 0 for x and 0
    and 1 for other, both sides of the rule of alpha and beta (eq. 60) go back as one sum. Neither
    ``W'`` nor s is ever held as a whole. Dilation and groups are 1.

    The CUDA kernel multiplies on tensor cores: float32 rounded to TF32 (10 bits after the point)
    whatever torch's switches say, and bfloat16; both are summed in float32. It takes no other type.
    Each result is one sum in a fixed order.

    Args:
        x: (batch, in, height, width); with input_size, shaped like the convolution's output.
        weight: the convolution's, (out, in, rows, columns).
        bias: one number for each channel of the result; or None.
        stride, padding: the convolution's, as in torch.
        positive, negative: what weights above and below 0 are multiplied by where they meet s.
        input_size: rows and columns of the convolution's input, to go back through it; or None.
        other: what t is made of, shaped like x; or None.
        other_positive, other_negative: as positive and negative, where weights meet t.
        z: pre-activations, shaped like x; or None.
        denominator, other_denominator: what s and t are divided by, shaped like x; None for z.
        next_z: pre-activations shaped like the result; or None.
        next_denominator: shaped like the result; or None.
        epsilon: the stabilizer.
        relu: whether f is ReLU.

    Returns:
        ``r``, channels last: (batch, out, ...), or with input_size (batch, in, *input_size).

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to::

        s = x if z is None else lrp_ratio(x, None, z, denominator, epsilon=epsilon)
        W = positive * W.clamp(min=0) + negative * W.clamp(max=0)  # and so for other
        r = conv2d(s, W, bias, stride, padding)  # or the transpose
        r = r if next_z is None else r * next_z
    """
    steps, p, size = _geometry(x, weight, stride, padding, input_size)
    transposed = input_size is not None
    outputs = weight.shape[1] if transposed else weight.shape[0]
    arguments.check_channels("bias", bias, outputs, "x", x)
    sides = {"other": other, "z": z, "denominator": denominator}
    for name, tensor in {**sides, "other_denominator": other_denominator}.items():
        if tensor is not None:
            arguments.check_same_shape(name, tensor, "x", x)
    if z is None and (denominator is not None or other_denominator is not None):
        raise ValueError("z must be given with a denominator, got None")
    if next_z is None and next_denominator is not None:
        raise ValueError("next_z must be given with next_denominator, got None")
    if other is None and other_denominator is not None:
        raise ValueError("other must be given with other_denominator, got None")
    for name, tensor in {"next_z": next_z, "next_denominator": next_denominator}.items():
        if tensor is not None:
            arguments.check_shape(name, tensor, (x.shape[0], outputs, *size), "x", x)
    if not epsilon >= 0:
        raise ValueError(f"epsilon must be 0 or more, got {epsilon}")
    parts = [positive, negative, other_positive, other_negative]
    for name, factor in zip(FACTORS, parts, strict=True):
        arguments.check_finite(name, factor)
    before = other, z, denominator, other_denominator
    after = next_z, next_denominator
    r: Tensor = call(
        "fused_convolution",
        *(x, weight, bias, size, steps, p, transposed, parts, *before, *after, epsilon, relu),
    )
    return r


def fused_convolution_pair(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    other_bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    input_size: Sequence[int] | None = None,
    other: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """What a convolution's weights above 0 and those below make of one or two inputs, or back.

    ::

        z+ = W+ x + W- y + b'
        z- = W- x + W+ y + b''

    with ``W+ = max(W, 0)``, ``W- = min(W, 0)``. Of ``x >= 0`` without y, or of the positive part of
    an input with its negative part, these are what the rule of alpha and beta divides by (Bach et
    al. 2015, eq. 60), and DeepLIFT's P and N (Shrikumar et al. 2017, section 3.5.1); with
    input_size and the multipliers of P and N, ``W+^T m+ + W-^T m-`` and ``W-^T m+ + W+^T m-`` are
    those of the input's parts. The kernel is that of `fused_convolution`, and makes both from one
    read of inputs and weight.

    Args:
        x: (batch, in, height, width); with input_size, shaped like the convolution's output.
        weight: the convolution's, (out, in, rows, columns).
        bias, other_bias: ``b'`` and ``b''``, a number for each channel of the result; or None.
        stride, padding: the convolution's, as in torch.
        input_size: rows and columns of the convolution's input, to go back through it; or None.
        other: ``y``, shaped like x; or None.

    Returns:
        ``z+`` and ``z-``, channels last.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to::

        above = conv2d(x, W.clamp(min=0), bias, ...) + conv2d(y, W.clamp(max=0), None, ...)
        below = conv2d(x, W.clamp(max=0), other_bias, ...) + conv2d(y, W.clamp(min=0), None, ...)
    """
    steps, p, size = _geometry(x, weight, stride, padding, input_size)
    transposed = input_size is not None
    outputs = weight.shape[1] if transposed else weight.shape[0]
    arguments.check_channels("bias", bias, outputs, "x", x)
    arguments.check_channels("other_bias", other_bias, outputs, "x", x)
    if other is not None:
        arguments.check_same_shape("other", other, "x", x)
    geometry = (size, steps, p, transposed)
    pair: tuple[Tensor, Tensor] = call(
        "fused_convolution_pair", x, weight, bias, other_bias, *geometry, other
    )
    return pair


def _geometry(
    x: Tensor,
    weight: Tensor,
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    input_size: Sequence[int] | None,
) -> tuple[list[int], list[int], list[int]]:
    """Stride, padding, and rows and columns of the result."""
    arguments.check_spatial(x, "x")
    arguments.check_alike("weight", weight, "x", x)
    if x.dim() != 4 or weight.dim() != 4 or 0 in weight.shape or 0 in x.shape[1:]:
        raise ValueError(
            "x must be (batch, channels, height, width) and weight (out, in, rows, columns), of "
            f"which only batch may be 0; got shapes {tuple(x.shape)} and {tuple(weight.shape)}"
        )
    geometry = geometry_of(2, stride, padding, 1, False, 0, 1)
    if input_size is None:
        return geometry[0], geometry[1], convolved_shape("x", x.shape, weight, geometry)[2:]
    size = arguments.per_dimension("input_size", input_size, 2, 1)
    below = (x.shape[0], weight.shape[1], *size)
    expected = convolved_shape("input_size", below, weight, geometry)
    if list(x.shape) != expected:
        raise ValueError(
            f"x must have the shape of the convolution's output, {tuple(expected)} for input_size "
            f"{tuple(size)}, got {tuple(x.shape)}"
        )
    return geometry[0], geometry[1], size
