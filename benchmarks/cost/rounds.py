"""Rounds: all that are compared take turns, in another order every time, until time is up.

A case has a time. In the first round ours come before the peers, and these by what they took on
smaller inputs; who would overstep the time is not run. Then there are rounds as long as they fit:
with peers for half of the time, and then without them, which take most of a round.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from benchmarks.cost import methods
from benchmarks.cost.forecast import NOT_RUN
from benchmarks.cost.fresh import Say
from benchmarks.cost.methods import Explain, Prepare
from benchmarks.cost.networks import Subject
from relprop.cli.loading import first_line

LONG = 2.0
"""Seconds of a gradient from which on a call warms itself up: one before it is not worth it."""

GRADIENT = "gradient"


class Contestant(Protocol):
    """Ours or a peer's: a name, whose result it computes, and how to make what explains."""

    @property
    def name(self) -> str: ...

    @property
    def computes(self) -> str: ...

    @property
    def prepare(self) -> Prepare: ...


@dataclass
class Entry:
    """What one method took.

    Attributes:
        name: of the method, ours or a peer's.
        computes: which result it gives, by the name of ours; the gradient's own.
        seconds: round by round; a peer takes part in the first rounds only.
        deviation: of a peer's result from ours, the largest over the largest of ours.
        failure: what was raised, if something was, or why it was not run; then there are no
            seconds.
    """

    name: str
    computes: str
    seconds: list[float] = field(default_factory=list)
    deviation: float | None = None
    failure: str = ""


@dataclass(frozen=True)
class Budget:
    """How long it may take.

    Attributes:
        seconds: for everything. Ours and the gradient get a round whatever it takes; peers that
            would not fit are not run.
        most: rounds, however little time they take.
        expected: seconds of a call by name, where something is known of it.
    """

    seconds: float
    most: int = 30
    expected: dict[str, float] = field(default_factory=dict)


def run(
    subject: Subject, taking_part: Sequence[Contestant], budget: Budget, say: Say
) -> list[Entry]:
    """Time round by round, the first of them in order; what fails takes no further part.

    Returns:
        The gradient's entry, then one for each that was to take part, in their order.
    """
    contest = _Contest(subject, budget, say)
    contest.enter(GRADIENT, GRADIENT, methods.gradient)
    ours = [one for one in taking_part if one.name == one.computes]
    peers = [one for one in taking_part if one.name != one.computes]
    for one in (*ours, *sorted(peers, key=lambda peer: budget.expected.get(peer.name, 0.0))):
        contest.enter(one.name, one.computes, one.prepare)
    contest.play()
    entries = {entry.name: entry for entry in contest.entries}
    return [entries[name] for name in (GRADIENT, *(one.name for one in taking_part))]


class _Contest:
    """Those that take part so far, and the clock."""

    def __init__(self, subject: Subject, budget: Budget, say: Say) -> None:
        self.subject, self.budget, self.say = subject, budget, say
        self.tiny = subject.tiny
        self.entries: list[Entry] = []
        self.explain: dict[str, Explain] = {}
        self.turns: dict[str, float] = {}  # seconds that each takes of a round
        self.results: dict[str, Tensor] = {}
        self.long = False
        self.begun = time.perf_counter()

    @property
    def left(self) -> float:
        """Seconds of the budget."""
        return self.budget.seconds - (time.perf_counter() - self.begun)

    def enter(self, name: str, computes: str, prepare: Prepare) -> None:
        """Its first round, unless that would take too long."""
        entry = Entry(name, computes)
        self.entries.append(entry)
        if name not in (computes, GRADIENT):
            # What nothing is known of is taken for a gradient: others are slower.
            call = self.budget.expected.get(name, min(self.entries[0].seconds, default=0.0))
            if (call if self.long else 2 * call) > self.left:
                entry.failure = (
                    f"{NOT_RUN}a call was forecast to take {call:.1f} s or more, and the case may "
                    f"take {self.budget.seconds:.0f} s in all"
                )
                return
        self.say(f"round 1: {name}")
        try:
            self._first_round(entry, prepare)
        except Exception as fault:  # of whatever type: it is the finding
            entry.failure = first_line(fault)
        gc.collect()

    def _first_round(self, entry: Entry, prepare: Prepare) -> None:
        """What is done once, like capturing a model, is done on a tiny crop."""
        explain = prepare(self.subject.model)
        explain(self.tiny.x, self.tiny.target)
        begin = time.perf_counter()
        seconds, found = self._call(explain)
        self.turns[entry.name] = time.perf_counter() - begin
        entry.deviation = _deviation(found, self.results.get(entry.computes))
        entry.seconds.append(seconds)
        self.results.setdefault(entry.computes, found)
        self.explain[entry.name] = explain

    def _call(self, explain: Explain) -> tuple[float, Tensor]:
        """One timed call, after one that is not: the last one left caches and heap as it likes."""
        x, target = self.subject.x, self.subject.target
        if not self.long:
            begin = time.perf_counter()
            explain(x, target)
            self.long = not self.turns and time.perf_counter() - begin >= LONG
        begin = time.perf_counter()
        found = explain(x, target)
        return time.perf_counter() - begin, found

    def play(self) -> None:
        """Further rounds, as many as there is time for."""
        order = [entry for entry in self.entries if not entry.failure]
        shuffle = random.Random(0).shuffle
        for done in range(1, self.budget.most):
            if self.left < max(self.budget.seconds / 2, self._length(order)):
                order = [entry for entry in order if entry.name == entry.computes]
            if self.left < self._length(order):
                return
            shuffle(order)
            for entry in list(order):
                self.say(f"round {done + 1}: {entry.name}")
                self._play_one(entry, order)

    def _length(self, order: list[Entry]) -> float:
        """Seconds of a round."""
        return sum(self.turns[entry.name] for entry in order)

    def _play_one(self, entry: Entry, order: list[Entry]) -> None:
        try:
            entry.seconds.append(self._call(self.explain[entry.name])[0])
        except Exception as fault:
            entry.failure, entry.seconds = first_line(fault), []
            order.remove(entry)
        gc.collect()


def _deviation(found: Tensor, ours: Tensor | None) -> float | None:
    if ours is None:
        return None
    return float((found - ours).abs().max() / ours.abs().max())
