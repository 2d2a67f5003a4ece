"""The geometry of convolutions: what fits together, and how large the result is."""

from collections.abc import Sequence

from torch import Tensor

from .arguments import per_dimension

#: stride, padding, dilation, transposed, output_padding, groups: the order of `torch.convolution`.
Geometry = tuple[list[int], list[int], list[int], bool, list[int], int]
PerDimension = int | Sequence[int]


def geometry_of(
    dims: int,
    stride: PerDimension,
    padding: PerDimension,
    dilation: PerDimension,
    transposed: bool,
    output_padding: PerDimension,
    groups: int,
) -> Geometry:
    """A number for every spatial dimension.

    Raises:
        ValueError: if there are too many or too few numbers, or some are too small.
    """
    return (
        per_dimension("stride", stride, dims, 1),
        per_dimension("padding", padding, dims, 0),
        per_dimension("dilation", dilation, dims, 1),
        transposed,
        per_dimension("output_padding", output_padding, dims, 0),
        groups,
    )


def input_channels(weight: Tensor, geometry: Geometry) -> int:
    """How many channels a layer of this weight takes."""
    transposed, groups = geometry[3], geometry[5]
    return weight.shape[0] if transposed else weight.shape[1] * groups


def convolved_shape(name: str, x: Sequence[int], weight: Tensor, geometry: Geometry) -> list[int]:
    """The shape of the layer's output for an input of shape x.

    Raises:
        ValueError: if such an input does not fit the weight, or the kernel does not fit into it.
    """
    stride, padding, dilation, transposed, output_padding, groups = geometry
    if weight.dim() != len(x):
        raise ValueError(
            f"weight must have {len(x)} dimensions, as {name} has, got shape {tuple(weight.shape)}"
        )
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(
            f"groups must be 1 or more and divide the first dimension of weight, "
            f"{weight.shape[0]}, got {groups}"
        )
    if x[1] != input_channels(weight, geometry):
        raise ValueError(
            f"{name} must have {input_channels(weight, geometry)} channels for a weight of shape "
            f"{tuple(weight.shape)} in {groups} groups, got shape {tuple(x)}"
        )
    along = zip(x[2:], weight.shape[2:], stride, padding, dilation, output_padding, strict=True)
    if transposed:
        size = [(i - 1) * s - 2 * p + d * (k - 1) + o + 1 for i, k, s, p, d, o in along]
    else:
        size = [(i + 2 * p - d * (k - 1) - 1) // s + 1 for i, k, s, p, d, _ in along]
    if any(length < 1 for length in size):
        raise ValueError(
            f"the kernel must fit into {name} and its padding, but one of {tuple(weight.shape[2:])}"
            f" with dilation {dilation} does not fit for shape {tuple(x)}"
        )
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    return [x[0], channels, *size]


def left_over(
    input_size: Sequence[int],
    output_size: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> list[int]:
    """What the stride of a convolution leaves at the end of each dimension of its input."""
    along = zip(input_size, output_size, kernel_size, stride, padding, dilation, strict=True)
    return [i + 2 * p - d * (k - 1) - 1 - s * (o - 1) for i, o, k, s, p, d in along]
