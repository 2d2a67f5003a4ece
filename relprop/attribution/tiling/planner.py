"""Where to cut a graph, and into how large tiles, so that an explanation fits into a budget.

Bytes are counted from the shapes of all activations, which are known before anything runs: what the
rules keep from the way through to the way back, and what the largest single step needs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relprop.attribution.tiling.methods import Method
from relprop.attribution.tiling.tiling import Tiling, in_units
from relprop.errors import InvalidInputError
from relprop.graph.constants import Snapshot
from relprop.graph.convolution import Convolution
from relprop.graph.cut import Cut, find_cuts
from relprop.graph.intervals import Box, Interval, lengths
from relprop.graph.layout import FAST
from relprop.graph.linear_map import LinearMap
from relprop.graph.node import Graph, Node, Value, is_scalar
from relprop.graph.sizes import Sizes
from relprop.graph.sweep import Sweep

#: How many times its inputs and output a node may take while messages cross it: measured were 2.3
#: at most, of five methods on VGG16 and on EfficientNet-Lite0.
AT_WORK = 3
#: Forward and back, in units of the forward sweep; and with the cut filled first.
UNTILED, TILED = 3, 4
Size = Callable[[Value], float]


@dataclass(frozen=True)
class Planner:
    """What a plan is made from.

    Attributes:
        sweep: the method's rules on the whole graph.
        sizes: of all its activations.
        method: what tiling has to know of the method.
        sweeps: how many forward sweeps are kept at once, a baseline of one example as a part.
        targets: how many outputs are explained for each example.
    """

    sweep: Sweep
    sizes: Sizes
    constants: Snapshot
    method: Method[Any]
    sweeps: float = 1.0
    targets: int = 1

    def plan(self, budget: int) -> tuple[Tiling, Cut | None]:
        """The tiling that fits the budget with the least work; no cut where the whole fits.

        Raises `InvalidInputError` where nothing fits.
        """
        graph = self.sweep.graph
        nodes = [node for node in graph.nodes if not is_scalar(node)]
        result = self._result(graph.inputs)
        untiled = math.ceil(result + self.taken(nodes, self.sizes.bytes))
        if untiled <= budget:
            return Tiling(budget, untiled, untiled), None
        cuts, refused = self.cuts()
        found = [(cut, self._edge(cut, budget)) for cut in self.worth_a_look(cuts)]
        peaks = [self._peak(cut, edge) for cut, edge in found]
        fitting = [pair for pair, peak in zip(found, peaks, strict=True) if peak <= budget]
        if not fitting:
            least = min(peaks, default=None)
            raise InvalidInputError(self.too_little(budget, untiled, least, refused))
        cut, edge = min(fitting, key=lambda pair: self._work(*pair))
        return self.tiling(cut, edge, budget, untiled), cut

    def cuts(self, graph: Graph | None = None) -> tuple[list[Cut], dict[Value, str]]:
        """Where the graph can be cut for this method; and why some nodes cannot run by tiles.

        Or where a part of it can.
        """
        rules, graph = self.rules, graph or self.sweep.graph
        cuts, refused = find_cuts(graph, self.sizes, self.constants, self._refuses)
        values = [cut.body.cut for cut in cuts]
        # What stands in for an activation is known above it only.
        allowed = [self.method.crosses(rules[v]) and v not in self.sweep.stand_in for v in values]
        return list(itertools.compress(cuts, allowed)), refused

    def _refuses(self, node: Node) -> str:
        return self.method.refuses(node, self.rules[node.output])

    @property
    def rules(self) -> dict[Value, Any]:
        """The rule of the node that computes each activation."""
        pairs = zip(self.sweep.graph.nodes, self.sweep.crossings, strict=True)
        return {node.output: rule for node, rule in pairs}

    def worth_a_look(self, cuts: Sequence[Cut]) -> Iterator[Cut]:
        """For every size of space the first and the last of the smallest activations."""
        for _, group in itertools.groupby(cuts, self.space):
            alike = list(group)
            least = min(self.sizes.bytes(cut.body.cut) for cut in alike)
            small = [cut for cut in alike if self.sizes.bytes(cut.body.cut) == least]
            yield small[0]
            if len(small) > 1:
                yield small[-1]

    def space(self, cut: Cut) -> tuple[int, ...]:
        """The size of a cut's space."""
        return tuple(self.sizes.shapes[cut.body.cut][-cut.body.dims :])

    def _edge(self, cut: Cut, budget: int) -> int:
        """The largest tiles that fit, or the smallest there are."""
        longest = max(self.space(cut))
        edges = sorted({-(-longest // count) for count in range(2, longest + 1)} or {1})
        low, high = 0, len(edges) - 1
        while low < high:
            middle = (low + high + 1) // 2
            fits = self._peak(cut, edges[middle]) <= budget
            low, high = (middle, high) if fits else (low, middle - 1)
        return edges[low]

    def tiling(self, cut: Cut, edge: int, budget: int, untiled: int) -> Tiling:
        """The tiling by tiles of at most so many elements of the cut along each dimension."""
        space, body = self.space(cut), cut.body
        middle = self.middle(cut, edge)
        reads = lengths(body.wanted(middle)[body.inputs[0]])
        pixels = self.sizes.shapes[body.inputs[0]][-body.dims :]
        own = [n * t / m for n, t, m in zip(pixels, lengths(middle), space, strict=True)]
        maker = body.nodes[-1]
        return Tiling(
            budget,
            untiled,
            self._peak(cut, edge),
            f"'{maker.label}' in {maker.where}",
            space,
            tuple(boxes(space, edge)),
            reads,
            tuple(math.ceil(max(0, r - o) / 2) for r, o in zip(reads, own, strict=True)),
            self._work(cut, edge),
        )

    def middle(self, cut: Cut, edge: int) -> Box:
        """A tile that has others around it, if there is one."""
        sizes = [(n, min(edge, n)) for n in self.space(cut)]
        return tuple(((n - t) // 2, (n - t) // 2 + t) for n, t in sizes)

    def _peak(self, cut: Cut, edge: int) -> int:
        """Bytes at the head, or at a tile, whichever is more."""
        body, bytes_of = cut.body, self.sizes.bytes
        at_cut = bytes_of(body.cut)
        part = self.part_of(cut, edge)
        head = [node for node in cut.head.nodes if not is_scalar(node)]
        through_head = (self.sweeps + self.targets) * at_cut + self.taken(head, bytes_of)
        tile = self.taken(body.nodes, part) + sum(map(part, body.inputs)) * self.sweeps
        filling = self.sweeps * at_cut + tile
        back = (2 * self.targets + self.sweeps) * at_cut + self._result(body.inputs) + tile
        return math.ceil(max(through_head, filling, back))

    def part_of(self, cut: Cut, edge: int) -> Size:
        """How many bytes a tile has of each activation of the body."""
        wanted = cut.body.wanted(self.middle(cut, edge))

        def part(value: Value) -> float:
            return self.sizes.bytes(value) * share(wanted[value], self.sizes.shapes[value])

        return part

    def _result(self, inputs: Sequence[Value]) -> int:
        return self.targets * sum(map(self.sizes.bytes, inputs))

    def taken(self, nodes: Sequence[Node], size: Size) -> float:
        """What the nodes' outputs that are kept take, and the node that takes most at work."""
        kept = self.sweep.kept
        held = sum(size(node.output) for node in nodes if node.output in kept)
        return self.sweeps * held + max((self._step(node, size) for node in nodes), default=0.0)

    def _step(self, node: Node, size: Size) -> float:
        """What a node takes at work."""
        tensors = AT_WORK * (sum(map(size, node.inputs)) + size(node.output))
        if not isinstance(node, Convolution) or self.sizes.dtypes[node.output] in FAST:
            return tensors
        # A matrix product, for which the inputs of every output are copied side by side.
        return tensors + size(node.output) / self.sizes.shapes[node.output][1] * self._taps(node)

    def _taps(self, node: LinearMap) -> int:
        """How many inputs an output has."""
        assert node.weight is not None
        weight = self.constants[node.weight]
        return max(1, weight.numel() // max(1, weight.shape[0] if weight.dim() else 1))

    def _work(self, cut: Cut, edge: int) -> float:
        """How many times the multiplications of the untiled explanation."""
        head = sum(self.products(node) for node in cut.head.nodes if not is_scalar(node))
        whole = head + sum(map(self.products, cut.body.nodes))
        by_tiles = self.work_of_tiles(cut, edge)
        return (UNTILED * head + TILED * by_tiles) / (UNTILED * whole)

    def work_of_tiles(self, cut: Cut, edge: int) -> float:
        """About how many multiplications all tiles of a body make on their way to the cut."""
        space, shapes = self.space(cut), self.sizes.shapes
        ends = [_first_middle_last(n, edge) for n in space]
        read = [cut.body.wanted(corner) for corner in zip(*ends, strict=True)]
        counts = [-(-n // edge) for n in space]

        def elements(value: Value) -> int:
            """How many of an activation all tiles compute, whose boxes are of rows and columns."""
            across = [lengths(wanted[value]) for wanted in read]
            return math.prod(
                first if count == 1 else first + (count - 2) * middle + last
                for count, first, middle, last in zip(counts, *across, strict=True)
            )

        own = len(space)
        return sum(
            self.products(node) * elements(node.output) / math.prod(shapes[node.output][-own:])
            for node in cut.body.nodes
        )

    def products(self, node: Node) -> int:
        """About how many multiplications a node makes."""
        elements = math.prod(self.sizes.shapes[node.output])
        if not isinstance(node, LinearMap) or node.weight is None:
            return elements
        return elements * self._taps(node)

    def too_little(
        self, budget: int, untiled: int, least: int | None, refused: Mapping[Value, str]
    ) -> str:
        """A sentence about a budget that nothing fits into."""
        first = next((n for n in self.sweep.graph.nodes if n.output in refused), None)
        end = (
            f" (no tiles beyond '{first.label}' in {first.where}: {refused[first.output]})"
            if first
            else ""
        )
        tiles = f"at least {in_units(least)}" if least and least < untiled else "no less"
        return (
            "memory_budget must be enough for the explanation, which untiled takes "
            f"{in_units(untiled)} and by tiles {tiles}; got {in_units(budget)}{end}"
        )


def _first_middle_last(n: int, edge: int) -> tuple[Interval, Interval, Interval]:
    """Of the intervals that a length is divided into the first, one in the middle and the last."""
    size, count = min(edge, n), -(-n // edge)
    return (0, size), ((n - size) // 2, (n - size) // 2 + size), ((count - 1) * edge, n)


def share(box: Box, shape: Sequence[int]) -> float:
    """The part of an activation that lies in a box."""
    return math.prod(lengths(box)) / math.prod(shape[-len(box) :])


def boxes(space: Sequence[int], edge: int) -> Iterator[Box]:
    """All tiles of a space, at most so long."""
    starts = [range(0, n, edge) for n in space]
    for corner in itertools.product(*starts):
        yield tuple((a, min(a + edge, n)) for a, n in zip(corner, space, strict=True))
