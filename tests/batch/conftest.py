"""A small model, a small data set in memory, and a way to explain it into a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from relprop import LRP

if TYPE_CHECKING:
    from relprop.batch import Engine, Row
    from tests.batch.in_memory import InMemory

Explain = Callable[..., "list[Row]"]


@pytest.fixture
def model() -> nn.Module:
    """Of inputs (N, 2, H, W) of any size, in float64, with three classes."""
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    return network.double().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(7, 2, 6, 6, dtype=torch.float64)


@pytest.fixture
def explain(model: nn.Module, tmp_path: Path) -> Explain:
    """Explains a data set into `out.zarr`, by LRP in batches of three unless told otherwise."""
    from relprop.batch import LocalEngine, explain_all, open_output  # takes zarr

    def run(
        source: InMemory,
        engine: Engine | None = None,
        made: dict[str, Any] | None = None,
        resume: bool = False,
        name: str = "out.zarr",
        batching: dict[str, Any] | None = None,
    ) -> list[Row]:
        engine = engine or LocalEngine(LRP(model), batch_size=3)
        path = tmp_path / name
        with open_output(path, source, made or {}, batching or {"batch_size": 3}, resume) as output:
            return explain_all(source, engine, output)

    return run
