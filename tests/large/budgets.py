"""Budgets that small images do not fit into."""

from __future__ import annotations

from typing import Any

from relprop.attribution.tiled import Tiled
from relprop.attribution.tiling.chain import Chain
from relprop.errors import InvalidInputError
from relprop.large import large_tiling

SHARES = [0.6 * 0.8**k for k in range(30)]


def in_stages(method: Tiled, image: Any, pooled: bool = False, **options: Any) -> Chain:
    """The plan by the largest budget for which there are several stages, each of several tiles.

    Or else by the smallest budget for which there are several tiles. `pooled`: and for which the
    head goes on from a mean over the last cut.
    """
    whole = large_tiling(method, image, memory_budget="1GiB", **options).peak
    found: list[Chain] = []
    for share in SHARES:
        try:
            found.append(large_tiling(method, image, memory_budget=int(share * whole), **options))
        except InvalidInputError:
            break
        counts = [len(stage.boxes) for stage in found[-1].stages]
        enough = len(counts) > 1 and min(counts[:2]) > 1
        if enough and (found[-1].pooled or not pooled):
            break
    assert len(found[-1].stages[0].boxes) > 1
    return found[-1]
