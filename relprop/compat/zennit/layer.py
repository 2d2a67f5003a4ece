"""A sum as a module, so that a composite can have a rule for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Sum(nn.Module):
    """The sum along a dimension.

    Args:
        dim: the dimension, which the result no longer has.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """The sum."""
        return torch.sum(input, dim=self.dim)
