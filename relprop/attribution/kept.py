"""The forward sweep of a common baseline, kept from one explanation to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relprop.graph.constants import Snapshot
from relprop.graph.node import Run
from relprop.graph.sweep import Sweep


@dataclass(frozen=True)
class KeptRun:
    """What a sweep kept for a baseline, and what it depends on.

    Attributes:
        sweep: which sweep it was.
        arguments: the model's tensors in it, as copies that nobody else writes to.
        versions: how often each of the model's weights had changed.
        run: what was kept.
    """

    sweep: Sweep
    arguments: tuple[Tensor, ...]
    versions: tuple[int, ...]
    run: Run

    def serves(self, sweep: Sweep, arguments: Sequence[Tensor], constants: Snapshot) -> bool:
        """Whether a sweep of these arguments would keep the same, with the weights as they are."""
        return (
            self.sweep is sweep
            and len(self.arguments) == len(arguments)
            and all(map(_same, self.arguments, arguments))
            and self.versions == constants.versions()
        )


def _same(a: Tensor, b: Tensor) -> bool:
    alike = (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device)
    return alike and torch.equal(a, b)
