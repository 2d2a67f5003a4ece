"""What a caller may pass to an operator: each mistake is met by one sentence."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .activations import ACTIVATIONS, Activation

_FLOATING = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def check_floating(name: str, tensor: Tensor) -> None:
    """Raise TypeError unless the tensor holds numbers that the operators compute with."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
    if tensor.dtype not in _FLOATING:
        raise TypeError(
            f"{name} must be float32, float64, float16 or bfloat16, got {tensor.dtype}; "
            f"convert it with {name}.float()"
        )


def check_alike(name: str, tensor: Tensor, owner_name: str, owner: Tensor) -> None:
    """Raise unless the tensor has its owner's dtype and device."""
    check_floating(name, tensor)
    if tensor.dtype != owner.dtype:
        raise TypeError(
            f"{name} must have the dtype of {owner_name}, {owner.dtype}, got {tensor.dtype}"
        )
    if tensor.device != owner.device:
        raise ValueError(
            f"{name} must be on the device of {owner_name}, {owner.device}, got {tensor.device}"
        )


def check_same_shape(name: str, tensor: Tensor, owner_name: str, owner: Tensor) -> None:
    """Raise unless the tensor has its owner's shape, dtype and device."""
    check_alike(name, tensor, owner_name, owner)
    if tensor.shape != owner.shape:
        raise ValueError(
            f"{name} must have the shape of {owner_name}, {tuple(owner.shape)}, "
            f"got {tuple(tensor.shape)}"
        )


def check_baseline(x0: Tensor, x: Tensor, name: str = "x") -> None:
    """Raise unless x0 is one baseline for each example of x, or one for all of them."""
    check_alike("x0", x0, name, x)
    if x0.shape == x.shape:
        return
    if x.dim() == 0 or x0.dim() != x.dim() or x0.shape[1:] != x.shape[1:] or x0.shape[0] != 1:
        raise ValueError(
            f"x0 must have the shape of {name}, {tuple(x.shape)}, or size 1 in place of "
            f"its first dimension, got {tuple(x0.shape)}"
        )


def check_relevance(multiplier: Tensor | None, amount: Tensor | None, z: Tensor) -> None:
    """Raise unless relevance arrives at z, per unit or as such."""
    check_floating("z", z)
    if multiplier is None and amount is None:
        raise ValueError("multiplier or amount must be given, got None for both")
    for name, tensor in (("multiplier", multiplier), ("amount", amount)):
        if tensor is not None:
            check_same_shape(name, tensor, "z", z)


def check_bias(bias: Tensor, z: Tensor, channel_dim: int) -> None:
    """Raise unless bias has one element for every channel of z."""
    check_alike("bias", bias, "z", z)
    if not -z.dim() <= channel_dim < z.dim():
        raise ValueError(
            f"channel_dim must be a dimension of z, which has {z.dim()}, got {channel_dim}"
        )
    if bias.dim() != 1 or bias.shape[0] != z.shape[channel_dim]:
        raise ValueError(
            f"bias must be a vector with one element for each of the {z.shape[channel_dim]} "
            f"channels of z (its dimension {channel_dim}), got shape {tuple(bias.shape)}"
        )


def activation_of(name: str, parameters: Sequence[float]) -> tuple[Activation, list[float]]:
    """Look an activation up and complete its parameters by their defaults.

    Raises:
        ValueError: if there is none of that name, or it cannot take these parameters.
    """
    activation = ACTIVATIONS.get(name)
    if activation is None:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    defaults = activation.defaults
    if len(parameters) > len(defaults):
        wanted = f"{len(defaults)} ({', '.join(defaults)})" if defaults else "none"
        raise ValueError(f"{name} takes at most these parameters: {wanted}; got {parameters!r}")
    given = [float(p) for p in parameters]
    complete = given + list(defaults.values())[len(given) :]
    for limit, fits in activation.limits.items():
        if not fits(complete):
            came = ", ".join(f"{p} {v}" for p, v in zip(defaults, complete, strict=True))
            raise ValueError(f"{name}: {limit}, got {came}")
    return activation, complete


def per_dimension(name: str, value: int | Sequence[int], dims: int, least: int) -> list[int]:
    """One integer for every spatial dimension, each of them `least` or more."""
    values = [value] * dims if isinstance(value, int) else [int(v) for v in value]
    if len(values) == 1:
        values = values * dims
    if len(values) != dims or min(values) < least:
        raise ValueError(
            f"{name} must be an integer of at least {least}, or {dims} of them "
            f"(one for each spatial dimension of x), got {value!r}"
        )
    return values


def check_spatial(x: Tensor, name: str = "x") -> None:
    """Raise unless x is a batch of images or the like."""
    check_floating(name, x)
    if not 3 <= x.dim() <= 5:
        raise ValueError(
            f"{name} must be (batch, channels, and one to three spatial dimensions), "
            f"got shape {tuple(x.shape)}"
        )


def check_pooled(multiplier: Tensor, x: Tensor, name: str = "multiplier") -> None:
    """Raise unless x is a batch of images or the like, and multiplier could be a pooling of it."""
    check_spatial(x)
    check_alike(name, multiplier, "x", x)
    if multiplier.dim() != x.dim() or multiplier.shape[:2] != x.shape[:2]:
        raise ValueError(
            f"{name} must have the shape of the pool's output, "
            f"({x.shape[0]}, {x.shape[1]}, ...) with {x.dim()} dimensions, "
            f"got {tuple(multiplier.shape)}"
        )


Windows = tuple[list[int], list[int], list[int], list[int]]


def windows_of(
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None,
    padding: int | Sequence[int],
    dilation: int | Sequence[int],
) -> Windows:
    """A pool's settings for each spatial dimension of x; a stride of None is the kernel size."""
    dims = x.dim() - 2
    return (
        per_dimension("kernel_size", kernel_size, dims, 1),
        per_dimension("stride", kernel_size if stride is None else stride, dims, 1),
        per_dimension("padding", padding, dims, 0),
        per_dimension("dilation", dilation, dims, 1),
    )


def check_filled(x: Tensor, windows: Windows, ceil_mode: bool) -> None:
    """Raise unless these windows fit into x, and each of them holds an input."""
    for kernel, padding in zip(windows[0], windows[2], strict=True):
        if 2 * padding > kernel:
            raise ValueError(
                f"padding must be at most half of kernel_size, got {windows[2]} for {windows[0]}"
            )
    for length, kernel, stride, padding, dilation in zip(x.shape[2:], *windows, strict=True):
        if any(start % dilation >= length for start in range(-padding, 0, stride)):
            raise ValueError(
                f"every window must hold an input, but with padding {windows[2]} and dilation "
                f"{windows[3]} one holds only padding for x of shape {tuple(x.shape)}"
            )
        if pooled_size(length, kernel, stride, padding, dilation, ceil_mode) < 1:
            raise ValueError(
                f"a window must fit into x and its padding, but one of kernel_size {windows[0]} "
                f"with dilation {windows[3]} does not fit into x of shape {tuple(x.shape)}"
            )


def check_windows(
    multiplier: Tensor, x: Tensor, windows: Windows, ceil_mode: bool, name: str = "multiplier"
) -> None:
    """Raise unless pooling x by these windows gives the multiplier's shape."""
    check_filled(x, windows, ceil_mode)
    spatial = zip(x.shape[2:], *windows, strict=True)
    pooled = [pooled_size(*dimension, ceil_mode) for dimension in spatial]
    if list(multiplier.shape[2:]) != pooled:
        raise ValueError(
            f"{name} must have the shape of the pool's output, "
            f"{(*x.shape[:2], *pooled)}, got {tuple(multiplier.shape)}"
        )


def pooled_size(
    length: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> int:
    """torch's output size: with ceil_mode, a last window that starts in the input or before it."""
    reach = length + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return reach // stride + 1
    size = -(-reach // stride) + 1
    return size - 1 if (size - 1) * stride >= length + padding else size


def check_dense(d: Tensor, weight: Tensor) -> None:
    """Raise unless weight is a dense layer's, and d a change of its input."""
    check_floating("d", d)
    check_alike("weight", weight, "d", d)
    if weight.dim() != 2:
        raise ValueError(f"weight must be (out, in), got shape {tuple(weight.shape)}")
    if d.dim() == 0 or d.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"d must be (..., {weight.shape[1]}), as weight has shape {tuple(weight.shape)}, "
            f"got {tuple(d.shape)}"
        )


def check_dense_output(name: str, tensor: Tensor, d: Tensor, weight: Tensor) -> None:
    """Raise unless the tensor is shaped like the output of a dense layer for d."""
    check_alike(name, tensor, "d", d)
    if tensor.shape != (*d.shape[:-1], weight.shape[0]):
        raise ValueError(
            f"{name} must have the shape of the layer's output, "
            f"{(*d.shape[:-1], weight.shape[0])}, got {tuple(tensor.shape)}"
        )


def check_filters(
    x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool, *, side: int = 3
) -> None:
    """Raise unless x is a batch of images, and the weight holds filters for their channels."""
    check_floating("x", x)
    if x.dim() != 4 or 0 in x.shape[1:]:
        raise ValueError(
            "x must be (batch, channels, height, width), of which only batch may be 0, "
            f"got shape {tuple(x.shape)}"
        )
    check_alike("weight", weight, "x", x)
    filters = f"{x.shape[1]}, out" if transposed else f"out, {x.shape[1]}"
    expected = f"({filters}, {side}, {side})"
    if weight.dim() != 4 or weight.shape[2:] != (side, side) or 0 in weight.shape:
        raise ValueError(f"weight must be {expected}, got shape {tuple(weight.shape)}")
    inputs, outputs = weight.shape[:2] if transposed else (weight.shape[1], weight.shape[0])
    if inputs != x.shape[1]:
        raise ValueError(
            f"weight must be {expected}, as x has shape {tuple(x.shape)}, got {tuple(weight.shape)}"
        )
    if bias is None:
        return
    check_alike("bias", bias, "x", x)
    if bias.shape != (outputs,):
        raise ValueError(f"bias must have shape ({outputs},), got {tuple(bias.shape)}")


def check_filtered(x: Tensor, padding: Sequence[int], transposed: bool) -> None:
    """Raise unless a convolution of x by 3x3 filters has an output."""
    grown = [2 - 2 * p if transposed else 2 * p - 2 for p in padding]
    height, width = (length + g for length, g in zip(x.shape[2:], grown, strict=True))
    if height < 1 or width < 1:
        raise ValueError(
            f"the output must have at least one row and one column, but with padding {padding} "
            f"x of shape {tuple(x.shape)} gives {height} by {width}"
        )


def check_finite(name: str, value: float) -> None:
    """Raise unless the value is a finite number."""
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value}")


def check_shape(
    name: str, tensor: Tensor, shape: Sequence[int], owner_name: str, owner: Tensor
) -> None:
    """Raise unless the tensor has this shape, and its owner's dtype and device."""
    check_alike(name, tensor, owner_name, owner)
    if list(tensor.shape) != list(shape):
        raise ValueError(f"{name} must have shape {tuple(shape)}, got {tuple(tensor.shape)}")


def check_channels(
    name: str, vector: Tensor | None, channels: int, owner_name: str, owner: Tensor
) -> None:
    """Raise unless the vector is missing, or has a number for each channel."""
    if vector is not None:
        check_shape(name, vector, (channels,), owner_name, owner)
