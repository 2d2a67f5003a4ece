"""What convolutions and dense layers alone take: nothing that computes them is any faster."""

from __future__ import annotations

import copy
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.cost.methods import METHODS, Calls, Passes

RUNS = 5
"""How often each call is timed, at most."""
ENOUGH = 1.0
"""Seconds of timing one call after which it is timed no more."""


@dataclass(frozen=True)
class Layer:
    """A convolution or a dense layer, by the shapes that decide what it takes.

    Attributes:
        kind: a field of `Passes`.
        x, weight: their shapes.
        settings: of a convolution: stride, padding, dilation and groups.
    """

    kind: str
    x: tuple[int, ...]
    weight: tuple[int, ...]
    settings: tuple[Any, ...] = ()


class _Recorder(TorchDispatchMode):
    """Notes the layers that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[Layer] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.convolution.default:
            x, weight, _, stride, padding, dilation, _, _, groups = args
            settings = tuple(stride), tuple(padding), tuple(dilation), groups
            kind = "convolution" if self.layers else "first"
            self.layers.append(Layer(kind, tuple(x.shape), tuple(weight.shape), settings))
        elif func is torch.ops.aten.addmm.default:
            _, x, weight = args
            self.layers.append(Layer("dense", tuple(x.shape), tuple(weight.shape[::-1])))
        elif func is torch.ops.aten.linear.default:
            self.layers.append(Layer("dense", tuple(args[0].shape), tuple(args[1].shape)))
        return func(*args, **(kwargs or {}))


def layers_of(model: nn.Module, x: Tensor) -> Counter[Layer]:
    """The layers that the model calls for x, and how often; nothing is computed."""
    with torch.no_grad(), _Recorder() as recorder:
        copy.deepcopy(model).to("meta")(x.to("meta"))
    return Counter(recorder.layers)


@dataclass(frozen=True)
class Cost:
    """Seconds that one call of a layer takes, forward and back to its input."""

    forward: float
    backward: float

    def of(self, calls: Calls) -> float:
        """Seconds for so many calls."""
        return calls.forward * self.forward + calls.backward * self.backward


def measure(layers: Counter[Layer], say: Callable[[str], None]) -> dict[Layer, Cost]:
    """Each layer once, on random numbers."""
    costs = {}
    for number, layer in enumerate(layers, 1):
        say(f"floor: layer {number} of {len(layers)}")
        forward, backward = calls_of(layer)
        with torch.no_grad():
            costs[layer] = Cost(_seconds(forward), _seconds(backward))
    return costs


def calls_of(layer: Layer) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """The layer's product, and its transposed one."""
    x, weight = torch.randn(layer.x), torch.randn(layer.weight)
    if layer.kind == "dense":
        gradient = torch.randn(layer.x[0], layer.weight[0])
        return (lambda: functional.linear(x, weight), lambda: gradient @ weight)
    stride, padding, dilation, groups = layer.settings

    def forward() -> Tensor:
        return functional.conv2d(x, weight, None, stride, padding, dilation, groups)

    gradient = torch.randn_like(forward())

    def backward() -> Tensor:
        found: Tensor = torch.ops.aten.convolution_backward(
            *(gradient, x, weight, None, stride, padding, dilation, False, [0, 0], groups),
            [True, False, False],
        )[0]
        return found

    return forward, backward


def floor_of(passes: Passes, layers: Counter[Layer], costs: dict[Layer, Cost]) -> float:
    """Seconds of all calls that a method cannot do without."""
    return sum(
        count * costs[layer].of(getattr(passes, layer.kind)) for layer, count in layers.items()
    )


def floors(layers: Counter[Layer], costs: dict[Layer, Cost]) -> dict[str, float]:
    """Seconds by the names of our methods."""
    return {method.name: floor_of(method.passes, layers, costs) for method in METHODS}


def _seconds(call: Callable[[], Tensor]) -> float:
    call()
    found: list[float] = []
    while len(found) < RUNS and sum(found) < ENOUGH:
        found.append(_timed(call))
    return statistics.median(found)


def _timed(call: Callable[[], Tensor]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
