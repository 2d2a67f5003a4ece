"""Time: ours, the peers' and the gradient, which take turns in one process.

The machine's speed changes while one waits. So what counts is not seconds but what a method took in
a round over what the gradient took in the same round: of that the median and the quartiles.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from benchmarks.cost import floor, networks
from benchmarks.cost.fresh import Say
from benchmarks.cost.methods import BY_NAME, METHODS, Method
from benchmarks.cost.networks import Case, Subject
from benchmarks.cost.peers import PEERS, Peer
from benchmarks.cost.rounds import Budget, Entry, run


@dataclass
class Timing:
    """What came of one case.

    Attributes:
        case: its fields.
        entries: the gradient first, then ours, then the peers'.
        floors: seconds of the convolutions and dense layers alone, by the names of our methods.
        failure: why nothing was measured, if so.
    """

    case: dict[str, Any]
    entries: list[Entry] = field(default_factory=list)
    floors: dict[str, float] = field(default_factory=dict)
    failure: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def contestants(names: Sequence[str]) -> tuple[Method | Peer, ...]:
    """Our methods of these names, and the peers that compute the same."""
    ours = tuple(method for method in METHODS if method.name in names)
    return (*ours, *(peer for peer in PEERS if peer.computes in names))


def time_case(
    case: Case, names: Sequence[str], budget: Budget, with_peers: bool, say: Say
) -> dict[str, Any]:
    """Time one case; to be called in a fresh process.

    Args:
        case: what to explain.
        names: of our methods.
        budget: how long it may take, the floors left aside.
        with_peers: whether other packages take part.
        say: is told what is being worked at.
    """
    subject = _subject(case, say)
    taking_part = [c for c in contestants(names) if with_peers or isinstance(c, Method)]
    entries = run(subject, taking_part, budget, say)
    layers = floor.layers_of(subject.model, subject.x)
    costs = floor.measure(layers, say)
    chosen = {name: s for name, s in floor.floors(layers, costs).items() if name in names}
    return Timing(case.as_dict(), entries, chosen).as_dict()


def time_ours(case: Case, names: Sequence[str], budget: Budget, say: Say) -> dict[str, Any]:
    """The same without peers and floors."""
    subject = _subject(case, say)
    entries = run(subject, [BY_NAME[name] for name in names], budget, say)
    return Timing(case.as_dict(), entries).as_dict()


def _subject(case: Case, say: Say) -> Subject:
    if case.threads:
        torch.set_num_threads(case.threads)
    say("building")
    return networks.subject(networks.build(case.network), case.batch, case.pixels)


@dataclass(frozen=True)
class Ratio:
    """Median and quartiles of paired ratios."""

    median: float
    low: float
    high: float


def ratio(seconds: Sequence[float], unit: Sequence[float]) -> Ratio:
    """Of what was measured in the same rounds, one over the other; both begin with the first.

    Raises:
        ValueError: there was no round.
    """
    paired = torch.tensor([a / b for a, b in zip(seconds, unit, strict=False)], dtype=torch.float64)
    if not len(paired):
        raise ValueError("ratios take at least one round; there was none")
    low, high = paired.quantile(torch.tensor([0.25, 0.75], dtype=torch.float64)).tolist()
    return Ratio(statistics.median(paired.tolist()), low, high)
