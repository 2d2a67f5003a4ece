"""The books of an explanation by relevance, kept while it goes back: as a whole, or by tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relprop.graph.node import Node, Value, is_scalar
from relprop.graph.sweep import Sweep
from relprop.rules.lrp.relevance import Account, LrpContext, Relevance, booked

Watch = Callable[[Node, Relevance, Sequence[Relevance | None]], None]


class _Ledger(dict[Value, Account]):
    """Accounts by what nodes compute.

    Nodes of tiles that are none of the graph's, which take windows of activations and pass on all
    that they receive, are given one that nobody reads.
    """

    def __missing__(self, value: Value) -> Account:
        self[value] = Account(Node(inputs=(), output=value), "")
        return self[value]


class Books:
    """An account for every node of a sweep's graph, to which sweeps of parts of it may add."""

    def __init__(self, sweep: Sweep) -> None:
        pairs = zip(sweep.graph.nodes, sweep.crossings, strict=True)
        self._ledger = _Ledger(
            (node.output, Account(node, getattr(rule, "name", "")))
            for node, rule in pairs
            if not is_scalar(node)
        )
        self.accounts = list(self._ledger.values())

    def keep(self, context: LrpContext) -> Watch:
        """Let rules enter what they charge; returns what enters all else, told of every node.

        The sweep must keep all activations.
        """
        run, ledger = context.run, self._ledger
        context.ledger = ledger

        def total(relevance: Relevance | None, value: Value) -> float:
            if relevance is None:
                return 0.0
            v = run.values[value]
            return booked(relevance.total(run, v), v).double().sum().item()

        def watch(node: Node, arrived: Relevance, sent: Sequence[Relevance | None]) -> None:
            account = ledger[node.output]
            account.received += total(arrived, node.output)
            account.passed += sum(map(total, sent, node.inputs))

        return watch
