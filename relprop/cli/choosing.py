"""From what a command's options say to a model and a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import torch
from click.core import ParameterSource

from relprop.baselines import BASELINES
from relprop.cli.classes import Classes
from relprop.cli.explaining import Plan, Subject
from relprop.cli.images import Preprocessing, read_picture
from relprop.cli.loading import load_model
from relprop.cli.options import OF_OWN_MODELS
from relprop.cli.zoo import BUILT_IN


def make_subject(
    model: str,
    weights: Path | None,
    classes: Path | None,
    size: int | None,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: torch.device,
) -> Subject:
    """The model that options name, ready to see pictures.

    Raises:
        RelpropError: there is no such thing.
    """
    if model in BUILT_IN:
        return built_in(model, weights, device)
    loaded = load_model(model, weights, device)
    names = Classes.read(classes) if classes else Classes()
    return Subject(loaded, Preprocessing(size, mean, std), names, device)


def built_in(name: str, weights: Path | None, device: torch.device) -> Subject:
    """A built-in model, ready to see pictures; `weights` in place of its own."""
    names = Classes(tuple(BUILT_IN[name].class_names()))
    return Subject(load_model(name, weights, device), BUILT_IN[name].preprocessing, names, device)


def choose_plan(
    subject: Subject,
    methods: tuple[str, ...],
    baseline: str,
    html: bool = False,
    layers: tuple[str, ...] = (),
    memory_budget: str | None = None,
    **settings: Any,
) -> Plan:
    """The plan that options name; a baseline that has no name is a picture.

    Raises:
        UsageError, RelpropError: the options do not go together, or there is no such thing.
    """
    if layers and not html:
        raise click.UsageError("--layer is for the page that --html writes; give both")
    known = baseline in BASELINES
    return Plan(
        layers=layers if html else None,
        memory_budget=memory_budget,
        methods=tuple(dict.fromkeys(methods)) or Plan.methods,
        baseline=baseline if known else subject.inputs(read_picture(Path(baseline))),
        **settings,
    )


def check_model_options(
    context: click.Context, model: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    """Refuse options that a built-in model would ignore, or that do not go together.

    Raises:
        UsageError: there are such options.
    """
    for name in OF_OWN_MODELS:
        if is_given(context, name) and model in BUILT_IN:
            raise click.UsageError(
                f"--{name} is for models of your own: {model} brings what it needs"
            )
    if len(mean) != len(std):
        raise click.UsageError("--mean and --std need as many numbers as each other")


def is_given(context: click.Context, name: str) -> bool:
    """Whether the command line has it."""
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE
