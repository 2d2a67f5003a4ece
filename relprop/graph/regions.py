"""What a box of a node's output reads of the node's inputs, and the node that computes it alone.

Space is the last dimensions of every activation, as many as the images have. A node that can run
on a part of space has a `Geometry`; one that cannot raises `Untileable`, which says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from relprop.graph.constants import Snapshot
from relprop.graph.convolution import Convolution
from relprop.graph.geometry import Geometry, Place, Pointwise, Untileable
from relprop.graph.intervals import (
    Box,
    Enlarged,
    PaddedWindows,
    Scattered,
    Shifted,
    Strided,
    Windows,
    lengths,
)
from relprop.graph.linear import RESHAPES, Affine, Fixed, Rearrange
from relprop.graph.node import Call, Node, Operand, Scalar
from relprop.graph.nonlinear import Activation, Cat, MaxPool, Product, Sum
from relprop.graph.resampling import Part, Resampled, resampled
from relprop.graph.sizes import Sizes

aten = torch.ops.aten


def geometry_of(node: Node, sizes: Sizes, constants: Snapshot, dims: int) -> Geometry:
    """How a node runs on a part of space. Raises `Untileable` if it cannot."""
    kind = GEOMETRIES.get(type(node))
    place = Place(node, sizes, constants, dims)
    if dims < 1:
        raise Untileable("its model reads no images")
    if kind is None:
        raise Untileable("it has no place in a tile")
    if min(map(len, (place.given, place.made))) < dims:
        raise Untileable("it leaves nothing of space")
    if isinstance(node, Call) and type(node) is not Rearrange and _mentions_sizes(node):
        raise Untileable("it reads a size")
    return kind(place)


def _mentions_sizes(node: Call) -> bool:
    def mentions(argument: Any) -> bool:
        if isinstance(argument, (list, tuple)):
            return any(map(mentions, argument))
        return isinstance(argument, Scalar)

    # Interpolation takes a size, and is given another one.
    return "upsample" not in node.label and any(map(mentions, [node.args, [*node.kwargs.values()]]))


def _along(axes: Sequence[Any], what: str) -> Callable[[Box], Any]:
    """The method `what` of each axis, applied to each interval of a box."""

    def apply(out: Box) -> Any:
        return tuple(getattr(a, what)(i) for a, i in zip(axes, out, strict=True))

    return apply


def _convolution(place: Place) -> Geometry:
    node: Convolution = place.node
    assert node.weight is not None
    kernel = place.constants[node.weight].shape[2:]
    if len(kernel) != place.dims:
        raise Untileable(f"it convolves over {len(kernel)} dimensions of {place.dims}")
    if node.transposed:
        return _transposed(place, kernel)
    before, after = node.border[-2::-2] or (0,) * place.dims, node.border[-1::-2]
    padding = [p + b for p, b in zip(node.padding, before, strict=True)]
    beyond = [p + b for p, b in zip(node.padding, after or before, strict=True)]
    columns = (kernel, node.stride, node.dilation, padding, place.space)
    axes = [Windows(*column) for column in zip(*columns, strict=True)]
    if any(max(p, q) > axis.span for axis, p, q in zip(axes, padding, beyond, strict=True)):
        raise Untileable("it is padded by more than its kernel covers")

    def changes(node: Node, out: Box) -> dict[str, Any]:
        borders = [axis.border(interval) for axis, interval in zip(axes, out, strict=True)]
        if all(b == a for b, a in borders):
            return {"padding": [b for b, _ in borders], "border": ()}
        flat = tuple(size for pair in reversed(borders) for size in pair)
        return {"padding": [0] * len(borders), "border": flat}

    return Geometry(_along(axes, "reads"), changes=changes)


def _transposed(place: Place, kernel: Sequence[int]) -> Geometry:
    node: Convolution = place.node
    if node.border:
        raise Untileable("it is a transposed convolution with a border")
    columns = (kernel, node.stride, node.dilation, node.padding, place.space)
    axes = [Scattered(*column) for column in zip(*columns, strict=True)]

    def changes(node: Node, out: Box) -> dict[str, Any]:
        beyond = [axis.beyond(interval) for axis, interval in zip(axes, out, strict=True)]
        return {"padding": [0] * len(axes), "output_padding": beyond}

    return Geometry(_along(axes, "reads"), _along(axes, "gives"), changes)


def _pool(
    place: Place,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil: bool,
) -> Geometry:
    columns = (kernel, stride, dilation, padding, place.space, [ceil] * place.dims)
    if any(len(column) != place.dims for column in columns):
        raise Untileable(f"it pools over {len(kernel)} dimensions of {place.dims}")
    axes = [PaddedWindows(*column) for column in zip(*columns, strict=True)]
    return Geometry(_along(axes, "reads"), _along(axes, "gives"))


def _max_pool(place: Place) -> Geometry:
    node: MaxPool = place.node
    return _pool(place, node.kernel_size, node.stride, node.padding, node.dilation, node.ceil_mode)


def _fixed(place: Place) -> Geometry:
    label = place.node.label
    if label.startswith("upsample"):
        return _enlarged(place)
    if label.startswith("avg_pool"):
        kernel = place.spread("kernel_size")
        stride = place.spread("stride") if place.argument("stride") else kernel
        ceil = place.argument("ceil_mode")
        return _pool(place, kernel, stride, place.spread("padding"), [1] * place.dims, ceil)
    if label in ("mean", "sum"):
        over = place.argument("dim")
        if isinstance(over, list) and over and all(map(place.outside, over)):
            return Pointwise()
    raise Untileable("it reads all of space")


#: How torch interpolates along each dimension, and how far it looks beside each input.
INTERPOLATION = {
    "nearest": ("nearest", 0),
    **dict.fromkeys(("linear", "bilinear", "trilinear"), ("linear", 1)),
    "bicubic": ("cubic", 2),
}
#: Factors by which torch finds the neighbours that there are, and not one beside them.
FACTORS = range(1, 9)


def _enlarged(place: Place) -> Geometry:
    name = place.node.label.removeprefix("upsample_").rstrip("0123456789d")
    kind, halo = INTERPOLATION[name]
    corners = bool(place.argument("align_corners"))
    columns = zip(place.space, place.made[-place.dims :], _factors(place), strict=True)
    resampled = [Resampled(kind, n, m, corners, factor) for n, m, factor in columns]
    factors = [axis.whole_factor for axis in resampled]
    if any(factor not in FACTORS for factor in factors):
        return _resampled(resampled)
    axes = [Enlarged(f, halo, n) for f, n in zip(factors, place.space, strict=True) if f]
    target = getattr(aten, place.node.label).default
    gives = _along(axes, "gives")

    def changes(node: Node, out: Box) -> dict[str, Any]:
        edges = [] if name == "nearest" else [False]
        args = (Operand(0), list(lengths(gives(out))), *edges)
        return {"target": target, "args": args, "kwargs": {}}

    return Geometry(_along(axes, "reads"), gives, changes)


def _factors(place: Place) -> list[float | None]:
    """The factors that interpolation was asked for, where it was not asked for a size."""
    asked = place.argument("scale_factors")
    if asked is None and place.dims == 1:
        asked = [place.argument("scales")]
    elif asked is None:
        asked = [place.argument(f"scales_{d}") for d in "dhw"[-place.dims :]]
    return list(asked)


def _resampled(axes: Sequence[Resampled]) -> Geometry:
    reads = _along(axes, "reads")

    def changes(node: Node, out: Box) -> dict[str, Any]:
        starts = [start for start, _ in reads(out)]
        parts = [Part(*one) for one in zip(axes, out, starts, strict=True)]
        return {"target": resampled, "args": (Operand(0), parts), "kwargs": {}}

    return Geometry(reads, changes=changes)


def _rearranged(place: Place) -> Geometry:
    label, dims = place.node.label, place.dims
    if label in RESHAPES:
        return _reshaped(place)
    if label in ("pad", "constant_pad_nd"):
        return _padded(place)
    if label.startswith("upsample"):
        return _enlarged(place)
    if label in ("pixel_shuffle", "pixel_unshuffle"):
        return _shuffled(place)
    if label == "slice" and not place.outside(place.argument("dim")):
        return _sliced(place)
    if _mentions_sizes(place.node):
        raise Untileable("it reads a size")
    if label in SAME or (label in ALONG and place.outside(place.argument("dim"))):
        return Pointwise()
    if label == "transpose" and all(place.outside(place.argument(n)) for n in ("dim0", "dim1")):
        return Pointwise()
    if label == "permute":
        order = [d % len(place.given) for d in place.argument("dims")]
        if order[-dims:] == list(range(len(order)))[-dims:]:
            return Pointwise()
    raise Untileable("it moves elements about in space")


#: Rearrangements that leave everything at its point.
SAME = {"to", "_to_copy", "clone", "contiguous", "alias", "channel_shuffle"}
SAME |= {"native_channel_shuffle"}
#: Those that do if the dimension that they are along is none of space.
ALONG = {"slice", "narrow", "select", "index_select", "split", "split_with_sizes", "chunk"}
ALONG |= {"unbind"}


def _reshaped(place: Place) -> Geometry:
    if place.made[-place.dims :] != place.space or len(place.made) == place.dims:
        raise Untileable("it makes something else of space")
    inner = list(place.made[1 : -place.dims])

    def changes(node: Node, out: Box) -> dict[str, Any]:
        sizes = [-1, *inner, *lengths(out)]
        return {"target": aten.reshape.default, "args": (Operand(0), sizes), "kwargs": {}}

    return Pointwise(changes=changes)


def _padded(place: Place) -> Geometry:
    border = place.argument("pad")
    if place.node.label == "pad" and place.argument("mode") != "constant":
        raise Untileable("it pads with what lies inside")
    if any(border[2 * place.dims :]):
        raise Untileable("it pads other dimensions than those of space")
    border = (border + [0] * 2 * place.dims)[: 2 * place.dims]
    axes = [Shifted(b, n) for b, n in zip(border[-2::-2], place.space, strict=True)]

    def changes(node: Node, out: Box) -> dict[str, Any]:
        borders = [axis.border(interval) for axis, interval in zip(axes, out, strict=True)]
        flat = [size for pair in reversed(borders) for size in pair]
        return {"target": aten.constant_pad_nd.default, "args": (Operand(0), flat), "kwargs": {}}

    return Geometry(_along(axes, "reads"), _along(axes, "gives"), changes)


def _sliced(place: Place) -> Geometry:
    dim, step = place.argument("dim") % len(place.given), place.argument("step")
    axis = dim - (len(place.given) - place.dims)
    start = range(place.given[dim])[place.argument("start") :].start
    axes = [Strided(start if i == axis else 0, step if i == axis else 1) for i in range(place.dims)]

    def changes(node: Node, out: Box) -> dict[str, Any]:
        args = (Operand(0), dim, 0, place.given[dim], step)
        return {"target": aten.slice.Tensor, "args": args, "kwargs": {}}

    return Geometry(_along(axes, "reads"), changes=changes)


def _shuffled(place: Place) -> Geometry:
    if place.node.label == "pixel_shuffle":
        factor = place.argument("upscale_factor")
        axes = [Enlarged(factor, 0, n) for n in place.space]
        return Geometry(_along(axes, "reads"), _along(axes, "gives"))
    factor = place.argument("downscale_factor")
    return Geometry(lambda out: tuple((a * factor, b * factor) for a, b in out))


def _affine(place: Place) -> Geometry:
    node: Affine = place.node
    for value in (node.weight, node.bias):
        if value is None:
            continue
        shape = place.constants[value].shape
        along_channels = value == node.bias and node.channel_dim is not None
        if not along_channels and any(n != 1 for n in shape[-place.dims :]):
            raise Untileable("its constant has a value for every point of space")
    return _alike(place)


def _alike(place: Place) -> Geometry:
    shapes = [place.sizes.shapes[value] for value in place.node.inputs]
    if any(shape[-place.dims :] != place.made[-place.dims :] for shape in shapes):
        raise Untileable("it spreads one of its inputs over space")
    return Pointwise()


#: Functions with an end to where they are defined, which may not be run on what has no meaning.
BOUNDED = ("log", "sqrt", "pow")


def _activation(place: Place) -> Geometry:
    node: Activation = place.node
    if node.name in BOUNDED:
        raise Untileable("its function is not defined everywhere")
    return _alike(place)


def _cat(place: Place) -> Geometry:
    if not place.outside(place.node.dim):
        raise Untileable("it joins parts of space")
    return Pointwise()


GEOMETRIES: dict[type[Node], Callable[[Place], Geometry]] = {
    Convolution: _convolution,
    MaxPool: _max_pool,
    Fixed: _fixed,
    Rearrange: _rearranged,
    Affine: _affine,
    Activation: _activation,
    Sum: _alike,
    Product: _alike,
    Cat: _cat,
}


def at(node: Node, geometry: Geometry, out: Box, inputs: Sequence[str]) -> Node:
    """The node that computes a box of the output from what it reads, of the given names."""
    changed: Node = replace(node, inputs=tuple(inputs), **geometry.changes(node, out))
    return changed
