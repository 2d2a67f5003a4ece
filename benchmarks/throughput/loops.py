"""Loops as one writes them by hand around captum and zennit: a DataLoader, and a file a picture."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

Explain = Callable[[Tensor], Tensor]


class Pictures(Dataset[Tensor]):
    """Picture files as a network's inputs."""

    def __init__(self, paths: Sequence[Path], decode: Callable[[Path], Tensor]) -> None:
        self._paths = paths
        self._decode = decode

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor:
        return self._decode(self._paths[index])


def by_zennit(model: nn.Module, composite: Any) -> Explain:
    """The likeliest class by a zennit composite, whose hooks stay: a forward pass and one back."""
    composite.register(model)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eps = 0.0  # merged, it would otherwise go on dividing by sqrt(1 + eps)

    def explain(x: Tensor) -> Tensor:
        x = x.requires_grad_()
        y = model(x)
        scores, classes = y.detach().max(1, keepdim=True)
        (found,) = torch.autograd.grad(y, x, torch.zeros_like(y).scatter_(1, classes, scores))
        return found

    return explain


def by_captum(model: nn.Module) -> Explain:
    """The likeliest class by captum's DeepLift against black; it asks the model for it first."""
    from captum.attr import DeepLift

    attributor = DeepLift(model)

    def explain(x: Tensor) -> Tensor:
        with torch.no_grad():
            target = model(x).argmax(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of its own hooks, every time
            found: Tensor = attributor.attribute(x, torch.zeros_like(x[:1]), target=target)
        return found.detach()

    return explain


def run(
    explain: Explain,
    paths: Sequence[Path],
    decode: Callable[[Path], Tensor],
    batch: int,
    workers: int,
    folder: Path,
) -> dict[str, float]:
    """Explain picture files into a folder; the seconds in all, and of each part of the loop."""
    folder.mkdir()
    spent = dict.fromkeys(("all", "attribution", "reading", "writing"), 0.0)
    start = time.perf_counter()
    batches = iter(DataLoader(Pictures(paths, decode), batch_size=batch, num_workers=workers))
    number = 0
    now = start
    for x in batches:
        read = time.perf_counter()
        found = explain(x).numpy()
        explained = time.perf_counter()
        for one in found:
            np.save(folder / f"{number}.npy", one)
            number += 1
        written = time.perf_counter()
        spent["reading"] += read - now
        spent["attribution"] += explained - read
        spent["writing"] += written - explained
        now = written
    spent["all"] = time.perf_counter() - start
    return spent
