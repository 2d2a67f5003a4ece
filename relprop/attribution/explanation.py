"""What an explanation consists of, and the forms in which `attribute` returns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Size, Tensor

from relprop.attribution.arguments import Inputs
from relprop.graph.node import Value

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Explanation:
    """For one target an example: attributions of all inputs, the error of their sum, and layers.

    `delta` has shape (N,); `layers` has attributions of inner layers by their names.
    """

    inputs: Tensors
    delta: Tensor
    layers: dict[str, Tensor] = field(default_factory=dict)

    def __add__(self, other: Explanation) -> Explanation:
        """The sum, as it is wanted for an average."""
        return Explanation(
            tuple(a + b for a, b in zip(self.inputs, other.inputs, strict=True)),
            self.delta + other.delta,
            {name: a + other.layers[name] for name, a in self.layers.items()},
        )

    def over(self, count: int) -> Explanation:
        """Everything divided by `count`."""
        return Explanation(
            tuple(a / count for a in self.inputs),
            self.delta / count,
            {name: a / count for name, a in self.layers.items()},
        )


class Sent(NamedTuple):
    """An explanation at whose numbers nobody has looked yet, and the score that it explains.

    To look at them, the CPU has to wait for the GPU.
    """

    explanation: Explanation
    score: Tensor

    def copied(self) -> Sent:
        """The same in memory of its own."""
        found = self.explanation
        layers = {name: t.clone() for name, t in found.layers.items()}
        copies = Explanation(tuple(t.clone() for t in found.inputs), found.delta.clone(), layers)
        return Sent(copies, self.score.clone())


class Watched(dict[Value, Tensor]):
    """Attributions of activations that layers stand for: zero until some are entered.

    Args:
        layers: the activation of each layer, by the layer's name.
        shapes: the activations' shapes.
        seed: a tensor of the attributions' dtype and device.
    """

    def __init__(
        self, layers: Mapping[str, Value], shapes: Mapping[Value, Size], seed: Tensor
    ) -> None:
        super().__init__((v, seed.new_zeros(()).expand(shapes[v])) for v in layers.values())
        self.layers = layers

    def by_name(self) -> dict[str, Tensor]:
        """The attributions by the layers' names."""
        return {name: self[value] for name, value in self.layers.items()}


def results(
    inputs: Inputs,
    found: Sequence[Explanation],
    many: bool,
    with_delta: bool,
    with_layers: bool = False,
) -> Any:
    """What `attribute` returns: attributions of the inputs, then a delta and layers if asked for.

    Many targets lie along dimension 1.
    """

    def joined(each: list[Tensor]) -> Tensor:
        return torch.stack(each, 1) if many else each[0].contiguous()

    tensors = tuple(map(joined, map(list, zip(*(one.inputs for one in found), strict=True))))
    result: list[Any] = [tensors if isinstance(inputs, tuple) else tensors[0]]
    if with_delta:
        result.append(joined([one.delta for one in found]))
    if with_layers:
        result.append({n: joined([one.layers[n] for one in found]) for n in found[0].layers})
    return result[0] if len(result) == 1 else tuple(result)
