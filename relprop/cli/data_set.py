"""A data set at work: every item explained, the outcome on standard output, errors on the other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape

from relprop.attribution.arguments import as_bytes, first_parameter
from relprop.batch import (
    Examples,
    Explained,
    ModelFailedError,
    Output,
    Pictures,
    Row,
    check_summary,
    explain_all,
    open_output,
    open_source,
    write_summary,
)
from relprop.batch.cluster import Cluster
from relprop.batch.output import cannot_write
from relprop.batch.ray_engine import RayEngine
from relprop.cli.classes import UnknownClassError
from relprop.cli.endings import MODEL_LIMITS
from relprop.cli.images import Decoder
from relprop.cli.presenting import results_console
from relprop.cli.progress import RATE_AND_REST, ProgressLine
from relprop.cli.recipe import BATCH_METHODS, Recipe, Remake, weights_digest
from relprop.errors import InvalidInputError
from relprop.storage.provenance import digest_of

FATAL = (ModelFailedError, UnknownClassError, *MODEL_LIMITS)
"""Faults that no other item of one shape would be spared: they end the command."""


class DataSetTask:
    """Explain a data set with one method of a plan.

    Args:
        recipe: the model, the method, and how.
        whole: whether pictures keep their size.
        readers: how many threads read pictures.
        cluster: where workers explain them; None for this process.
    """

    def __init__(
        self, recipe: Recipe, whole: bool, readers: int, cluster: Cluster | None = None
    ) -> None:
        as_bytes(recipe.memory_budget)
        self._recipe = recipe
        self._subject = recipe.subject()
        self._plan = recipe.planned(self._subject)
        self._readers = readers
        self._cluster = cluster
        expected = self._subject.preprocessing
        self._preprocessing = replace(expected, size=None) if whole else expected
        parameter = first_parameter(self._subject.model)
        self._dtype = torch.float32 if parameter is None else parameter.dtype
        self._weights = weights_digest(self._subject.model)
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
        decode = Decoder(self._preprocessing, self._dtype)
        source = open_source(paths, decode, shape, self._dtype)
        recipe = self._recipe
        batching = {"batch_size": recipe.batch_size, "memory_budget": recipe.memory_budget}
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

    def _explain_all(self, source: Pictures | Examples, output: Output) -> list[Row]:
        done = len(output.explained)
        fatal = FATAL if source.shape is not None and not done else ()
        engine = self._recipe.engine(self._subject, self._plan, fatal)

        def watch(found: Explained) -> None:
            nonlocal done
            done += len(found.rows)
            for row in found.rows:
                if row.error:
                    self._progress.say_error(row.error)
            self._progress.at(done, found.rows[-1].item)

        with self._progress.shown(len(source.items), done):
            if self._cluster is None:
                return explain_all(source, engine, output, watch, self._readers)
            remake = Remake(self._recipe, self._weights)
            return RayEngine(engine, remake, self._cluster, self._readers).explain_all(
                source, output, watch
            )

    def _made(self, paths: Sequence[Path]) -> dict[str, Any]:
        """What the output's attributes say about how it was made."""
        plan, expected = self._plan, self._preprocessing
        method = BATCH_METHODS[plan.methods[0]]
        options = {name: getattr(plan, name) for name in method.settings}
        if "baselines" in method.arguments(plan):
            options["baseline"] = (
                plan.baseline
                if isinstance(plan.baseline, str)
                else f"picture {digest_of({'inputs': plan.baseline})}"
            )
        return {
            "model": self._recipe.model,
            "weights_sha256": self._weights,
            "method": plan.methods[0],
            "options": {**options, "target": self._recipe.target},
            "preprocessing": {
                "size": expected.size,
                "mean": list(expected.mean),
                "std": list(expected.std),
            },
            "source": [str(path.resolve()) for path in paths],
            "device": str(self._subject.device),
        }


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
