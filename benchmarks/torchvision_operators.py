"""Let torchvision from PyPI, which is built for CUDA, import beside a CPU torch."""

from __future__ import annotations

import torch


def define_torchvision_operators() -> None:
    """Stand-ins for its own operators: its classification models call none of them."""
    if torch.version.cuda is not None:  # its own operators load there
        return
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            torch.library.define(
                f"torchvision::{operator}", "(Tensor a, Tensor b, float c) -> Tensor"
            )
