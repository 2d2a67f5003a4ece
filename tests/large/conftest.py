"""A scene, a small network for it, and no waiting for the disk."""

from __future__ import annotations

import os

import numpy as np
import pytest
from numpy.typing import NDArray

from relprop.attribution.tiling import chain

Image = NDArray[np.float64]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written need not outlive the machine."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(autouse=True)
def many_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where writing costs nothing, even small networks are cut several times."""
    monkeypatch.setattr(chain, "STORED", 0)


@pytest.fixture
def scene() -> Image:
    """Shape (3, 75, 62), as a model takes it."""
    return np.random.default_rng(0).normal(size=(3, 75, 62))
