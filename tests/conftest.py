"""What all tests share."""

from __future__ import annotations

import pytest
import torch
from hypothesis import settings


def define_torchvision_operators() -> None:
    """Let torchvision from PyPI, which is built for CUDA, import beside a CPU torch.

    Only its classification models are used; they call none of its own operators.
    """
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            torch.library.define(
                f"torchvision::{operator}", "(Tensor a, Tensor b, float c) -> Tensor"
            )


define_torchvision_operators()
settings.register_profile("relprop", deadline=None)  # machines are slow when they are busy
settings.load_profile("relprop")


@pytest.fixture(autouse=True)
def seed() -> None:
    """The same random numbers for every test, in whatever order."""
    torch.manual_seed(0)
