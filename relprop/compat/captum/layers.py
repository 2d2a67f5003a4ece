"""Where a layer, given as a module, is in the model's graph."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from relprop.errors import InvalidInputError
from relprop.graph.node import Graph, Value


@dataclass(frozen=True)
class Place:
    """The output of a module of the model, or its input."""

    layer: nn.Module
    is_input: bool = False

    def values(self, graph: Graph, model: nn.Module) -> tuple[Value, ...]:
        """The activations there: more than one where the module takes or gives more."""
        modules = model.named_modules(remove_duplicate=False)
        paths = [path for path, module in modules if module is self.layer]
        calls = [call for path in paths for call in graph.layers.get(path, [])]
        if len(calls) != 1:
            raise InvalidInputError(
                f"a layer must be a module that the model calls once; got {self.layer}, which is "
                f"called {len(calls)} times"
            )
        values = calls[0].inputs if self.is_input else calls[0].outputs
        known = {*graph.inputs, *(node.output for node in graph.nodes)}
        if not values or not known.issuperset(values):
            raise InvalidInputError(
                f"a layer must {'read' if self.is_input else 'give'} tensors that depend on the "
                f"model's inputs; got {self.layer}, which does not"
            )
        return values
