"""Explanations that share work: of many targets of an example, and against many baselines.

Whatever is common to them is done once: the input is swept forward once for all targets, and each
baseline once for all examples. Others call what explains one target, one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

import relprop
from benchmarks.cost import memory, networks
from benchmarks.cost.fresh import ENVIRONMENT, Ended, Say, in_fresh_process
from benchmarks.cost.methods import BY_NAME, Explain, Prepare
from benchmarks.cost.networks import Case, Subject
from benchmarks.cost.peers import PEERS, own_copy
from benchmarks.cost.rounds import Budget, Contestant, Entry, run
from relprop.attribution.references import Distribution

RESCALE = "DeepLIFT Rescale"


@dataclass(frozen=True)
class Task:
    """What is explained.

    Attributes:
        network: a name in `NETWORKS`. method: one of ours.
        examples: pictures. targets: of each of them. baselines: for all of them; 0 for the method's
            own way.
        budget: bytes that explaining may take, where there are baselines.
    """

    network: str
    method: str
    examples: int = 1
    targets: int = 1
    baselines: int = 0
    budget: int = 2**30

    def __str__(self) -> str:
        compared = f" against {self.baselines} baselines" if self.baselines else ""
        targets = f"{self.targets} target{'s'[: self.targets != 1]} of " if not compared else ""
        examples = f"{self.examples} example{'s'[: self.examples != 1]}"
        return f"{self.network}, {self.method}: {targets}{examples}{compared}"

    @property
    def case(self) -> Case:
        """The network and its input."""
        return Case(self.network, self.examples)

    @property
    def goal(self) -> float:
        """In G of the batch, of which half is the way forward: one each way for what differs."""
        if self.baselines:
            return (1 + self.baselines + self.baselines / self.examples) / 2
        return (1 + self.targets) / 2

    @property
    def least(self) -> int:
        """Examples and baselines that have to be swept forward."""
        return self.examples + self.baselines


@dataclass(frozen=True)
class Several:
    """Ours or a peer's way to do it; see `rounds.Contestant`."""

    name: str
    computes: str
    prepare: Prepare


@dataclass
class Found:
    """What came of one task.

    Attributes:
        task: its fields.
        entries: as of a case of `timing`.
        swept: examples that went forward through the first convolution, by name.
        peak: bytes that ours take at their peak, where there is a budget.
        failure: why nothing was measured, if so.
    """

    task: dict[str, Any]
    entries: list[Entry] = field(default_factory=list)
    swept: dict[str, int] = field(default_factory=dict)
    peak: int = 0
    failure: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def contestants(task: Task) -> Iterator[Contestant]:
    """Ours, and the peers that compute the same."""
    if task.baselines:
        yield Several(task.method, task.method, lambda model: ours_against_many(model, task))
        yield Several(
            "captum DeepLiftShap", task.method, lambda model: captum_against_many(model, task)
        )
        return
    yield BY_NAME[task.method]
    for peer in PEERS:
        if peer.computes == task.method:
            yield Several(peer.name, task.method, one_after_the_other(peer.prepare))


def one_after_the_other(prepare: Prepare) -> Prepare:
    """What explains targets of shape (N, T), of what explains one for each example."""

    def prepare_all(model: nn.Module) -> Explain:
        explain = prepare(model)
        return lambda x, target: torch.stack([explain(x, t) for t in target.unbind(1)], 1)

    return prepare_all


def ours_against_many(model: nn.Module, task: Task) -> Explain:
    """The mean over all baselines, which are swept as many at a time as the budget allows."""
    attributor = relprop.DeepLift(model, "rescale")

    def explain(x: Tensor, target: Tensor) -> Tensor:
        baselines = Distribution(samples(task, x))
        found: Tensor = attributor.attribute(x, baselines, target, memory_budget=task.budget)
        return found

    return explain


def captum_against_many(model: nn.Module, task: Task) -> Explain:
    """captum pairs every example with every baseline."""
    import captum.attr

    attributor = captum.attr.DeepLiftShap(own_copy(model))

    def explain(x: Tensor, target: Tensor) -> Tensor:
        found: Tensor = attributor.attribute(x, samples(task, x), target)
        return found.detach()

    return explain


def samples(task: Task, x: Tensor) -> Tensor:
    """The baselines, the same every time: pictures without contrast, each of another brightness."""
    brightness = torch.linspace(networks.LOW, networks.HIGH, task.baselines, dtype=x.dtype)
    return brightness[:, None, None, None].expand(-1, *x.shape[1:]).contiguous()


FORWARD = (
    torch.ops.aten.convolution.default,
    torch.ops.relprop.winograd_convolution.default,
    torch.ops.relprop.pointwise_convolution.default,
)
"""What a first layer may come to."""


class FirstLayer(TorchDispatchMode):
    """Counts the examples that go forward through the first convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels, self.examples = channels, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        real = func in FORWARD and not isinstance(args[0], FakeTensor)
        if real and args[0].shape[1] == self.channels:
            self.examples += len(args[0])
        return func(*args, **(kwargs or {}))


def swept(contestant: Contestant, subject: Subject) -> int:
    """How many examples and baselines one call sweeps forward, the first call left aside."""
    explain = contestant.prepare(subject.model)
    explain(subject.x, subject.target)
    with FirstLayer(subject.x.shape[1]) as counter:
        explain(subject.x, subject.target)
    return counter.examples


def subject_of(task: Task, model: nn.Module) -> Subject:
    """The examples, each with its likeliest classes, shape (N, T); against baselines with one."""
    subject = networks.subject(model, task.examples, task.case.pixels)
    if task.baselines:
        return subject
    with torch.no_grad():
        return replace(subject, target=model(subject.x).topk(task.targets).indices)


def time_task(task: Task, budget: Budget, with_peers: bool, say: Say) -> dict[str, Any]:
    """Time one task, and count what is swept; to be called in a fresh process."""
    say("building")
    subject = subject_of(task, networks.build(task.network))
    taking_part = [c for c in contestants(task) if with_peers or c.name == c.computes]
    entries = run(subject, taking_part, budget, say)
    works = {entry.name for entry in entries if not entry.failure}
    say("counting sweeps")
    counts = {c.name: swept(c, subject.tiny) for c in taking_part if c.name in works}
    return Found(asdict(task), entries, counts).as_dict()


def peak(task: Task, _: Say) -> int:
    """Bytes at the peak of ours; to be called in a fresh process."""
    model = networks.build(task.network)
    ours = next(iter(contestants(task)))
    subject, tiny = subject_of(task, model), networks.subject(model, 1, networks.TINY)
    return memory.taken(model, ours.prepare, subject, tiny)["rise"]


def measure(task: Task, budget: Budget, with_peers: bool, say: Say) -> dict[str, Any]:
    """Time, sweeps, and against baselines the peak of memory."""
    try:
        found: dict[str, Any] = in_fresh_process(time_task, task, budget, with_peers, say=say)
        if task.baselines:
            say("memory")
            found["peak"] = in_fresh_process(peak, task, environment=ENVIRONMENT)
    except Ended as ended:
        return Found(asdict(task), failure=str(ended)).as_dict()
    return found


def targets(network: str, method: str, counts: Sequence[int]) -> tuple[Task, ...]:
    """One example, and so many of its classes."""
    return tuple(Task(network, method, targets=count) for count in counts)


QUICK = (
    *targets("EfficientNet-Lite0", "LRP epsilon", (1, 4, 10)),
    *targets("VGG16", "LRP epsilon", (1, 4)),
    Task("EfficientNet-Lite0", RESCALE, examples=4, baselines=8),
    Task("VGG16", RESCALE, examples=2, baselines=4),
)
FULL = (
    *targets("EfficientNet-Lite0", "LRP epsilon", (1, 4, 10)),
    *targets("ResNet50", "LRP epsilon_plus", (1, 4, 10)),
    *targets("VGG16", "LRP epsilon", (1, 4, 10)),
    *targets("VGG16", RESCALE, (1, 4, 10)),
    Task("EfficientNet-Lite0", RESCALE, examples=4, baselines=8),
    Task("EfficientNet-Lite0", RESCALE, examples=8, baselines=16),
    Task("VGG16", RESCALE, examples=2, baselines=4),
    Task("VGG16", RESCALE, examples=4, baselines=8),
)
SECONDS = {False: 60.0, True: 120.0}
"""For a task, where not everything is measured and where it is."""
