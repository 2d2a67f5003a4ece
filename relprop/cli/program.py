"""The command line: `relprop explain` and `relprop demo`.

Exit codes: 0 all done; 1 some picture could not be explained (the others were); 2 wrong usage,
which includes models and classes that do not exist; 70 a bug in relprop (see `__main__`). Results
go to standard output, progress and errors to standard error, pictures to the folder `--output`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import torch
from click.core import ParameterSource

import relprop
from relprop.baselines import BASELINES
from relprop.cli.classes import Classes
from relprop.cli.explaining import Plan, Subject
from relprop.cli.images import Preprocessing, read_picture
from relprop.cli.loading import load_model
from relprop.cli.options import (
    DEFAULT_MODEL,
    FILE,
    METHOD_OPTIONS,
    MODEL_OPTIONS,
    OF_OWN_MODELS,
    OUTPUT_OPTIONS,
    with_options,
)
from relprop.cli.task import MODEL_LIMITS, Task
from relprop.cli.zoo import BUILT_IN, sample_pictures
from relprop.errors import RelpropError

EXAMPLES = """\b
Examples:
  relprop explain cat.jpg
  relprop explain *.jpg --target "tiger cat" --output maps
  relprop explain cat.jpg --method lrp --bias redistribute
  relprop explain cat.jpg --method deep-lift --baseline grey.png
  relprop explain cat.jpg --method deep-lift --rule reveal_cancel --max-pool shapley
  relprop explain cat.jpg --model torchvision.models:resnet18 --weights resnet18.pth
  relprop explain scan.png --model net.py:build --size 96 --mean 0.5 --std 0.5
"""


class Refusal(click.ClickException):
    """Wrong usage, in one sentence."""

    exit_code = 2


class Failure(click.ClickException):
    """What was asked for could not be done, in one sentence."""

    exit_code = 1


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Ends the command with one sentence where relprop raises one."""
    try:
        yield
    except MODEL_LIMITS as fault:
        raise Failure(str(fault)) from fault
    except RelpropError as fault:
        raise Refusal(str(fault)) from fault


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
    device: torch.device,
    **plan: Any,
) -> None:
    """Explain what a model sees in pictures.

    Lists the likeliest classes of each IMAGE, shows for every method where the score of the
    explained class went, and writes one picture an IMAGE with the maps side by side.
    """
    _require_own_model(context, model)
    if len(mean) != len(std):
        raise click.UsageError("--mean and --std need as many numbers as each other")
    with _one_sentence():
        if model in BUILT_IN:
            subject = built_in(model, weights, device)
        else:
            loaded = load_model(model, weights, device)
            names = Classes.read(classes) if classes else Classes()
            subject = Subject(loaded, Preprocessing(size, mean, std), names, device)
        task = Task(subject, _plan(subject, **plan), target, top, output)
        _report_failures(task.explain_all(pictures), len(pictures))


@program.command()
@with_options(OUTPUT_OPTIONS)
def demo(output: Path, device: torch.device) -> None:
    """Explain two photographs, a cat and a cup of coffee, with a network trained on ImageNet."""
    with _one_sentence():
        pictures = sample_pictures()
        task = Task(built_in(DEFAULT_MODEL, None, device), Plan(), "auto", 5, output)
        _report_failures(task.explain_all(pictures), len(pictures))


def _require_own_model(context: click.Context, model: str) -> None:
    """Refuse options that a built-in model would ignore."""
    for name in OF_OWN_MODELS:
        given = context.get_parameter_source(name) is not ParameterSource.DEFAULT
        if given and model in BUILT_IN:
            raise click.UsageError(
                f"--{name} is for models of your own: {model} brings what it needs"
            )


def built_in(name: str, weights: Path | None, device: torch.device) -> Subject:
    """A built-in model, ready to see pictures; `weights` in place of its own."""
    names = Classes(tuple(BUILT_IN[name].class_names()))
    return Subject(load_model(name, weights, device), BUILT_IN[name].preprocessing, names, device)


def _plan(subject: Subject, methods: tuple[str, ...], baseline: str, **settings: str) -> Plan:
    known = baseline in BASELINES
    return Plan(
        methods=tuple(dict.fromkeys(methods)) or Plan.methods,
        baseline=baseline if known else subject.inputs(read_picture(Path(baseline))),
        **settings,
    )


def _report_failures(failed: int, pictures: int) -> None:
    if failed:
        raise Failure(f"{failed} of {pictures} pictures could not be explained")
