"""Rounds: all that are compared take turns, in another order every time, until time is up."""

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
        seconds: round by round.
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
        seconds: for everything, warming up included. Ours and the gradient get a round whatever it
            takes; peers that would not fit are not run.
        most: rounds, however little time they take.
        expected: seconds of a call by name, where something is known of it.
    """

    seconds: float
    most: int = 30
    expected: dict[str, float] = field(default_factory=dict)


def run(
    subject: Subject, taking_part: Sequence[Contestant], budget: Budget, say: Say
) -> list[Entry]:
    """Warm up, then time round by round; what fails takes no further part.

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
        self.entries: list[Entry] = []
        self.explain: dict[str, Explain] = {}
        self.turns: dict[str, float] = {}  # seconds that each takes of a round, as far as is known
        self.results: dict[str, Tensor] = {}
        self.long = False
        self.begun = time.perf_counter()

    @property
    def left(self) -> float:
        """Seconds of the budget."""
        return self.budget.seconds - (time.perf_counter() - self.begun)

    def enter(self, name: str, computes: str, prepare: Prepare) -> None:
        """Let it explain once, unless that would take too long."""
        entry = Entry(name, computes)
        self.entries.append(entry)
        call = self.budget.expected.get(name, 0.0)
        needed = call + self._turn(call) + sum(self.turns.values())
        if name not in (computes, GRADIENT) and call and needed > self.left:
            entry.failure = self._too_long(f"was forecast to take {call:.0f} s")
            return
        self.say(f"warming up {name}")
        try:
            self._warm_up(entry, prepare)
        except Exception as fault:  # of whatever type: it is the finding
            entry.failure = first_line(fault)
        gc.collect()

    def _warm_up(self, entry: Entry, prepare: Prepare) -> None:
        explain = prepare(self.subject.model)
        seconds, found = _timed(explain, self.subject)
        if entry.name == GRADIENT:
            self.long = seconds >= LONG
        if not self.long:  # most of the first call may have gone into preparing
            seconds, found = _timed(explain, self.subject)
        entry.deviation = _deviation(found, self.results.get(entry.computes))
        self.results.setdefault(entry.computes, found)
        self.explain[entry.name] = explain
        self.turns[entry.name] = self._turn(seconds)

    def _turn(self, call: float) -> float:
        """Seconds in a round of what takes so many a call."""
        return call if self.long else 2 * call

    def play(self) -> None:
        """Round after round, without the slowest peers if not even one would fit with them."""
        order = [entry for entry in self.entries if not entry.failure]
        self._leave_out_slowest(order)
        shuffle = random.Random(0).shuffle
        for done in range(self.budget.most):
            shuffle(order)
            begin = time.perf_counter()
            for entry in list(order):
                self.say(f"round {done + 1}: {entry.name}")
                self._play_one(entry, order)
            if self.left < time.perf_counter() - begin:
                return

    def _leave_out_slowest(self, order: list[Entry]) -> None:
        peers = [entry for entry in order if entry.name not in (entry.computes, GRADIENT)]
        for entry in sorted(peers, key=lambda peer: -self.turns[peer.name]):
            if sum(self.turns.values()) <= self.left:
                return
            entry.failure = self._too_long(f"took {self.turns.pop(entry.name):.0f} s once")
            order.remove(entry)

    def _too_long(self, call: str) -> str:
        return f"{NOT_RUN}it {call}, and the case may take {self.budget.seconds:.0f} s in all"

    def _play_one(self, entry: Entry, order: list[Entry]) -> None:
        """A call that is not timed, for the last one left caches and heap as it likes, and one."""
        explain = self.explain[entry.name]
        try:
            if not self.long:
                explain(self.subject.x, self.subject.target)
            entry.seconds.append(_timed(explain, self.subject)[0])
        except Exception as fault:
            entry.failure, entry.seconds = first_line(fault), []
            order.remove(entry)
        gc.collect()


def _timed(explain: Explain, subject: Subject) -> tuple[float, Tensor]:
    begin = time.perf_counter()
    found = explain(subject.x, subject.target)
    return time.perf_counter() - begin, found


def _deviation(found: Tensor, ours: Tensor | None) -> float | None:
    if ours is None:
        return None
    return float((found - ours).abs().max() / ours.abs().max())
