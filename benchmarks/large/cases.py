"""What is explained, as data: networks, images, and in which ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.large.photograph import Photograph
from benchmarks.large.scene import Scene

WHOLE, MEMORY, FILES = "as a whole", "by tiles in memory", "by tiles in files"
"""`attribute`; `attribute` with a memory_budget; `explain_large`."""

SCALED, HEAVY = "EfficientNet-Lite0", "VGG16"
"""The network that explains all sizes, and one with many times the work a pixel."""

PIECE = 2048
"""Side of the piece out of the photograph's middle that the heavy network explains as a whole."""


@dataclass(frozen=True)
class Case:
    """A network, an image, and the ways in which it is explained."""

    network: str
    image: Scene | Photograph
    ways: tuple[str, ...]

    @property
    def megapixels(self) -> float:
        """Of the image."""
        _, height, width = self.image.shape
        return height * width / 1e6


SCENES = {
    side: Case(SCALED, Scene(side), ways)
    for side, ways in {
        1024: (WHOLE, FILES),
        2048: (WHOLE, FILES),
        4096: (WHOLE, FILES),
        8192: (FILES,),
        16384: (FILES,),
    }.items()
}
"""From 1 to 256 times 1024² pixels; wholes as long as they fit into 16 GiB."""


def chosen(pixels: Sequence[int], photograph: Photograph | None) -> list[Case]:
    """Scenes of these sides, or all where there are none, and the photograph; small ones first."""
    cases = [SCENES.get(n, Case(SCALED, Scene(n), (WHOLE, FILES))) for n in pixels or SCENES]
    if photograph:
        piece = replace(photograph, crop=min(PIECE, photograph.crop or PIECE))
        cases += [
            Case(SCALED, photograph, (WHOLE, MEMORY, FILES)),
            Case(HEAVY, piece, (WHOLE,)),
            Case(HEAVY, photograph, (FILES, MEMORY)),
        ]
    return sorted(cases, key=lambda case: case.megapixels)
