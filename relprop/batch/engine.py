"""Explaining batches: the interface of what does it, and the one that does it in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from relprop.attribution.arguments import as_bytes
from relprop.attribution.deeplift import DeepLift
from relprop.attribution.gradient import InputXGradient
from relprop.attribution.integrated_gradients import IntegratedGradients
from relprop.attribution.lrp import LRP
from relprop.attribution.taylor import Taylor
from relprop.attribution.tiled import Tiled
from relprop.batch.items import Batch, Explained, Item, Row, Shape
from relprop.errors import InvalidInputError, InvalidTypeError, RelpropError
from relprop.graph.capture import evaluating
from relprop.graph.outputs import choose_output

Method = LRP | InputXGradient | DeepLift | IntegratedGradients | Taylor
"""What has a sum for its relevance to reach."""
SHORTFALL: dict[type[Method], int] = {
    LRP: 1,
    InputXGradient: 1,
    DeepLift: -1,
    IntegratedGradients: -1,
    Taylor: -1,
}
"""Whether a method's delta is what the sum lacks (1), or what it has too much (-1)."""
UNBOUNDED = 2**62
COPIES = 6
"""How many times a batch's inputs may be in memory beside an explanation's activations: read ahead
for two batches more, and as relevance, three times until it is written."""
TargetOf = Callable[[Item, Tensor], int]
"""The class to explain for an item, of a model whose outputs for it are the tensor, shape (K,)."""


class ModelFailedError(RelpropError, RuntimeError):
    """The model raises an error, or does not answer with one score a class."""


class Engine(Protocol):
    """What explains batches: in this process, or wherever else."""

    def batch_size(self, example: Tensor) -> int:
        """How many examples like this one, shape (C, H, W), go together."""
        ...

    def explain(self, batches: Iterable[Batch]) -> Iterator[Explained]:
        """Every batch explained, in whatever order; faults of items are in their rows.

        Raises `RelpropError` where no other item would be spared.
        """
        ...


def asked_or_likeliest(item: Item, outputs: Tensor) -> int:
    """The item's own target, or else the class with the greatest output.

    Raises:
        InvalidInputError: the target is no class of the model.
    """
    if item.target is None:
        return int(outputs.argmax())
    if not item.target.isdecimal() or int(item.target) >= len(outputs):
        raise InvalidInputError(
            f"target must be a number from 0 to {len(outputs) - 1}; got {item.target!r}"
        )
    return int(item.target)


class LocalEngine:
    """Explains batches one after another, in this process.

    Args:
        attributor: a method whose relevance has a sum to reach: `LRP`, `DeepTaylor`, `DeepLift`,
            `InputXGradient`, `IntegratedGradients` or `Taylor`.
        arguments: what its `attribute` takes besides inputs and target: `{"baselines": "blur"}`.
        target_of: which class to explain for an item.
        batch_size: how many examples go together; None for as many as fit `memory_budget`.
        memory_budget: bytes, a number or such as `"2GiB"`, for activations, inputs and relevance.
        device: where the model computes.
        fatal: faults that end the work if they meet an item before any was explained.

    Raises:
        InvalidInputError, InvalidTypeError: an argument is none of the above.
    """

    def __init__(
        self,
        attributor: Method,
        arguments: Mapping[str, Any] | None = None,
        *,
        target_of: TargetOf = asked_or_likeliest,
        batch_size: int | None = None,
        memory_budget: int | str = "1GiB",
        device: torch.device | str = "cpu",
        fatal: tuple[type[RelpropError], ...] = (),
    ) -> None:
        self._attributor = attributor
        self._sign = _sign(attributor)
        self._arguments = dict(arguments or {})
        self._target_of = target_of
        if batch_size is not None and batch_size < 1:
            raise InvalidInputError(f"batch_size must be at least 1; got {batch_size}")
        self._batch_size = batch_size
        self._budget = as_bytes(memory_budget)
        self._device = torch.device(device)
        self._fatal = fatal
        self._succeeded = False
        self._answered: set[Shape] = set()
        model = attributor.model
        self._module = model.module() if isinstance(model, ExportedProgram) else model

    def batch_size(self, example: Tensor) -> int:
        """How many examples like this one fit the budget, by what all activations take.

        At least one; and one for what the method cannot be estimated on, which explaining it will
        then say.
        """
        if self._batch_size is not None:
            return self._batch_size
        if not isinstance(self._attributor, Tiled):
            return 1
        finite = example.nan_to_num(0.0, 0.0, 0.0)[None].to(self._device)
        try:
            activations = self._attributor.tiling(finite, UNBOUNDED).untiled
        except RelpropError:
            return 1
        return max(1, self._budget // (activations + COPIES * example.nbytes))

    def explain(self, batches: Iterable[Batch]) -> Iterator[Explained]:
        """Every batch explained, in order. Where one fails, its items are tried one by one."""
        for batch in batches:
            yield self._explained(batch)

    def _explained(self, batch: Batch) -> Explained:
        try:
            found = self._attempt(batch)
        except (RelpropError, torch.OutOfMemoryError) as fault:
            if len(batch.items) > 1:
                return _joined([self._explained(one) for one in _singly(batch)], batch.size)
            if isinstance(fault, self._fatal) and not self._succeeded:
                raise
            item = batch.items[0]
            said = str(fault) if isinstance(fault, RelpropError) else "the device has no memory"
            return Explained.failed(item, f"{item.name}: {said}")
        self._succeeded = True
        return found

    def _attempt(self, batch: Batch) -> Explained:
        """The batch explained as a whole, by one attribution, whose outputs say what to explain."""
        inputs = batch.inputs.to(self._device)
        self._ask(inputs)
        predictions: list[int] = []
        targets: list[int] = []

        def choose(outputs: Tensor) -> list[int]:
            rows = _scores(outputs, len(inputs)).cpu()
            predictions[:] = rows.argmax(1).tolist()
            targets[:] = [self._target_of(*pair) for pair in zip(batch.items, rows, strict=True)]
            return targets

        start = time.perf_counter()
        relevance, delta = self._attributor.attribute(
            inputs, target=choose, return_convergence_delta=True, **self._arguments
        )
        sums = relevance.flatten(1).double().sum(1).tolist()
        shortfalls = (self._sign * delta.double()).tolist()
        written = _as_array(relevance)
        seconds = (time.perf_counter() - start) / len(batch.items)
        shape = tuple(batch.inputs.shape[1:])
        columns = zip(batch.items, predictions, targets, sums, shortfalls, strict=True)
        rows = tuple(
            Row(item.index, item.name, guess, target, total + rest, total, rest, seconds, "", shape)
            for item, guess, target, total, rest in columns
        )
        return Explained(rows, written, batch.size)

    def _ask(self, inputs: Tensor) -> None:
        """Whether the model itself takes inputs of this shape, which is tried once.

        It is read as a graph then, so that what a model costs once is not among the seconds.
        """
        shape = tuple(inputs.shape)
        if shape in self._answered:
            return
        try:
            with torch.no_grad(), evaluating(self._module):
                returned = self._module(inputs)
        except torch.OutOfMemoryError:
            raise
        except Exception as fault:  # a user's model may raise anything
            said = str(fault).strip().partition("\n")[0]
            raise ModelFailedError(
                f"the model failed on an input of shape {shape}: {type(fault).__name__}: {said}"
            ) from fault
        _scores(choose_output(returned, self._attributor.output), len(inputs))
        self._attributor.prepare(inputs)
        self._answered.add(shape)


def _scores(outputs: Tensor, count: int) -> Tensor:
    """The model's outputs, shape (N, K), if that is what they are."""
    if outputs.dim() != 2 or len(outputs) != count:
        raise ModelFailedError(
            "the model's output must be one score a class, shape (N, classes), not shape "
            f"{tuple(outputs.shape)}"
        )
    return outputs


def _sign(attributor: object) -> int:
    for kind, sign in SHORTFALL.items():
        if isinstance(attributor, kind):
            return sign
    names = ", ".join(kind.__name__ for kind in SHORTFALL)
    raise InvalidTypeError(
        f"attributor must be a method whose relevance has a sum to reach, one of {names}; "
        f"got {type(attributor).__name__}"
    )


def _as_array(relevance: Tensor) -> np.ndarray[Any, Any]:
    """The same in memory that others may keep; numpy has no bfloat16."""
    relevance = relevance.detach().cpu()
    return (relevance.float() if relevance.dtype == torch.bfloat16 else relevance).numpy()


def _singly(batch: Batch) -> Iterator[Batch]:
    for position, item in enumerate(batch.items):
        yield Batch((item,), batch.inputs[position : position + 1], batch.size)


def _joined(parts: Sequence[Explained], size: int) -> Explained:
    rows = tuple(row for part in parts for row in part.rows)
    found = [part.relevance for part in parts if part.done]
    return Explained(rows, np.concatenate(found) if found else np.empty(0), size)
