"""The sweeps of an explanation as one CUDA graph: recorded once, replayed for inputs like these.

To start a kernel takes the CPU several microseconds, which for small batches is longer than the
kernel runs. A recording starts all of them at once. It reads tensors of its own, into which the
inputs are copied, and writes where it wrote when it was made, from where results are copied.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from relprop.attribution.explanation import Sent, Tensors
from relprop.errors import CaptureError, InvalidInputError
from relprop.graph.constants import Snapshot

MOST = 8
"""Recordings of one method that are kept: each holds the memory of a whole explanation."""

Replay = Callable[[], None]


@dataclass(frozen=True)
class Sweeps:
    """What is recorded.

    Attributes:
        kind: equal for explanations by the same steps, whatever their inputs.
        constants: the model's weights as they are now.
        output: the model's output, for the tensors that it takes.
        explain: what `output` and the passes back come to, for these tensors, and what to send back
            for each target. The CPU must wait for nothing in it.
    """

    kind: Hashable
    constants: Snapshot
    output: Callable[[Tensors], Tensor]
    explain: Callable[[Tensors, Sequence[Tensor]], list[Sent]]


class Recorder(Protocol):
    """What makes recordings."""

    def record(self, compute: Callable[[], list[Sent]]) -> tuple[list[Sent], Replay]:
        """What `compute` returned, and how to compute that again into the same tensors."""


class CudaRecorder:
    """By `torch.cuda.CUDAGraph`."""

    def record(self, compute: Callable[[], list[Sent]]) -> tuple[list[Sent], Replay]:
        """Run once beside the current stream, for what is only made once; then record."""
        aside, current = torch.cuda.Stream(), torch.cuda.current_stream()
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            compute()
        current.wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                found = compute()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).strip().split("\n")[0]
            raise CaptureError(
                f"the explanation could not be recorded as a CUDA graph: {reason}; leave out "
                "cuda_graph"
            ) from error
        return found, graph.replay


@dataclass
class Recording:
    """One recording, and what it reads and writes.

    Attributes:
        sweeps: what was recorded; it holds on to the weights.
        versions: how often each weight had changed.
        arguments: the model's tensors, and what is sent back; to be written to.
        found: results of the last replay.
        replay: computes them.
        done: when they had last been read, on whatever stream.
    """

    sweeps: Sweeps
    versions: tuple[int, ...]
    arguments: Tensors
    found: list[Sent]
    replay: Replay
    done: torch.cuda.Event | None = None

    def run(self, arguments: Sequence[Tensor]) -> list[Sent]:
        """What it gives for other arguments, in memory of its own."""
        on_gpu = arguments[0].is_cuda
        if self.done is not None:
            torch.cuda.current_stream().wait_event(self.done)
        for own, given in zip(self.arguments, arguments, strict=True):
            own.copy_(given)
        self.replay()
        copies = [one.copied() for one in self.found]
        if on_gpu:
            self.done = torch.cuda.Event()
            self.done.record()
        return copies


@dataclass
class Recordings:
    """The last recordings of one method, by what each is good for."""

    recorder: Recorder = field(default_factory=CudaRecorder)
    _made: dict[Hashable, Recording] = field(default_factory=dict)
    _outputs: dict[Hashable, Tensor] = field(default_factory=dict)
    #: Held from when a recording's arguments are written until its results are copied.
    _in_use: Any = field(default_factory=threading.Lock)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy makes recordings of its own."""
        return type(self), (self.recorder,)

    def explain(
        self,
        sweeps: Sweeps,
        tensors: Tensors,
        seeds_of: Callable[[Tensor], tuple[list[Tensor], bool]],
    ) -> tuple[list[Sent], bool]:
        """What `sweeps.explain` gives for the model's tensors, and whether there are many targets.

        `seeds_of` says what to send back, from a tensor like the output.
        """
        with self._in_use, torch.cuda.device_of(tensors[0]):
            kind = (sweeps.kind, tuple(map(_form, tensors)), _switches())
            each, many = seeds_of(self._output_like(kind, sweeps, tensors))
            arguments = (*tensors, *each)
            return self._recording(kind, sweeps, arguments, len(each)).run(arguments), many

    def _output_like(self, kind: Hashable, sweeps: Sweeps, tensors: Tensors) -> Tensor:
        """A tensor in the form of the output, without its values."""
        if kind not in self._outputs:
            self._outputs[kind] = torch.empty_like(sweeps.output(tensors))
            _forget_first(self._outputs)
        return self._outputs[kind]

    def _recording(
        self, kind: Hashable, sweeps: Sweeps, arguments: Tensors, targets: int
    ) -> Recording:
        """The recording for arguments like these, which may have to be made."""
        versions = sweeps.constants.versions()
        one = self._made.pop((kind, targets), None)
        if one is None or one.versions != versions:
            one = None  # let go of the old one's memory before the new one takes its own
            own = tuple(_own(argument) for argument in arguments)
            inputs, seeds = own[: len(own) - targets], own[len(own) - targets :]
            found, replay = self.recorder.record(lambda: sweeps.explain(inputs, seeds))
            one = Recording(sweeps, versions, own, found, replay)
        self._made[kind, targets] = one
        _forget_first(self._made)
        return one


def require_cuda(tensors: Sequence[Tensor], create_graph: bool) -> None:
    """Whether there can be a CUDA graph of what such inputs need.

    Raises:
        InvalidInputError: the inputs are not on a GPU, or gradients of the explanation are asked
            for.
    """
    if create_graph:
        raise InvalidInputError(
            "cuda_graph must be False with create_graph=True, as a recording has no gradients"
        )
    device = tensors[0].device
    if device.type != "cuda":
        raise InvalidInputError(
            f"cuda_graph needs CUDA inputs, got {device}: leave it out, or move model and inputs "
            "to a GPU"
        )


def _own(t: Tensor) -> Tensor:
    """A copy in the same order."""
    return torch.empty_like(t).copy_(t)


def _form(t: Tensor) -> Hashable:
    return t.shape, t.stride(), t.dtype, t.device


def _switches() -> Hashable:
    """torch's own switches that change which kernels run."""
    backends: Any = torch.backends
    return (
        backends.cuda.matmul.fp32_precision,
        backends.cudnn.conv.fp32_precision,
        backends.cudnn.enabled,
        backends.cudnn.benchmark,
        backends.cudnn.deterministic,
        torch.are_deterministic_algorithms_enabled(),
    )


def _forget_first(kept: dict[Hashable, Any]) -> None:
    """No more than so many: the one that has waited longest goes."""
    if len(kept) > MOST:
        del kept[next(iter(kept))]
