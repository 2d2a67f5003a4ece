"""Explanations of whole networks beside a gradient of the same model, and beside other packages.

All take turns, round by round; what counts is the time of a method over that of the gradient in the
same round.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import relprop
from benchmarks.gpu import architectures, report
from benchmarks.gpu.clock import Clock, first_line
from benchmarks.gpu.precision import PRECISIONS

GRADIENT = "gradient"
IN_GRAPH = ", CUDA graph"
MOST_ROUNDS = 15
FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
Explain = Callable[[Tensor, Tensor], Tensor]
Prepare = Callable[[], Explain]


@dataclass(frozen=True)
class Case:
    """A network, and the pictures that it is to explain; `pixels` along each side."""

    network: str
    batch: int
    precision: str
    order: str = "channels-last"
    pixels: int = 224

    def __str__(self) -> str:
        return f"{self.network}, {self.batch} x {self.pixels}², {self.precision}, {self.order}"


CASES: tuple[Case, ...] = (
    *(Case(network, 32, "TF32") for network in architectures.PLAIN),
    *(Case(network, 1, "TF32") for network in architectures.PLAIN),
    *(Case(network, 32, "bfloat16") for network in architectures.PLAIN),
    *(Case(network, 256, "TF32") for network in architectures.PLAIN),
    *(Case(network, 256, "bfloat16") for network in architectures.PLAIN),
    *(Case(network, 32, "TF32", "contiguous") for network in architectures.PLAIN),
    *(Case(network, 32, "float32") for network in architectures.PLAIN),
)
"""What matters most comes first, should time run out."""
SMALL = (Case(architectures.SMALL, 2, "float32", pixels=32),)
"""For a CPU, only to see that it runs."""


@dataclass(frozen=True)
class Method:
    """One of ours; `name` is that of the result, which is what peers compute as well."""

    name: str
    make: Callable[[nn.Module], Any]
    baseline: bool = False

    def prepare(self, model: nn.Module, **options: Any) -> Explain:
        """What explains a model."""
        attributor = self.make(model)
        if self.baseline:
            return lambda x, target: attributor.attribute(
                x, torch.zeros_like(x[:1]), target, **options
            )
        return lambda x, target: attributor.attribute(x, target, **options)


METHODS: tuple[Method, ...] = (
    Method("LRP epsilon", lambda model: relprop.LRP(model, "epsilon")),
    Method("LRP epsilon_plus", lambda model: relprop.LRP(model, "epsilon_plus")),
    Method("LRP epsilon_plus_flat", lambda model: relprop.LRP(model, "epsilon_plus_flat")),
    Method("LRP epsilon_alpha2_beta1", lambda model: relprop.LRP(model, "epsilon_alpha2_beta1")),
    Method("DeepLIFT Rescale", lambda model: relprop.DeepLift(model, "rescale"), True),
    Method("DeepLIFT RevealCancel", lambda model: relprop.DeepLift(model, "reveal_cancel"), True),
)


@dataclass
class Entry:
    """What one method took.

    Attributes:
        name: the method's, ours or a peer's. computes: which result it gives, by the name of ours.
        seconds: round by round.
        peak: bytes of the GPU's memory beyond what was taken before.
        deviation: of a peer's result from ours, or of a graph's from the one without; the largest
            over the largest of ours.
        failure: what was raised, if something was.
    """

    name: str
    computes: str
    seconds: list[float] = field(default_factory=list)
    peak: int = 0
    deviation: float | None = None
    failure: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it is one of our methods."""
        return self.name.removesuffix(IN_GRAPH) == self.computes


def gradient(model: nn.Module) -> Explain:
    """The unit: one forward pass, one pass back to the input."""

    def explain(x: Tensor, target: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        (found,) = torch.autograd.grad(model(x).gather(1, target[:, None]).sum(), x)
        return found

    return explain


def contestants(model: nn.Module, case: Case, gpu: bool) -> Iterator[tuple[Entry, Prepare]]:
    """The gradient, ours, and the peers that are installed; each with what prepares it."""
    yield Entry(GRADIENT, GRADIENT), lambda: gradient(model)
    for method in METHODS:
        yield Entry(method.name, method.name), lambda m=method: m.prepare(model)
        if gpu and case.batch == 1:
            name = method.name + IN_GRAPH
            yield Entry(name, method.name), lambda m=method: m.prepare(model, cuda_graph=True)
    names = {method.name for method in METHODS}
    for peer in peers():
        if peer.computes in names:
            yield Entry(peer.name, peer.computes), lambda p=peer: p.prepare(model)


def peers() -> Sequence[Any]:
    """Other packages' methods, where what describes them can be imported."""
    try:
        from benchmarks.cost.peers import PEERS
    except ImportError:
        return ()
    return PEERS


def measure(case: Case, device: torch.device, seconds: float) -> list[Entry]:
    """All that take part, in as many rounds as fit into the seconds, but for one."""
    clock, precision = Clock(device), PRECISIONS[case.precision]
    with torch.device(device):
        model = architectures.build(case.network)
        pictures = torch.rand(case.batch, 3, case.pixels, case.pixels) * 4 - 2
    architectures.settle_batch_norm(model, pictures[:8])
    order = FORMATS[case.order]
    model, x = model.to(precision.dtype, memory_format=order), pictures.to(precision.dtype)
    x = x.contiguous(memory_format=order)
    with precision.switched():
        with torch.no_grad():
            target = model(x).argmax(1)
        return _Contest(clock, x, target).run(contestants(model, case, clock.is_gpu), seconds)


@dataclass
class _Contest:
    """Those that take part so far, on the same pictures."""

    clock: Clock
    x: Tensor
    target: Tensor
    explain: dict[str, Explain] = field(default_factory=dict)
    found: dict[str, Tensor] = field(default_factory=dict)

    def run(self, taking_part: Iterator[tuple[Entry, Prepare]], seconds: float) -> list[Entry]:
        """A first round of all, then whole rounds until time is up."""
        end, entries = time.monotonic() + seconds, list[Entry]()
        for entry, prepare in taking_part:
            entries.append(entry)
            self._guarded(entry, lambda e=entry, p=prepare: self._first(e, p))
        for _ in range(MOST_ROUNDS):
            if time.monotonic() > end and all(len(e.seconds) for e in entries if not e.failure):
                break
            for entry in entries:
                if not entry.failure:
                    self._guarded(entry, lambda e=entry: self._again(e))
        return entries

    def _guarded(self, entry: Entry, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as fault:  # of whatever type: it is the finding
            entry.failure, entry.seconds = first_line(fault), []
            gc.collect()

    def _first(self, entry: Entry, prepare: Prepare) -> None:
        """Capture and warm up; then look at memory, and at the result."""
        explain = self.explain[entry.name] = prepare()
        explain(self.x, self.target)
        if self.clock.is_gpu:
            torch.cuda.reset_peak_memory_stats(self.clock.device)
        before = torch.cuda.memory_allocated(self.clock.device) if self.clock.is_gpu else 0
        found = explain(self.x, self.target).detach()
        if self.clock.is_gpu:
            entry.peak = torch.cuda.max_memory_allocated(self.clock.device) - before
        ours = self.found.setdefault(entry.computes, found)
        if ours is not found:
            entry.deviation = float((found - ours).abs().max() / ours.abs().max())

    def _again(self, entry: Entry) -> None:
        explain = self.explain[entry.name]
        entry.seconds.append(self.clock.alone(lambda: explain(self.x, self.target)))


def main() -> None:
    """Measure case by case, and write after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=120)
    given = parser.parse_args()
    device, found, failed = torch.device(given.device), list[dict[str, Any]](), list[str]()
    cases, end = CASES if device.type == "cuda" else SMALL, time.monotonic() + given.seconds
    for k, case in enumerate(cases):
        left = end - time.monotonic()
        entries, failure = list[Entry](), "" if left > 0 else "no time was left"
        if left > 0:
            try:
                entries = measure(case, device, left / (len(cases) - k))
            except Exception as fault:  # such as a network for which there is no memory
                failure = first_line(fault)
                failed.append(f"{case}: {failure}")
        failed += [f"{case}, {e.name}: {e.failure}" for e in entries if e.failure and e.is_ours]
        found.append({"case": str(case), "failure": failure, "entries": [*map(asdict, entries)]})
        report.save("networks", found, given.folder)
    if failed:
        raise SystemExit(f"{len(failed)} of ours failed, the first: {failed[0]}")
    print(f"{len(found)} cases")


if __name__ == "__main__":
    main()
