"""A graph made smaller without changing what it computes.

Explanations see the simplified graph: a batch norm is part of the convolution beside it, zero
padding is part of the convolution after it, and what no output depends on is gone.
"""

from __future__ import annotations

from relprop.graph.constants import Constants
from relprop.graph.convolution import Convolution
from relprop.graph.folding import ScaledInput, ScaledOutput, ShiftedInput, ShiftedOutput
from relprop.graph.linear import Affine, Beside, Dense, Fixed, Rearrange
from relprop.graph.node import Extent, Graph, Node, Value, scalars_read
from relprop.graph.nonlinear import (
    Activation,
    AdaptiveMaxPool,
    Cat,
    InnerProducts,
    MaxPool,
    Product,
    Sum,
)


def simplify(graph: Graph, constants: Constants) -> None:
    """Apply every pass, in place."""
    drop_unread(graph)
    fold_padding(graph)
    fold_norm_after(graph, constants)
    fold_norm_before(graph, constants)
    drop_unread(graph)


def describe(graph: Graph) -> None:
    """Note in the graph what the sweeps and the rules want to know of all of it."""
    graph.channels_last = any(map(_convolves_images, graph.nodes))
    graph.nonnegative = nonnegative_values(graph)


def drop_unread(graph: Graph) -> None:
    """Forget the nodes that the output does not depend on, be it by their shapes alone."""
    wanted = {graph.output}
    for node in reversed(graph.nodes):
        if node.output in wanted:
            wanted.update(node.inputs, scalars_read(node))
    graph.nodes = [node for node in graph.nodes if node.output in wanted]


def _convolves_images(node: Node) -> bool:
    return isinstance(node, Convolution) and len(node.stride) == 2


def fold_padding(graph: Graph) -> None:
    """Zero padding followed by convolutions alone becomes part of them."""
    readers = graph.consumers()
    for node in graph.nodes:
        border = _zero_border(node)
        following = readers.get(node.output, [])
        if border is None or node.output == graph.output:
            continue
        if not all(_can_pad(reader, len(border) // 2) for reader in following):
            continue
        for reader in following:
            assert isinstance(reader, Convolution)
            _pad(reader, border)
            reader.inputs = node.inputs


def _zero_border(node: Node) -> tuple[int, ...] | None:
    """The border that a padding node adds, if it is a known number of zeros on each side."""
    if not isinstance(node, Rearrange) or node.label not in ("pad", "constant_pad_nd"):
        return None
    if "constant" not in (node.args[2:3] or ("constant",)) and node.label == "pad":
        return None
    border = node.args[1]
    known = all(isinstance(n, int) and n >= 0 for n in border)
    return tuple(border) if known else None


def _can_pad(node: Node, dims: int) -> bool:
    return isinstance(node, Convolution) and not node.transposed and dims <= len(node.stride)


def _pad(node: Convolution, border: tuple[int, ...]) -> None:
    """Let the convolution pad by `border` too: by its own padding where both sides are alike."""
    border = border + (0,) * (2 * len(node.stride) - len(border))
    old = node.border or (0,) * len(border)
    border = tuple(a + b for a, b in zip(border, old, strict=True))
    if border[::2] == border[1::2]:
        own = zip(node.padding, reversed(border[::2]), strict=True)
        node.padding, node.border = [p + b for p, b in own], ()
    else:
        node.border = border


def fold_norm_after(graph: Graph, constants: Constants) -> None:
    """A batch norm right after a convolution or dense layer scales that layer's weight and bias."""
    readers, producers = graph.consumers(), graph.producers()
    folded: list[Node] = []
    for node in graph.nodes:
        layer = producers.get(node.inputs[0]) if _is_norm(node) else None
        if isinstance(layer, (Convolution, Dense)) and len(readers[layer.output]) == 1:
            assert isinstance(node, Affine)
            _scale_output(layer, node, constants)
            # The layer takes the norm's name, so that shapes asked of either are found.
            graph.replace({layer.output: node.output})
            layer.output = node.output
            producers[node.output] = layer
            folded.append(node)
    graph.nodes = [node for node in graph.nodes if node not in _Same(folded)]


def fold_norm_before(graph: Graph, constants: Constants) -> None:
    """A batch norm right before a dense or unpadded convolution layer scales what that layer reads.

    With zero padding it is not exact: the norm would turn the padding's zeros into its shift.
    """
    readers, producers = graph.consumers(), graph.producers()
    for layer in graph.nodes:
        norm = producers.get(layer.inputs[0]) if isinstance(layer, (Convolution, Dense)) else None
        if norm is None or not _is_norm(norm) or len(readers[norm.output]) != 1:
            continue
        assert isinstance(norm, Affine) and isinstance(layer, (Convolution, Dense))
        padded = isinstance(layer, Convolution) and (
            any(layer.padding) or bool(layer.border) or layer.transposed
        )
        if not padded:
            _scale_input(layer, norm, constants)
            layer.inputs = norm.inputs
            # What is scaled element by element has the relevance of what it was scaled from,
            # and its shape.
            graph.replace_in_layers({norm.output: norm.inputs[0]})
            for node in graph.nodes:
                if isinstance(node, Extent) and node.of == norm.output:
                    node.of = norm.inputs[0]


class _Same:
    """Membership by identity: nodes that look alike are still different nodes."""

    def __init__(self, nodes: list[Node]) -> None:
        self._ids = {id(node) for node in nodes}

    def __contains__(self, node: object) -> bool:
        return id(node) in self._ids


def _is_norm(node: Node) -> bool:
    return isinstance(node, Affine) and node.origin == "batch_norm"


def _scale_output(layer: Convolution | Dense, norm: Affine, constants: Constants) -> None:
    """`g (W x + b) + h = (g W) x + (g b + h)`."""
    weight, bias = layer.weight, layer.bias
    scale, shift = norm.weight, norm.bias
    assert weight is not None and scale is not None and shift is not None
    groups = layer.groups if isinstance(layer, Convolution) and layer.transposed else None
    make = ScaledOutput(1 if isinstance(layer, Dense) and layer.input_major else 0, groups)
    layer.weight = constants.add(f"{norm.output}.folded_weight", make, weight, scale)
    sources = [shift, scale] if bias is None else [shift, scale, bias]
    layer.bias = constants.add(f"{norm.output}.folded_bias", ShiftedOutput(), *sources)


def _scale_input(layer: Convolution | Dense, norm: Affine, constants: Constants) -> None:
    """`W (g x + h) + b = (W g) x + (W h + b)`."""
    weight, bias = layer.weight, layer.bias
    scale, shift = norm.weight, norm.bias
    assert weight is not None and scale is not None and shift is not None
    groups = layer.groups if isinstance(layer, Convolution) else 1
    along = (groups, isinstance(layer, Dense) and layer.input_major)
    name = f"{layer.output}.folded"
    layer.weight = constants.add(f"{name}_weight", ScaledInput(*along), weight, scale)
    sources = [shift, weight] if bias is None else [shift, weight, bias]
    layer.bias = constants.add(f"{name}_bias", ShiftedInput(*along), *sources)


def nonnegative_values(graph: Graph) -> set[Value]:
    """The activations that cannot be negative, whatever the input."""
    known: set[Value] = set()
    for node in graph.nodes:
        if _is_nonnegative(node, known):
            known.add(node.output)
    return known


def _is_nonnegative(node: Node, known: set[Value]) -> bool:
    match node:
        case Activation(name="relu" | "sigmoid" | "hardsigmoid" | "softplus" | "exp"):
            return True
        case Activation(name="square" | "abs" | "sqrt"):
            return True
        case Activation(name="hardtanh"):
            return node.parameters[0] >= 0
        case Sum():
            return node.alpha >= 0 and known.issuperset(node.inputs)
        case Product():
            return len(set(node.inputs)) == 1 or known.issuperset(node.inputs)
        case InnerProducts():
            return known.issuperset(node.inputs)
        case Beside():
            return False
        case Fixed():
            return "cubic" not in node.label and known.issuperset(node.inputs)
        case MaxPool() | AdaptiveMaxPool() | Cat():
            return known.issuperset(node.inputs)
    return False
