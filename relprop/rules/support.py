"""What the rules of all methods share: choosing from tables, and what no rule covers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from relprop import ops
from relprop.errors import InvalidInputError, UnsupportedOperatorError
from relprop.graph.linear import WEIGHTED
from relprop.graph.node import Graph, Node, Run
from relprop.graph.nonlinear import AdaptiveMaxPool, Bilinear, MaxPool, Opaque

Rule = Any  # a `Crossing` of the sweep


def choose(table: Mapping[str, Any], name: str, what: str) -> Any:
    """`table[name]`, or a sentence that lists the names there are."""
    try:
        return table[name]
    except (KeyError, TypeError):
        names = ", ".join(f"'{known}'" for known in table)
        raise InvalidInputError(f"{what} must be one of {names}; got {name!r}") from None


def require_supported(
    graph: Graph, unsupported: str, refused: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Raise for the operators that no rule covers, unless the user chose their gradient.

    `refused` are operators that this method cannot explain at the model's end, although their steps
    have rules; and what to do about each.
    """
    for node in _at_the_end(graph):
        if node.part_of in refused:
            raise UnsupportedOperatorError(
                f"operator '{node.part_of}' in {node.where} is not supported by this method: "
                f"{refused[node.part_of]}"
            )
    if unsupported == "gradient":
        return
    for node in graph.nodes:
        if isinstance(node, Opaque):
            raise UnsupportedOperatorError(
                f"operator '{node.label}' in {node.where} is not supported: {node.reason}; replace "
                "it, or pass unsupported='gradient' to cross it by its gradient (relevance is then "
                "not conserved)"
            )


def _at_the_end(graph: Graph) -> Iterator[Node]:
    """The nodes after which there is neither a layer with weights nor a product."""
    reached = {graph.output}
    for node in reversed(graph.nodes):
        if node.output in reached:
            yield node
            if not isinstance(node, (*WEIGHTED, Bilinear)):
                reached.update(node.inputs)


def transposed_jacobian(
    node: Node, run: Run, inputs: Sequence[Tensor], m: Tensor
) -> tuple[Tensor, ...]:
    """`J^T m` of a call, for each of its inputs: 0 where the output is no smooth function of it."""
    recorded = torch.is_grad_enabled()
    with torch.enable_grad():
        # A view is differentiated by itself, even if one input is a function of another.
        leaves = [x.view_as(x) if x.requires_grad else x.detach() for x in inputs]
        smooth = [leaf.requires_grad_() for leaf in leaves if leaf.is_floating_point()]
        y = node.compute(run, *leaves)
        found: Sequence[Tensor | None] = ()
        if y.requires_grad:
            found = torch.autograd.grad(y, smooth, m, allow_unused=True, create_graph=recorded)
    gradients = dict(zip(map(id, smooth), found, strict=False))
    made = (gradients.get(id(leaf)) for leaf in leaves)
    zeros = (torch.zeros_like(x, dtype=m.dtype) for x in inputs)
    return tuple(z if g is None else g for g, z in zip(made, zeros, strict=True))


def winner(
    node: MaxPool | AdaptiveMaxPool, multiplier: Tensor, x: Tensor, x0: Tensor | None = None
) -> Tensor:
    """The multipliers of a max pool's input where the winner takes all."""
    if isinstance(node, AdaptiveMaxPool):
        return ops.adaptive_max_pool_winner(multiplier, x, x0)
    return ops.max_pool_winner(multiplier, x, x0, **windows(node))


def windows(node: MaxPool) -> dict[str, Any]:
    """A pool's geometry, as the operators of `relprop.ops` take it."""
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    return {name: getattr(node, name) for name in names}
