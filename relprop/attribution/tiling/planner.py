"""Where a graph can be cut, and what tiles of a size take: bytes, and multiplications.

Bytes are counted from the shapes of all activations, which are known before anything runs: what the
rules keep from the way through to the way back, and what the largest single step needs.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relprop.attribution.tiling.methods import Method
from relprop.attribution.tiling.tiling import in_units
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
        layers: the activations to attribute to besides, by the layers' names.
    """

    sweep: Sweep
    sizes: Sizes
    constants: Snapshot
    method: Method[Any]
    sweeps: float = 1.0
    targets: int = 1
    layers: Mapping[str, Value] = field(default_factory=dict)

    @property
    def untiled(self) -> int:
        """Bytes that the explanation takes as a whole."""
        graph = self.sweep.graph
        nodes = [node for node in graph.nodes if not is_scalar(node)]
        taken = self.taken(nodes, self.sizes.bytes)
        return math.ceil(self.result(graph.inputs) + self.of_layers + taken)

    @property
    def of_layers(self) -> int:
        """Bytes of what is attributed to layers."""
        return self.targets * sum(map(self.sizes.bytes, {*self.layers.values()}))

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

    def middle(self, cut: Cut, edge: int) -> Box:
        """A tile that has others around it, if there is one."""
        sizes = [(n, min(edge, n)) for n in self.space(cut)]
        return tuple(((n - t) // 2, (n - t) // 2 + t) for n, t in sizes)

    def tile(self, cut: Cut, edge: int, beside: float = 0.0) -> int:
        """Bytes at a tile, with what it reads, and `beside` times what it reads and gives."""
        part = self.part_of(cut, edge)
        reads = sum(map(part, cut.body.inputs))
        at_work = self.taken(cut.body.nodes, part) + self.sweeps * reads
        return math.ceil(at_work + beside * (reads + part(cut.body.cut)))

    def part_of(self, cut: Cut, edge: int) -> Size:
        """How many bytes a tile has of each activation of the body."""
        wanted = cut.body.wanted(self.middle(cut, edge))

        @functools.cache
        def part(value: Value) -> float:
            return self.sizes.bytes(value) * share(wanted[value], self.sizes.shapes[value])

        return part

    def result(self, inputs: Sequence[Value]) -> int:
        """Bytes of what is attributed to the inputs."""
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


def edges(longest: int) -> list[int]:
    """Sizes of tiles, from one element to all, that divide a space about evenly."""
    root = math.isqrt(longest)
    return sorted({*range(1, root + 1), *(-(-longest // count) for count in range(1, root + 1))})


def share(box: Box, shape: Sequence[int]) -> float:
    """The part of an activation that lies in a box."""
    return math.prod(lengths(box)) / math.prod(shape[-len(box) :])


def boxes(space: Sequence[int], edge: int) -> Iterator[Box]:
    """All tiles of a space, at most so long."""
    starts = [range(0, n, edge) for n in space]
    for corner in itertools.product(*starts):
        yield tuple((a, min(a + edge, n)) for a, n in zip(corner, space, strict=True))
