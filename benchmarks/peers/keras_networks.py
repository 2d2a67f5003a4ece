"""Networks as Keras stores them, rebuilt in torch, and iNNvestigate's maps for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers.networks import Chain

INNVESTIGATE = np.load(Path(__file__).parents[2] / "tests" / "data" / "innvestigate.npz")
TARGET = 1
"""The output that the maps explain."""


def cases(archive: Any) -> list[dict[str, Any]]:
    """What an archive holds; tests/data/README.md says what is in it."""
    index: list[dict[str, Any]] = json.loads(str(archive["index"]))
    return index


def channels_first(x: np.ndarray) -> Tensor:
    """(N, *spatial, C) to (N, C, *spatial)."""
    moved = np.moveaxis(x, -1, 1).copy() if x.ndim > 2 else x
    return torch.from_numpy(moved).double()


def weighted(kernel: np.ndarray, bias: np.ndarray | None, **settings: Any) -> nn.Module:
    """A layer with a Keras kernel (*window, in, out) as its weight."""
    *window, inputs, outputs = kernel.shape
    make = (nn.Linear, nn.Conv1d, nn.Conv2d)[len(window)]
    sizes = (inputs, outputs, window) if window else (inputs, outputs)
    layer = make(*sizes, bias=bias is not None, **settings)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.moveaxis(kernel, (-1, -2), (0, 1)).copy()))
        if bias is not None:
            layer.bias.copy_(torch.from_numpy(bias))
    return layer.double()


def channels_last_flatten(x: Tensor) -> Tensor:
    """Flatten as Keras does: channels vary fastest."""
    return x.movedim(1, -1).flatten(1)


def innvestigate_network(case: dict[str, Any]) -> Chain:
    """One of the networks that iNNvestigate has explained, in float64."""
    key, step = case["key"], 2 if case["bias"] else 1

    def layer(i: int, **settings: Any) -> nn.Module:
        bias = INNVESTIGATE[f"{key}/w{step * i + 1}"] if case["bias"] else None
        return weighted(INNVESTIGATE[f"{key}/w{step * i}"], bias, **settings)

    if case["kind"] == "mlp":
        return Chain(layer(0), nn.ReLU(), layer(1), nn.ReLU(), layer(2))
    if case["kind"] == "cnn":
        return Chain(
            *(layer(0), nn.ReLU(), layer(1, padding="same"), nn.ReLU(), nn.MaxPool2d(2)),
            *(channels_last_flatten, layer(2), nn.ReLU(), layer(3)),
        )
    return Chain(
        *(layer(0, stride=2), nn.ReLU(), nn.AvgPool2d(2), layer(1), nn.ReLU()),
        *(channels_last_flatten, layer(2)),
    )


def innvestigate_maps(case: dict[str, Any]) -> dict[str, Tensor]:
    """Its relevance for a case, by the name of the analyzer."""
    names = [name for name, _ in case["analyzers"]]
    return {name: channels_first(INNVESTIGATE[f"{case['key']}/{name}"]) for name in names}
