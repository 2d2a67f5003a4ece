"""The command `relprop batch`: a whole data set, onto disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import torch

from relprop.cli.choosing import choose_plan, choose_subject
from relprop.cli.endings import Failure, one_sentence
from relprop.cli.options import BATCH_OPTIONS, FILE, MODEL_OPTIONS, with_options

EXAMPLES = """\b
Examples:
  relprop batch photos --output photos.zarr
  relprop batch photos --output photos.zarr --resume
  relprop batch labelled.csv --method deep-lift --baseline blur --output out.zarr
  relprop batch digits.npy --model net.py:build --output digits.zarr --summary digits.parquet
"""


@click.command(epilog=EXAMPLES)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=FILE)
@with_options(MODEL_OPTIONS, BATCH_OPTIONS)
@click.pass_context
def batch(
    context: click.Context,
    /,
    sources: tuple[Path, ...],
    model: str,
    weights: Path | None,
    classes: Path | None,
    size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: torch.device,
    method: str,
    target: str,
    whole: bool,
    output: Path,
    summary: Path | None,
    resume: bool,
    memory_budget: str,
    batch_size: int | None,
    readers: int,
    **settings: Any,
) -> None:
    """Explain a whole data set.

    SOURCE is a folder of pictures, picture files, a CSV file with a column "path" and perhaps one
    "target", or an array of inputs (N, C, H, W) in a .npy file or a Zarr array. Relevance goes to a
    Zarr group, and a table with a row an item beside it. What cannot be read or explained is named,
    and the rest goes on.
    """
    with one_sentence():
        # Explaining single pictures takes no package for arrays on disk.
        from relprop.cli.data_set import DataSetTask

        subject = choose_subject(context, model, weights, classes, size, mean, std, device)
        task = DataSetTask(
            subject,
            model,
            choose_plan(subject, methods=(method,), **settings),
            target=target,
            whole=whole,
            batch_size=batch_size,
            memory_budget=memory_budget,
            readers=readers,
        )
        failed, items = task.explain(sources, output, summary or output.with_suffix(".csv"), resume)
    if failed:
        raise Failure(f"{failed} of {items} items could not be explained")
