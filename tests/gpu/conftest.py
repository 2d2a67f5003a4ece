"""What the tests share that take a GPU; like them, it needs torch and pytest and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

POISONED = 2**28
"""Bytes of a GPU's memory that hold no numbers when a test begins, for results to lie there."""


@pytest.fixture(params=range(torch.cuda.device_count() or 1))
def gpu(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """Each GPU in turn, of which the first is the current one."""
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    device = torch.device("cuda", request.param)
    poison = torch.full((POISONED // 4,), float("nan"), device=device)
    pieces = [torch.full((2**k,), float("nan"), device=device) for k in range(4, 18)]
    del poison, pieces
    yield device
    torch.cuda.synchronize(device)
