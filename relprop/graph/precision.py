"""torch's switches of how float32 is multiplied on a GPU, while a model is exported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import torch

#: What the older switches, `allow_tf32`, can tell of the newer ones, `fp32_precision`.
TOLD = ("tf32", "none")


@contextmanager
def readable_precision() -> Iterator[None]:
    """The switches as `torch.export` can read them; afterwards they are as they were.

    Nothing is multiplied in an export. But it asks by the older switches, which raise an error
    where the newer ones are set to what the older do not know of.
    """
    switches = _switches()
    before = [switch.fp32_precision for switch in switches]
    settings = iter(product(TOLD, TOLD))
    try:
        while not _are_readable():
            matmul, cudnn = next(settings)
            _set(switches, [matmul, cudnn, cudnn])
        yield
    finally:
        _set(switches, before)


def _switches() -> list[Any]:
    """Of matrix products, of convolutions, and of recurrent layers."""
    cudnn: Any = torch.backends.cudnn
    return [torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn]


def _are_readable() -> bool:
    try:
        _ = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    except RuntimeError:
        return False
    return True


def _set(switches: list[Any], precisions: list[str]) -> None:
    for switch, precision in zip(switches, precisions, strict=True):
        if switch.fp32_precision != precision:
            switch.fp32_precision = precision
