"""The command `relprop large`: an image that does not fit into memory, from a file into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import torch

from relprop.cli.choosing import check_model_options, make_subject
from relprop.cli.endings import one_sentence
from relprop.cli.options import FILE, LARGE_MODEL_OPTIONS, LARGE_OPTIONS, with_options

EXAMPLES = """\b
Examples:
  relprop large scene.tif --output relevance.zarr
  relprop large scene.tif --output relevance.zarr --resume
  relprop large slide.svs --level 1 --output relevance.ome.tif --memory-budget 4GiB
  relprop large scene.zarr --method deep-lift --baseline 0 --output relevance.zarr
"""


@click.command(epilog=EXAMPLES)
@click.argument("image", type=FILE)
@with_options(LARGE_MODEL_OPTIONS, LARGE_OPTIONS)
@click.pass_context
def large(
    context: click.Context,
    /,
    image: Path,
    model: str,
    weights: Path | None,
    classes: Path | None,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: torch.device,
    method: str,
    target: str,
    baseline: str,
    output: Path,
    resume: bool,
    **settings: Any,
) -> None:
    """Explain an image that does not fit into memory.

    IMAGE is a TIFF, a slide, a Zarr array or OME-Zarr group, or a .npy file. It keeps its size,
    and is read, explained and written tile by tile. Whole numbers are normalised as pixels are;
    other ones are the model's inputs.
    """
    with one_sentence():
        # Explaining pictures takes no package for large images.
        from relprop.cli.scene import SceneTask

        check_model_options(context, model, mean, std)
        subject = make_subject(model, weights, classes, None, mean, std, device)
        SceneTask(subject, method, target, baseline, settings).explain(image, output, resume)
