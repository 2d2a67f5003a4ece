"""Which of a model's outputs are explained, for each example."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from relprop.errors import InvalidInputError
from relprop.rules.support import choose

#: What outputs are sorted by, the largest first.
ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": torch.Tensor.clone,
    "min": torch.neg,
    "max_abs": torch.abs,
}


def ranked(outputs: Tensor, count: int | None, order: str) -> Tensor:
    """For outputs of shape (N, T) the indices of those explained: all in turn, or the first few.

    Returns:
        Shape (N, T), or (N, min(count, T)).

    Raises:
        InvalidInputError: there is no such order, or `count` is less than 1.
    """
    if count is None:
        return torch.arange(outputs.shape[1], device=outputs.device).expand(outputs.shape)
    key = choose(ORDERS, order, "output_rank_order")
    if count < 1:
        raise InvalidInputError(f"ranked_outputs must be None, or 1 or more; got {count}")
    indices: Tensor = torch.sort(key(outputs), dim=1, descending=True).indices
    return indices[:, :count]
