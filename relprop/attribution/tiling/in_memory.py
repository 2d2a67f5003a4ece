"""A plan for explanations of images in memory: one cut, or two, of which all is held.

What a tile reads beside its own part, its halo, grows with the layers between the image and the
cut. A second cut, closer to the image, lets the layers below it run by tiles with short halos, and
those above it, which take less memory a pixel, by larger ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from relprop.attribution.tiling.planner import TILED, UNTILED, Planner, boxes, edges
from relprop.attribution.tiling.tiling import Part, Tiling, in_units
from relprop.errors import InvalidInputError
from relprop.graph.cut import Cut
from relprop.graph.intervals import lengths
from relprop.graph.node import is_scalar

#: The work, in that of the whole, that another cut would hardly lessen: forward twice, with a
#: twentieth more for halos.
ENOUGH = 1.05 * TILED / UNTILED


@dataclass(frozen=True)
class Division:
    """Cuts, from the images on, by tiles of at most so many elements along each dimension."""

    cuts: tuple[Cut, ...]
    edges: tuple[int, ...]


def plan_tiles(planner: Planner, budget: int) -> tuple[Tiling, tuple[Cut, ...]]:
    """The tiling that fits the budget with the least work; no cuts where the whole fits.

    Raises:
        InvalidInputError: nothing fits.
    """
    _check_layers(planner, budget)
    untiled = planner.untiled
    if untiled <= budget:
        return Tiling(budget, untiled, untiled), ()
    cuts, refused = planner.cuts()
    best, least = _best(planner, ((cut,) for cut in planner.worth_a_look(cuts)), budget)
    if best is None or work_of(planner, best) > ENOUGH:
        second, less = _best(planner, _pairs(planner, cuts), budget)
        least = min(least, less)
        fitting = [one for one in (best, second) if one is not None]
        best = min(fitting, key=lambda one: work_of(planner, one), default=None)
    if best is None:
        known = None if math.isinf(least) else int(least)
        raise InvalidInputError(planner.too_little(budget, untiled, known, refused))
    return tiling_of(planner, best, budget), best.cuts


def tiling_of(planner: Planner, division: Division, budget: int) -> Tiling:
    """The tiling, to be read by a person."""
    parts = [_part(planner, *pair) for pair in zip(division.cuts, division.edges, strict=True)]
    peak, work = peak_of(planner, division), work_of(planner, division)
    return Tiling(budget, planner.untiled, peak, tuple(parts), work)


def work_of(planner: Planner, division: Division) -> float:
    """How many times the multiplications of the untiled explanation."""
    products = planner.products
    head = sum(products(node) for node in division.cuts[-1].head.nodes if not is_scalar(node))
    whole = head + sum(products(node) for cut in division.cuts for node in cut.body.nodes)
    by_tiles = sum(map(planner.work_of_tiles, division.cuts, division.edges))
    return (UNTILED * head + TILED * by_tiles) / (UNTILED * whole)


def peak_of(planner: Planner, division: Division) -> int:
    """Bytes at the head, or at a tile, whichever is more."""
    tiles = map(planner.tile, division.cuts, division.edges)
    at_tiles = [a + b for a, b in zip(_held(planner, division.cuts), tiles, strict=True)]
    return max(_at_head(planner, division.cuts), *at_tiles)


def _check_layers(planner: Planner, budget: int) -> None:
    """Refuse layers whose relevance alone is too much."""
    taken = planner.of_layers
    if taken > budget:
        raise InvalidInputError(
            f"memory_budget must be enough for what is attributed to the layers, which takes "
            f"{in_units(taken)}; got {in_units(budget)}: ask for fewer layers, or smaller ones"
        )


def _pairs(planner: Planner, cuts: Sequence[Cut]) -> Iterator[tuple[Cut, Cut]]:
    """Two cuts, the second of what lies above the first and reads nothing else."""
    for first in planner.worth_a_look(cuts):
        above, _ = planner.cuts(first.head)
        for second in planner.worth_a_look(above):
            if second.body.inputs == (first.body.cut,):
                yield first, second


def _best(
    planner: Planner, found: Iterator[tuple[Cut, ...]], budget: int
) -> tuple[Division | None, float]:
    """Of those that fit the one with the least work; and the least peak of all."""
    everyone = [_fitted(planner, cuts, budget) for cuts in found]
    peaks = [peak_of(planner, one) for one in everyone]
    fitting = [one for one, peak in zip(everyone, peaks, strict=True) if peak <= budget]
    best = min(fitting, key=lambda one: work_of(planner, one), default=None)
    return best, min(peaks, default=math.inf)


def _fitted(planner: Planner, cuts: tuple[Cut, ...], budget: int) -> Division:
    """By the largest tiles that fit, or the smallest there are."""
    rooms = [budget - held for held in _held(planner, cuts)]
    return Division(cuts, tuple(_edge(planner, *pair) for pair in zip(cuts, rooms, strict=True)))


def _edge(planner: Planner, cut: Cut, room: int) -> int:
    sizes = edges(max(planner.space(cut)))
    low, high = 0, len(sizes) - 1
    while low < high:
        middle = (low + high + 1) // 2
        fits = planner.tile(cut, sizes[middle]) <= room
        low, high = (middle, high) if fits else (low, middle - 1)
    return sizes[low]


def _held(planner: Planner, cuts: Sequence[Cut]) -> list[int]:
    """Bytes that are there beside a tile of each part on the way back: all cuts, and messages.

    A message has two tensors at most, and there is one at the part's cut, and one for what the part
    reads, which for the images is the result.
    """
    at = [planner.sizes.bytes(cut.body.cut) for cut in cuts]
    messages = [2 * planner.targets * size for size in at]
    below = [planner.result(cuts[0].body.inputs), *messages[:-1]]
    always = planner.sweeps * sum(at) + planner.of_layers
    return [math.ceil(always + a + b) for a, b in zip(messages, below, strict=True)]


def _at_head(planner: Planner, cuts: Sequence[Cut]) -> int:
    """Bytes at the head."""
    at = [planner.sizes.bytes(cut.body.cut) for cut in cuts]
    nodes = [node for node in cuts[-1].head.nodes if not is_scalar(node)]
    beside = planner.sweeps * sum(at) + planner.targets * at[-1] + planner.of_layers
    return math.ceil(beside + planner.taken(nodes, planner.sizes.bytes))


def _part(planner: Planner, cut: Cut, edge: int) -> Part:
    space, body = planner.space(cut), cut.body
    middle = planner.middle(cut, edge)
    reads = lengths(body.wanted(middle)[body.inputs[0]])
    whole = planner.sizes.shapes[body.inputs[0]][-body.dims :]
    own = [n * t / m for n, t, m in zip(whole, lengths(middle), space, strict=True)]
    maker = body.nodes[-1]
    return Part(
        f"'{maker.label}' in {maker.where}",
        space,
        tuple(boxes(space, edge)),
        reads,
        tuple(math.ceil(max(0, r - o) / 2) for r, o in zip(reads, own, strict=True)),
    )
