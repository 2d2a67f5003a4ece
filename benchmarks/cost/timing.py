"""Time: ours, the peers' and the gradient take turns in one process, in another order every round.

The machine's speed changes while one waits. So what counts is not seconds but what a method took in
a round over what the gradient took in the same round: of that the median and the quartiles.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from benchmarks.cost import floor, methods, networks
from benchmarks.cost.fresh import Say
from benchmarks.cost.methods import METHODS, Explain, Method
from benchmarks.cost.networks import Case, Subject
from benchmarks.cost.peers import PEERS, Peer
from relprop.cli.loading import first_line

FEWEST, MOST = 5, 30
"""Rounds, whatever time they take, and however little."""

GRADIENT = "gradient"


@dataclass
class Entry:
    """What one method took.

    Attributes:
        name: of the method, ours or a peer's.
        computes: which result it gives, by the name of ours; the gradient's own.
        seconds: round by round.
        deviation: of a peer's result from ours, the largest over the largest of ours.
        failure: what was raised, if something was; then there are no seconds.
    """

    name: str
    computes: str
    seconds: list[float] = field(default_factory=list)
    deviation: float | None = None
    failure: str = ""


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
    case: Case, names: Sequence[str], seconds: float, rounds: int, with_peers: bool, say: Say
) -> dict[str, Any]:
    """Time one case; to be called in a fresh process.

    Args:
        case: what to explain.
        names: of our methods.
        seconds: how long it may take, beside warming up.
        rounds: how many at most, 0 for as many as fit into `seconds`.
        with_peers: whether other packages take part.
        say: is told what is being worked at.
    """
    if case.threads:
        torch.set_num_threads(case.threads)
    say("building")
    model = networks.build(case.network)
    subject = networks.subject(model, case.batch, case.pixels)
    taking_part = [c for c in contestants(names) if with_peers or isinstance(c, Method)]
    entries = run(subject, taking_part, seconds, rounds, say)
    layers = floor.layers_of(model, subject.x)
    costs = floor.measure(layers, say)
    chosen = {name: s for name, s in floor.floors(layers, costs).items() if name in names}
    return Timing(case.as_dict(), entries, chosen).as_dict()


def run(
    subject: Subject,
    taking_part: Sequence[Method | Peer],
    seconds: float,
    rounds: int,
    say: Say,
) -> list[Entry]:
    """Warm up, then time round by round; what fails takes no further part."""
    entries = [Entry(GRADIENT, GRADIENT)]
    explain: dict[str, Explain] = {GRADIENT: methods.gradient(subject.model)}
    results: dict[str, Tensor] = {}
    explain[GRADIENT](subject.x, subject.target)
    for contestant in taking_part:
        say(f"warming up {contestant.name}")
        entry = Entry(contestant.name, contestant.computes)
        entries.append(entry)
        try:
            call = contestant.prepare(subject.model)
            found = call(subject.x, subject.target)
            entry.deviation = _deviation(found, results.get(entry.computes))
            results.setdefault(entry.computes, found)
            explain[contestant.name] = call
        except Exception as fault:  # of whatever type: it is the finding
            entry.failure = first_line(fault)
        gc.collect()
    _rounds(entries, explain, subject, seconds, rounds, say)
    return entries


def _rounds(
    entries: Sequence[Entry],
    explain: dict[str, Explain],
    subject: Subject,
    seconds: float,
    rounds: int,
    say: Say,
) -> None:
    order = [entry for entry in entries if not entry.failure]
    shuffle = random.Random(0).shuffle
    begin, done = time.perf_counter(), 0
    while done < (rounds or MOST):
        shuffle(order)
        for entry in list(order):
            say(f"round {done + 1}: {entry.name}")
            try:
                entry.seconds.append(_timed(explain[entry.name], subject))
            except Exception as fault:
                entry.failure, entry.seconds = first_line(fault), []
                order.remove(entry)
            gc.collect()
        done += 1
        spent = time.perf_counter() - begin
        if not rounds and done >= FEWEST and spent * (done + 1) / done > seconds:
            return


def _timed(explain: Explain, subject: Subject) -> float:
    """The second of two calls: the first one finds the caches and the heap as another left them."""
    explain(subject.x, subject.target)
    begin = time.perf_counter()
    explain(subject.x, subject.target)
    return time.perf_counter() - begin


def _deviation(found: Tensor, ours: Tensor | None) -> float | None:
    if ours is None:
        return None
    return float((found - ours).abs().max() / ours.abs().max())


@dataclass(frozen=True)
class Ratio:
    """Median and quartiles of paired ratios."""

    median: float
    low: float
    high: float


def ratio(seconds: Sequence[float], unit: Sequence[float]) -> Ratio:
    """Of what was measured in the same rounds, one over the other.

    Raises:
        ValueError: there are not as many of one as of the other, or none.
    """
    paired = torch.tensor([a / b for a, b in zip(seconds, unit, strict=True)], dtype=torch.float64)
    if not len(paired):
        raise ValueError("ratios take at least one round; there was none")
    low, high = paired.quantile(torch.tensor([0.25, 0.75], dtype=torch.float64)).tolist()
    return Ratio(statistics.median(paired.tolist()), low, high)
