"""How much of an explanation is done, by the multiplications that its tiles make."""

from __future__ import annotations

from collections.abc import Callable

from relprop.attribution.tiling.chain import Chain, Stage

Watch = Callable[[float], None]
"""Told what share is done, after every tile."""
BACK = 2
"""What the way back takes, in units of the way there."""


class Meter:
    """Adds up what is done of a chain, for one image, or two with a baseline."""

    def __init__(self, chain: Chain, images: int, watch: Watch | None) -> None:
        self._chain, self._images, self._watch = chain, images, watch
        self._whole = sum(stage.work for stage in chain.stages) * (2 * images + BACK)
        self._done = 0.0

    def forward(self, stage: Stage) -> None:
        """A tile of one image is through."""
        self._add(stage.work / len(stage.boxes))

    def back(self, stage: Stage) -> None:
        """A tile has been sent back, for which it went forward again."""
        self._add((self._images + BACK) * stage.work / len(stage.boxes))

    def skip(self, stage: Stage) -> None:
        """All tiles of a stage were sent back before."""
        self._done += (self._images + BACK) * stage.work

    def skip_forward(self) -> None:
        """All tiles of all stages were forward before."""
        self._done += self._images * sum(stage.work for stage in self._chain.stages)

    def _add(self, work: float) -> None:
        self._done += work
        if self._watch is not None:
            self._watch(min(1.0, self._done / self._whole))
