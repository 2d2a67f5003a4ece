"""Tensors that depend on the inputs' sizes alone: `zeros_like(x)`, `p.expand(n, -1)`.

They are alike along every dimension of which the size is known only when the model runs. So a
constant of size 1 there stands for them wherever an operator broadcasts; elsewhere they are taken
as they are made when the model runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from relprop.graph import fx_nodes
from relprop.graph.aten import ACTIVATIONS
from relprop.graph.constants import Constants
from relprop.graph.node import Constant, Scalar, Value, scalars

EXPAND = torch.ops.aten.expand.default

#: What operators fill a tensor with, of which the shape is another tensor's, or is given.
FILLS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    **dict.fromkeys(("zeros_like", "new_zeros", "zeros"), lambda given: 0),
    **dict.fromkeys(("ones_like", "new_ones", "ones"), lambda given: 1),
    **dict.fromkeys(("full_like", "new_full", "full"), lambda given: given["fill_value"]),
}
#: Operators of two tensors that broadcast.
BROADCASTING = ("add", "sub", "rsub", "mul", "div", "maximum", "minimum", "max", "min")
#: Operators that give something alike along a dimension where what they read is.
ELEMENTWISE = {
    *(*BROADCASTING, *ACTIVATIONS, *fx_nodes.IDENTITIES),
    *("neg", "pow", "to", "_to_copy", "zeros_like", "ones_like", "full_like"),
}


@dataclass(frozen=True)
class Filled:
    """One number for all elements of a tensor."""

    number: float
    dtype: torch.dtype
    device: torch.device
    ndim: int

    @classmethod
    def of(cls, fx_node: fx.Node, arguments: Mapping[str, Any]) -> Filled | None:
        """What a call fills its tensor with, if it does that, with a number."""
        fill = FILLS.get(fx_nodes.operator_name(fx_node.target))
        number, made = fill(arguments) if fill else None, fx_node.meta.get("val")
        if not isinstance(number, (int, float)) or not isinstance(made, Tensor):
            return None
        return cls(number, made.dtype, made.device, made.dim())

    def __call__(self) -> Tensor:
        """One element, with as many dimensions as the tensor has."""
        return torch.full([1] * self.ndim, self.number, dtype=self.dtype, device=self.device)


class StandIns:
    """For tensors made when the model runs, by the scalars that they are, what stands for them."""

    def __init__(self, constants: Constants) -> None:
        self._constants = constants
        self._found: dict[Value, Value] = {}

    def put_into(self, argument: Any) -> Any:
        """A call's argument with stand-ins in place of the scalars that have one."""
        match argument:
            case Scalar(value):
                return Constant(self._found[value]) if value in self._found else argument
            case list() | tuple():
                return type(argument)(map(self.put_into, argument))
            case dict():
                return {name: self.put_into(item) for name, item in argument.items()}
        return argument

    def enter(self, fx_node: fx.Node, target: Any, args: Sequence[Any], kwargs: Any) -> None:
        """Note what stands for the result of a call, if its arguments have stand-ins."""
        name = fx_nodes.operator_name(fx_node.target)
        given, named = self.put_into(args), self.put_into(kwargs)
        if target is EXPAND or (name == "repeat" and _repeats_single_entries(fx_node)):
            if isinstance(given[0], Constant):
                self._found[fx_node.name] = given[0].value
            return
        if name == "linear" and isinstance(given[0], Constant):
            given = (self._row(fx_node, given[0]), *given[1:])
        elif name not in ELEMENTWISE:
            return
        if not any(scalars([given, *named.values()])):
            made = self._constants.add_call(f"{fx_node.name}.alike", target, given, named)
            self._found[fx_node.name] = made

    def _row(self, fx_node: fx.Node, features: Constant) -> Constant:
        """What a dense layer reads, with as many features as it has weights for."""
        (source, *_) = fx_node.all_input_nodes
        sizes = [size if isinstance(size, int) else 1 for size in fx_nodes.shape(source)]
        name = f"{fx_node.name}.row"
        return Constant(self._constants.add_call(name, EXPAND, (features, sizes), {}))


def covers(one: fx.Node, other: fx.Node) -> bool:
    """Whether a tensor has another's shape and type, whatever the sizes are."""
    same = list(map(str, fx_nodes.shape(one))) == list(map(str, fx_nodes.shape(other)))
    return same and fx_nodes.dtype(one) == fx_nodes.dtype(other)


def _repeats_single_entries(fx_node: fx.Node) -> bool:
    """Whether a repetition does what broadcasting does."""
    source, counts = fx_node.args
    assert isinstance(source, fx.Node) and isinstance(counts, (list, tuple))
    sizes = fx_nodes.shape(source)
    sizes = (1,) * (len(counts) - len(sizes)) + sizes
    return all(
        any(isinstance(n, int) and n == 1 for n in pair) for pair in zip(sizes, counts, strict=True)
    )
