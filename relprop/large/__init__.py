"""Images that never fit into memory: read, explained and written tile by tile.

>>> explain_large(LRP(model), "scene.zarr", "relevance.zarr", target=281, preprocess=Normalise())
"""

from relprop.large.explain import LargeExplanation, explain_large, large_tiling
from relprop.large.sources import ArraySource, SlideSource, Source, open_image
from relprop.large.windows import Normalise

__all__ = [
    "ArraySource",
    "LargeExplanation",
    "Normalise",
    "SlideSource",
    "Source",
    "explain_large",
    "large_tiling",
    "open_image",
]
