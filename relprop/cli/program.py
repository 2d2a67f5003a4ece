"""The command line: `relprop explain`, `relprop batch`, `relprop large` and `relprop demo`.

Exit codes: 0 all done; 1 some picture could not be explained (the others were); 2 wrong usage,
which includes models and classes that do not exist; 70 a bug in relprop (see `__main__`). Results
go to standard output, progress and errors to standard error, pictures to the folder `--output`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import torch

import relprop
from relprop.cli.batch import batch
from relprop.cli.choosing import built_in, check_model_options, choose_plan, make_subject
from relprop.cli.endings import Failure, one_sentence
from relprop.cli.explaining import Plan
from relprop.cli.large import large
from relprop.cli.options import (
    DEFAULT_MODEL,
    FILE,
    METHOD_OPTIONS,
    MODEL_OPTIONS,
    OUTPUT_OPTIONS,
    with_options,
)
from relprop.cli.task import Task
from relprop.cli.zoo import sample_pictures

EXAMPLES = """\b
Examples:
  relprop explain cat.jpg
  relprop explain *.jpg --target "tiger cat" --output maps
  relprop explain cat.jpg --html
  relprop explain cat.jpg --method lrp --bias redistribute
  relprop explain cat.jpg --method deep-lift --baseline grey.png
  relprop explain cat.jpg --method deep-lift --rule reveal_cancel --max-pool shapley
  relprop explain cat.jpg --model torchvision.models:resnet18 --weights resnet18.pth
  relprop explain scan.png --model net.py:build --size 96 --mean 0.5 --std 0.5
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(relprop.__version__)
def program() -> None:
    """Explain what a trained network decided: which pixels speak for a class, which against it."""


@program.command(epilog=EXAMPLES)
@click.argument("pictures", metavar="IMAGE...", nargs=-1, required=True, type=FILE)
@with_options(MODEL_OPTIONS, METHOD_OPTIONS, OUTPUT_OPTIONS)
@click.pass_context
def explain(
    context: click.Context,
    /,
    pictures: tuple[Path, ...],
    model: str,
    weights: Path | None,
    classes: Path | None,
    size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    target: str,
    top: int,
    output: Path,
    html: bool,
    device: torch.device,
    **plan: Any,
) -> None:
    """Explain what a model sees in pictures.

    Lists the likeliest classes of each IMAGE, shows for every method where the score of the
    explained class went, and writes one picture an IMAGE with the maps side by side; with --html
    also a page that works without a network, whose maps can be read pixel by pixel.
    """
    with one_sentence():
        check_model_options(context, model, mean, std)
        subject = make_subject(model, weights, classes, size, mean, std, device)
        chosen = choose_plan(subject, html=html, **plan)
        task = Task(subject, model, chosen, target=target, top=top, output=output, html=html)
        _report_failures(task.explain_all(pictures), len(pictures))


program.add_command(batch)
program.add_command(large)


@program.command()
@with_options(OUTPUT_OPTIONS)
def demo(output: Path, html: bool, device: torch.device) -> None:
    """Explain two photographs, a cat and a cup of coffee, with a network trained on ImageNet."""
    with one_sentence():
        pictures = sample_pictures()
        plan = Plan(layers=() if html else None)
        subject = built_in(DEFAULT_MODEL, None, device)
        task = Task(subject, DEFAULT_MODEL, plan, target="auto", top=5, output=output, html=html)
        _report_failures(task.explain_all(pictures), len(pictures))


def _report_failures(failed: int, pictures: int) -> None:
    if failed:
        raise Failure(f"{failed} of {pictures} pictures could not be explained")
