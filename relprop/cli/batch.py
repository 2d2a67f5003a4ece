"""The command `relprop batch`: a whole data set, onto disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import torch

from relprop.cli.choosing import check_model_options, is_given
from relprop.cli.endings import Failure, one_sentence
from relprop.cli.options import BATCH_OPTIONS, FILE, MODEL_OPTIONS, OF_RAY, with_options

EXAMPLES = """\b
Examples:
  relprop batch photos --output photos.zarr
  relprop batch photos --output photos.zarr --resume
  relprop batch labelled.csv --method deep-lift --baseline blur --output out.zarr
  relprop batch digits.npy --model net.py:build --output digits.zarr --summary digits.parquet
  relprop batch photos --output photos.zarr --engine ray --ray-address 10.0.0.1:6379
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
    engine: str,
    ray_address: str | None,
    workers: int | None,
    cpus_per_worker: int,
    gpus_per_worker: float | None,
    workers_write: bool,
    **settings: Any,
) -> None:
    """Explain a whole data set.

    SOURCE is a folder of pictures, picture files, a CSV file with a column "path" and perhaps one
    "target", or an array of inputs (N, C, H, W) in a .npy file or a Zarr array. Relevance goes to a
    Zarr group, and a table with a row an item beside it. What cannot be read or explained is named,
    and the rest goes on.
    """
    check_model_options(context, model, mean, std)
    _check_engine_options(context, engine)
    with one_sentence():
        # Explaining single pictures takes no package for arrays on disk.
        from relprop.batch.cluster import Cluster
        from relprop.cli.data_set import DataSetTask
        from relprop.cli.recipe import Recipe

        plan = {"methods": (method,), **settings}
        recipe = Recipe(
            model, weights, classes, size, mean, std, device, plan,
            target, batch_size, memory_budget,
        )  # fmt: skip
        gpus = float(device.type != "cpu") if gpus_per_worker is None else gpus_per_worker
        cluster = Cluster(ray_address, workers, cpus_per_worker, gpus, workers_write)
        task = DataSetTask(recipe, whole, readers, cluster if engine == "ray" else None)
        failed, items = task.explain(sources, output, summary or output.with_suffix(".csv"), resume)
    if failed:
        raise Failure(f"{failed} of {items} items could not be explained")


def _check_engine_options(context: click.Context, engine: str) -> None:
    """Refuse options that the default engine would ignore."""
    for name in OF_RAY:
        if engine != "ray" and is_given(context, name):
            raise click.UsageError(f"--{name.replace('_', '-')} is for --engine ray")
