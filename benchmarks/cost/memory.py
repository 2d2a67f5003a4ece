"""Peak memory: each explanation in a process of its own, as a multiple of the gradient's.

Counted is by how much the peak of resident memory rises over what the process has when the model
and the input are there and a tiny input has been explained, so that libraries are loaded and
threads started. What is kept from one explanation to the next, like derived weights, is there by
then; it is measured, too, as what is held.
"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.cost import methods, networks
from benchmarks.cost.forecast import NOT_RUN
from benchmarks.cost.fresh import ENVIRONMENT, Ended, Say, in_fresh_process
from benchmarks.cost.methods import METHODS, Explain, Method, Prepare
from benchmarks.cost.networks import Case, Subject
from benchmarks.cost.peers import PEERS, Peer
from benchmarks.cost.rounds import GRADIENT
from benchmarks.cost.timing import contestants

PEAK_OF_KERNEL, PEAK_OF_RUSAGE = "VmHWM, reset before", "ru_maxrss, which cannot be reset"


@dataclass
class Memory:
    """What one explanation took.

    Attributes:
        case: its fields.
        name: of the method, ours, a peer's, or the gradient.
        computes: which result it gives, by the name of ours.
        rise: bytes at the peak, over what was there before.
        held: bytes that it holds between explanations.
        seconds: that it took.
        how: the peak was found.
        failure: why there is none, if so.
    """

    case: dict[str, Any]
    name: str
    computes: str
    rise: int = 0
    held: int = 0
    seconds: float = 0.0
    how: str = ""
    failure: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class Peers:
    """How long other packages may take.

    Attributes:
        seconds: for the case, after ours and the gradient, which are measured whatever they take.
        expected: seconds of an explanation by name, where something is known of it.
    """

    seconds: float
    expected: dict[str, float] = field(default_factory=dict)


def measure(case: Case, names: Sequence[str], peers: Peers | None, say: Say) -> Iterator[Memory]:
    """The gradient, our methods of these names, and their peers, the fastest first."""
    begun = time.monotonic()
    yield _one(case, GRADIENT, GRADIENT, say)
    starting = time.monotonic() - begun
    everyone = contestants(names)
    for method in everyone:
        if isinstance(method, Method):
            yield _one(case, method.name, method.computes, say)
    if peers is None:
        return
    begun = time.monotonic()
    others = [one for one in everyone if isinstance(one, Peer)]
    for peer in sorted(others, key=lambda one: peers.expected.get(one.name, 0.0)):
        expected = starting + peers.expected.get(peer.name, 0.0)
        if time.monotonic() - begun + expected <= peers.seconds:
            yield _one(case, peer.name, peer.computes, say)
            continue
        why = (
            f"{NOT_RUN}it was forecast to take {expected:.0f} s, and other packages may take "
            f"{peers.seconds:.0f} s in all"
        )
        yield Memory(case.as_dict(), peer.name, peer.computes, failure=why)


def _one(case: Case, name: str, computes: str, say: Say) -> Memory:
    say(name)
    try:
        figures = in_fresh_process(explain_once, case, name, environment=ENVIRONMENT)
    except Ended as ended:
        return Memory(case.as_dict(), name, computes, failure=str(ended))
    return Memory(case.as_dict(), name, computes, **figures)


def explain_once(case: Case, name: str, _: Say) -> dict[str, Any]:
    """What one explanation takes; to be called in a fresh process."""
    if case.threads:
        torch.set_num_threads(case.threads)
    model = networks.build(case.network)
    subject = networks.subject(model, case.batch, case.pixels)
    tiny = networks.subject(model, 1, networks.TINY)
    return taken(model, lambda model: prepare(name, model), subject, tiny)


def taken(model: nn.Module, prepare: Prepare, subject: Subject, tiny: Subject) -> dict[str, Any]:
    """What explaining the subject takes, after the tiny one has been explained."""
    methods.gradient(model)(tiny.x, tiny.target)
    bare = resident()
    explain = prepare(model)
    explain(tiny.x, tiny.target)
    before = resident()
    how = reset_peak()
    begin = time.monotonic()
    explain(subject.x, subject.target)
    seconds = time.monotonic() - begin
    rise, held = max(0, peak(how) - before), max(0, before - bare)
    return {"rise": rise, "held": held, "seconds": seconds, "how": how}


def prepare(name: str, model: nn.Module) -> Explain:
    """What explains the model, by the name of the method."""
    if name == GRADIENT:
        return methods.gradient(model)
    everyone: tuple[Method | Peer, ...] = (*METHODS, *PEERS)
    return next(one for one in everyone if one.name == name).prepare(model)


def resident() -> int:
    """Bytes that this process has in memory."""
    gc.collect()
    return _status("VmRSS")


def _status(name: str) -> int:
    """Bytes, from what the kernel says of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def reset_peak() -> str:
    """Let the peak begin with what is resident now; how it will be read."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return PEAK_OF_RUSAGE
    return PEAK_OF_KERNEL


def peak(how: str) -> int:
    """Bytes that it had at most since the peak was reset."""
    if how == PEAK_OF_KERNEL:
        return _status("VmHWM")
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
