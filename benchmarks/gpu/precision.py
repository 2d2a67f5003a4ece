"""In what numbers a GPU multiplies: torch's own switches, as data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Precision:
    """A dtype, and whether products of float32 may round their factors to TF32."""

    dtype: torch.dtype
    tf32: bool = False

    @contextmanager
    def switched(self) -> Iterator[None]:
        """torch set to it, and afterwards as it was."""
        # Where convolutions and recurrent layers differ, torch.export refuses to run.
        switches: tuple[Any, ...] = (
            torch.backends.cuda.matmul,
            torch.backends.cudnn.conv,
            torch.backends.cudnn.rnn,
        )
        before = [switch.fp32_precision for switch in switches]
        try:
            for switch in switches:
                switch.fp32_precision = "tf32" if self.tf32 else "ieee"
            yield
        finally:
            for switch, precision in zip(switches, before, strict=True):
                switch.fp32_precision = precision


PRECISIONS = {
    "float32": Precision(torch.float32),
    "TF32": Precision(torch.float32, tf32=True),
    "bfloat16": Precision(torch.bfloat16),
}
