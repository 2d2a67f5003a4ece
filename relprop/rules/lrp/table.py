"""Which rule each node has, to be read before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relprop.graph.node import Graph
from relprop.rules.support import Rule


@dataclass(frozen=True)
class RuleTable:
    """The nodes that carry relevance, from the input on: `rows` of node, module and rule."""

    rows: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, graph: Graph, rules: Sequence[Rule | None]) -> RuleTable:
        """The table of a graph with a rule for each node, None for scalars."""
        pairs = zip(graph.nodes, rules, strict=True)
        return cls(tuple((n.label, n.where.module, r.name) for n, r in pairs if r is not None))

    def __str__(self) -> str:
        rows = [("node", "module", "rule"), *self.rows]
        node, module, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
        return "\n".join(f"{n:{node}}  {m:{module}}  {r}".rstrip() for n, m, r in rows)
