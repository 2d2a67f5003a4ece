"""A plan for explanations of images that are not in memory: several cuts, one after the other.

What a tile reads beside its own part, its halo, grows with the layers between the image and the
cut. So the graph is cut wherever that saves work, and each stage, from one cut to the next, goes by
tiles of its own. Cuts, like images and results, are in files; what counts is what a tile takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from relprop.attribution.tiling.planner import TILED, UNTILED, Planner, boxes, edges
from relprop.attribution.tiling.tiling import in_units, times
from relprop.errors import InvalidInputError
from relprop.graph.cut import Cut
from relprop.graph.intervals import Box, lengths
from relprop.graph.node import Graph, Value, is_scalar
from relprop.graph.pooled import Pooled, find_pooled

#: How many times a tile's input, and what it gives, may be there beside what is at work: as they
#: are read, added up from several tiles, and written.
BESIDE = 4
#: What writing an element of a cut and of its message takes, and reading it, in multiplications.
STORED = 500


@dataclass(frozen=True)
class Stage:
    """From one cut to the next, tile by tile.

    Attributes:
        cut: the one that the tiles are of.
        space: its size.
        edge: how long a tile is along each dimension, at most.
        reads: how many pixels, or elements of the cut before, a tile in the middle reads.
        peak: bytes that a tile takes.
        work: how many multiplications all tiles make, on the way there and back.
    """

    cut: Cut
    space: tuple[int, ...]
    edge: int
    reads: tuple[int, ...]
    peak: int
    work: float

    @cached_property
    def boxes(self) -> tuple[Box, ...]:
        """The tiles, row by row."""
        return tuple(boxes(self.space, self.edge))

    @property
    def source(self) -> Value:
        """What the tiles read."""
        return self.cut.body.inputs[0]

    def __str__(self) -> str:
        maker = self.cut.body.nodes[-1]
        return (
            f"to '{maker.label}' in {maker.where} by tiles: {len(self.boxes)} of "
            f"{times(lengths(self.boxes[0]))}, each made from up to {times(self.reads)}"
        )


@dataclass(frozen=True)
class Chain:
    """How an explanation is made in stages; `print` it.

    Attributes:
        budget: bytes that were allowed, beside the model and what is derived of its weights.
        peak: bytes that it takes.
        stages: from the image on, at least one.
        head: what lies above the last cut, or above the mean over it.
        pooled: the mean that the last cut is read through, if it is.
        work: how many times the multiplications of an explanation without tiles are made, about.
    """

    budget: int
    peak: int
    stages: tuple[Stage, ...]
    head: Graph
    pooled: Pooled | None
    work: float

    def __str__(self) -> str:
        mean = ", through a mean over it" if self.pooled else ""
        return "\n".join(
            [
                *map(str, self.stages),
                f"then all at once{mean}",
                f"memory: {in_units(self.peak)} of {in_units(self.budget)}",
                f"work: {self.work:.2f} times that of an explanation without tiles",
            ]
        )


@dataclass(frozen=True)
class _Way:
    """Some stages, what is above them, and what they cost."""

    stages: tuple[Stage, ...]
    above: Graph
    cost: float


def plan_chain(planner: Planner, budget: int) -> Chain:
    """The chain that fits the budget and costs least.

    Raises:
        InvalidInputError: there is none.
    """
    graph = planner.sweep.graph
    whole = sum(planner.products(node) for node in graph.nodes if not is_scalar(node))
    cuts, refused = planner.cuts()
    search = _Search(planner, budget)
    found = list(search.chains(cuts, UNTILED * whole))
    if not found:
        nodes = [node for node in graph.nodes if not is_scalar(node)]
        untiled = math.ceil(planner.taken(nodes, planner.sizes.bytes))
        raise InvalidInputError(planner.too_little(budget, untiled, search.least, refused))
    return min(found, key=lambda pair: pair[0])[1]


class _Search:
    """The search for chains; `least` is the smallest peak of those that did not fit."""

    def __init__(self, planner: Planner, budget: int) -> None:
        self._planner, self._budget = planner, budget
        self.least: int | None = None

    def chains(self, cuts: list[Cut], whole: float) -> Iterator[tuple[float, Chain]]:
        """For every cut that chains may end at the one that costs least, if any fits."""
        planner = self._planner
        looked = {cut.body.cut for cut in planner.worth_a_look(cuts)}
        ends = {cut.body.cut: self._pooled(cut) for cut in cuts}
        names = [v for v, pooled in ends.items() if v in looked or pooled]
        ways = {"": _Way((), planner.sweep.graph, 0.0)}
        for name in ["", *names]:
            if name not in ways:
                continue
            self._extend(ways, ways[name], cuts if not name else None, set(names))
            if name:
                yield from self._ended(ways[name], ends[name], whole)

    def _pooled(self, cut: Cut) -> Pooled | None:
        """The mean above a cut, if its rule does not read the cut."""
        planner = self._planner
        found = find_pooled(cut, planner.sizes, planner.constants)
        if found is None:
            return None
        rule, value = planner.rules[found.mean.output], found.mean.output
        if planner.method.refuses(found.mean, rule) or not planner.method.crosses(rule):
            return None
        known = value not in planner.sweep.stand_in and cut.body.cut not in rule.keeps(found.mean)
        return found if known else None

    def _extend(
        self, ways: dict[Value, _Way], way: _Way, cuts: list[Cut] | None, names: set[Value]
    ) -> None:
        """Enter what a way leads to in one more stage, where no other leads at a lower cost."""
        for cut in self._planner.cuts(way.above)[0] if cuts is None else cuts:
            name = cut.body.cut
            if name not in names:
                continue
            known = ways[name].cost if name in ways else math.inf
            stored = way.cost + STORED * math.prod(self._planner.sizes.shapes[name])
            if stored + TILED * sum(map(self._planner.products, cut.body.nodes)) >= known:
                continue  # even without halos
            stage = self._stage(cut)
            if stage is not None and stored + stage.work < known:
                ways[name] = _Way((*way.stages, stage), cut.head, stored + stage.work)

    def _stage(self, cut: Cut) -> Stage | None:
        """The stage by the largest tiles that fit, if any do."""
        sizes = edges(max(self._planner.space(cut)))
        low, high = -1, len(sizes) - 1
        while low < high:
            middle = (low + high + 1) // 2
            fits = self._fits(self._peak(cut, sizes[middle]))
            low, high = (middle, high) if fits else (low, middle - 1)
        if low < 0:
            return None
        planner, edge, body = self._planner, sizes[low], cut.body
        return Stage(
            cut,
            planner.space(cut),
            edge,
            lengths(body.wanted(planner.middle(cut, edge))[body.inputs[0]]),
            self._peak(cut, edge),
            TILED * planner.work_of_tiles(cut, edge),
        )

    def _fits(self, peak: int) -> bool:
        if peak > self._budget:
            self.least = peak if self.least is None else min(peak, self.least)
        return peak <= self._budget

    def _peak(self, cut: Cut, edge: int) -> int:
        """Bytes at a tile."""
        return self._planner.tile(cut, edge, BESIDE)

    def _ended(
        self, way: _Way, pooled: Pooled | None, whole: float
    ) -> Iterator[tuple[float, Chain]]:
        """The chain that goes on all at once, if that fits, and what it costs."""
        planner = self._planner
        head = pooled.head if pooled else way.above
        nodes = [node for node in head.nodes if not is_scalar(node)]
        at_cut = planner.sizes.bytes(head.inputs[0])
        peak = math.ceil(
            (planner.sweeps + BESIDE) * at_cut + planner.taken(nodes, planner.sizes.bytes)
        )
        if self._fits(peak):
            at_end = UNTILED * sum(map(planner.products, nodes))
            work = (sum(stage.work for stage in way.stages) + at_end) / whole
            peak = max(peak, *(stage.peak for stage in way.stages))
            cost = way.cost + at_end
            yield cost, Chain(self._budget, peak, way.stages, head, pooled, work)
