"""A data set at work: every item explained, the outcome on standard output, errors on the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape
from torch import Tensor
from torch.export import ExportedProgram

from relprop import LRP, DeepLift
from relprop.attribution.arguments import as_bytes, first_parameter
from relprop.batch import (
    Explained,
    Item,
    LocalEngine,
    ModelFailedError,
    Output,
    Row,
    Source,
    check_summary,
    explain_all,
    open_output,
    open_source,
    write_summary,
)
from relprop.batch.output import cannot_write
from relprop.cli.classes import UnknownClassError
from relprop.cli.endings import MODEL_LIMITS
from relprop.cli.explaining import Plan, Subject, make_deep_lift, make_lrp
from relprop.cli.images import read_picture
from relprop.cli.loading import Model
from relprop.cli.presenting import results_console
from relprop.cli.progress import RATE_AND_REST, ProgressLine
from relprop.errors import InvalidInputError
from relprop.storage.provenance import digest_of

FATAL = (ModelFailedError, UnknownClassError, *MODEL_LIMITS)
"""Faults that no other item of one shape would be spared: they end the command."""


@dataclass(frozen=True)
class BatchMethod:
    """How to make a method, which of the plan's settings it heeds, and what `attribute` takes."""

    make: Callable[[Subject, Plan], LRP | DeepLift]
    settings: tuple[str, ...]
    arguments: Callable[[Plan], Mapping[str, Any]]


BATCH_METHODS = {
    "lrp": BatchMethod(make_lrp, ("composite", "bias", "unsupported"), lambda plan: {}),
    "deep-lift": BatchMethod(
        make_deep_lift,
        ("rule", "max_pool", "unsupported"),
        lambda plan: {"baselines": plan.baseline},
    ),
}


class DataSetTask:
    """Explain a data set with one method of a plan.

    Args:
        subject: the model and what it expects.
        model: what the user calls the model.
        plan: the method, and how.
        target: the class to explain where an item has none of its own: "auto" for the likeliest,
            a number, or a name.
        whole: whether pictures keep their size.
        batch_size: how many items go together; None for as many as fit `memory_budget`.
        memory_budget: bytes, as "2GiB".
        readers: how many threads read pictures.
    """

    def __init__(
        self,
        subject: Subject,
        model: str,
        plan: Plan,
        *,
        target: str,
        whole: bool,
        batch_size: int | None,
        memory_budget: str,
        readers: int,
    ) -> None:
        as_bytes(memory_budget)
        expected = subject.preprocessing
        self._preprocessing = replace(expected, size=None) if whole else expected
        self._subject = subject
        self._model = model
        self._method = BATCH_METHODS[plan.methods[0]]
        self._attributor = self._method.make(subject, plan)
        self._plan = plan
        self._target = target
        self._batch_size = batch_size
        self._memory_budget = memory_budget
        self._readers = readers
        parameter = first_parameter(subject.model)
        self._dtype = torch.float32 if parameter is None else parameter.dtype
        self._progress = ProgressLine(RATE_AND_REST)

    def explain(
        self, paths: Sequence[Path], output: Path, summary: Path, resume: bool
    ) -> tuple[int, int]:
        """How many items failed, each with a sentence on standard error; and how many there are.

        Raises:
            RelpropError: something is missing, in the way, or cannot be written, or no item could
                be explained for the same cause.
        """
        _check_places(paths, output, summary, resume)
        size, channels = self._preprocessing.size, len(self._preprocessing.mean)
        shape = None if size is None else (channels, size, size)
        source = open_source(paths, self._decode, shape, self._dtype)
        batching = {"batch_size": self._batch_size, "memory_budget": self._memory_budget}
        with open_output(output, source, self._made(paths), batching, resume) as opened:
            before = len(opened.explained)
            start = time.perf_counter()
            rows = self._explain_all(source, opened)
            seconds = time.perf_counter() - start
        try:
            write_summary(rows, summary)
        except OSError as fault:
            raise cannot_write(summary, fault) from fault
        failed = sum(bool(row.error) for row in rows)
        now = len(rows) - failed - before
        console = results_console()
        console.print(
            f"explained {before + now} of {len(rows)} items, {now} of them now, "
            f"{now / seconds:.3g} a second"
        )
        places = [escape(str(path)) for path in (output, summary)]
        console.print("[dim]wrote[/dim] {} [dim]and[/dim] {}".format(*places), soft_wrap=True)
        return failed, len(rows)

    def _explain_all(self, source: Source, output: Output) -> list[Row]:
        done = len(output.explained)
        engine = LocalEngine(
            self._attributor,
            self._method.arguments(self._plan),
            target_of=self._target_of,
            device=self._subject.device,
            fatal=FATAL if source.shape is not None and not done else (),
            batch_size=self._batch_size,
            memory_budget=self._memory_budget,
        )

        def watch(found: Explained) -> None:
            nonlocal done
            done += len(found.rows)
            for row in found.rows:
                if row.error:
                    self._progress.say_error(row.error)
            self._progress.at(done, found.rows[-1].item)

        with self._progress.shown(len(source.items), done):
            return explain_all(source, engine, output, watch, self._readers)

    def _decode(self, path: Path) -> Tensor:
        crop = self._preprocessing.crop(read_picture(path))
        return self._preprocessing.tensor(crop)[0].to(self._dtype)

    def _target_of(self, item: Item, outputs: Tensor) -> int:
        wanted = item.target or self._target
        if wanted == "auto":
            return int(outputs.argmax())
        try:
            return self._subject.classes.find(wanted, len(outputs))
        except UnknownClassError as fault:
            if item.target is None:
                raise
            raise InvalidInputError(str(fault)) from fault

    def _made(self, paths: Sequence[Path]) -> dict[str, Any]:
        """What the output's attributes say about how it was made."""
        plan, expected = self._plan, self._preprocessing
        options = {name: getattr(plan, name) for name in self._method.settings}
        if "baselines" in self._method.arguments(plan):
            options["baseline"] = (
                plan.baseline
                if isinstance(plan.baseline, str)
                else f"picture {digest_of({'inputs': plan.baseline})}"
            )
        return {
            "model": self._model,
            "weights_sha256": digest_of(_weights(self._subject.model)),
            "method": plan.methods[0],
            "options": {**options, "target": self._target},
            "preprocessing": {
                "size": expected.size,
                "mean": list(expected.mean),
                "std": list(expected.std),
            },
            "source": [str(path.resolve()) for path in paths],
            "device": str(self._subject.device),
        }


def _weights(model: Model) -> Mapping[str, Tensor]:
    return model.state_dict if isinstance(model, ExportedProgram) else model.state_dict()


def _check_places(paths: Sequence[Path], output: Path, summary: Path, resume: bool) -> None:
    """Refuse what could not be written, or would be lost, before anything is explained."""
    if not output.parent.is_dir():
        raise InvalidInputError(f"{output}: there is no folder {output.parent}")
    check_summary(summary)
    if summary.resolve() in [path.resolve() for path in (*paths, output)]:
        raise InvalidInputError(
            f"{summary}: cannot be the summary and a source or the output as well; name another "
            "--summary"
        )
    if summary.exists() and not (resume and output.exists()):
        raise InvalidInputError(f"{summary}: exists already; delete it, or name another --summary")
