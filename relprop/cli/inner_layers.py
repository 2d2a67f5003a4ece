"""Which inner layers a page shows: those that are named, or some of different resolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Size, Tensor

from relprop import LRP, DeepLift
from relprop.errors import InvalidInputError


def layers_to_show(
    method: LRP | DeepLift, inputs: Tensor, named: Sequence[str] | None
) -> list[str]:
    """The layers to attribute to: none for None, else those named, else one a resolution."""
    if named is None:
        return []
    return list(named) or one_a_resolution(method.layer_shapes(inputs))


def one_a_resolution(shapes: Mapping[str, Size]) -> list[str]:
    """Of the layers with maps one for each height and width, in their order.

    It is the last of those that are called once, if there are any, and are nested least.
    """
    chosen: dict[tuple[int, ...], str] = {}
    for name, shape in shapes.items():
        sides = tuple(shape[2:])
        if len(sides) != 2 or sides == (1, 1):
            continue
        before = chosen.get(sides)
        if before is None or _depth(name) <= _depth(before):
            chosen[sides] = name
    return [name for name in shapes if name in chosen.values()]


def _depth(name: str) -> tuple[bool, int]:
    return "@" in name, name.count(".")


def maps_of(layers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Relevance of one example's layers, each of shape (C, h, w).

    Raises:
        InvalidInputError: a layer has no height and width.
    """
    for name, relevance in layers.items():
        if relevance.dim() != 4:
            raise InvalidInputError(
                f"a layer to show must give maps, shape (N, C, H, W), but {name!r} gives "
                f"{tuple(relevance.shape)}; name another with --layer"
            )
    return {name: relevance[0].cpu() for name, relevance in layers.items()}
