"""Methods that attribute to inner layers as well."""

from __future__ import annotations

from typing import Any

from torch import Size

from relprop.attribution.arguments import Inputs
from relprop.attribution.modes import explaining
from relprop.attribution.tiled import Tiled
from relprop.graph.layers import all_layers


class Layered(Tiled):
    """Base of the methods whose `attribute` takes `layers`."""

    def layer_shapes(self, inputs: Inputs, additional_forward_args: Any = None) -> dict[str, Size]:
        """The layers that `attribute` can be asked for, by name, and the shapes of their outputs.

        Takes inputs and arguments as `attribute` does, and raises what it raises. The order is that
        in which the model computes them. Of large images, only a corner is computed.
        """
        _, arguments = self._arguments(inputs, additional_forward_args)
        with explaining():
            plan = self._plan(arguments, sparing=True)
            shapes = plan.sizes(arguments).shapes
        return {name: shapes[value] for name, value in all_layers(plan.graph).items()}
