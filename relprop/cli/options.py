"""The options of the commands, in groups: data that `with_options` hangs on a command."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import torch

from relprop.baselines import BASELINES
from relprop.cli.explaining import METHODS
from relprop.cli.images import IMAGENET_MEAN, IMAGENET_STD
from relprop.cli.loading import first_line
from relprop.cli.zoo import BUILT_IN
from relprop.rules.deeplift.choice import MAX_POOL_RULES, RULE_NAMES
from relprop.rules.lrp.presets import COMPOSITES
from relprop.rules.lrp.weighted import BIAS_POLICIES

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Any], Any]


def _numbers(_: click.Context, parameter: click.Parameter, value: str) -> tuple[float, ...]:
    """One number, or three separated by commas: one a channel."""
    try:
        numbers = tuple(float(part) for part in value.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)):
        raise click.BadParameter(
            f"{value!r} is not one number (grey) or three (colour), separated by commas"
        )
    if parameter.name == "std" and min(numbers) <= 0:
        raise click.BadParameter(f"{value!r} must be greater than 0")
    return numbers


def _device(_: click.Context, __: click.Parameter, value: str) -> torch.device:
    """A device that is there."""
    try:
        device = torch.device(value)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as fault:
        raise click.BadParameter(f"{value!r} cannot be used here ({first_line(fault)})") from fault
    return device


DEFAULT_MODEL = "efficientnet-lite0"
FILE = click.Path(path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
OF_OWN_MODELS = ("classes", "size", "mean", "std")
"""Options that only make sense for models that are not built in."""


def _shown(name: str, default: object, description: str, **more: Any) -> Decorator:
    """An option whose default the help shows."""
    return click.option(name, default=default, show_default=True, help=description, **more)


_SIZE = _shown("--size", 224, "Side of the input of a model of yours.", type=click.IntRange(1))
MODEL_OPTIONS = [
    _shown(
        "--model",
        DEFAULT_MODEL,
        f"{', '.join(BUILT_IN)}, package.module:callable, file.py:callable, or model.pt2.",
        metavar="MODEL",
    ),
    click.option("--weights", type=FILE, help="A state dict, saved by torch.save."),
    click.option("--classes", type=FILE, help="Class names of a model of yours, one a line."),
    _SIZE,
    _shown(
        "--mean",
        ",".join(map(str, IMAGENET_MEAN)),
        "Its mean, for values from 0 to 1; a single number makes pictures grey.",
        metavar="NUMBERS",
        callback=_numbers,
    ),
    _shown(
        "--std",
        ",".join(map(str, IMAGENET_STD)),
        "Its standard deviation.",
        metavar="NUMBERS",
        callback=_numbers,
    ),
]
_RULES = [
    _shown(
        "--composite",
        "epsilon_plus_flat",
        "LRP: which rule goes on which layer.",
        type=click.Choice(list(COMPOSITES)),
    ),
    _shown(
        "--bias",
        "absorb",
        "LRP: what becomes of the biases' share.",
        type=click.Choice(BIAS_POLICIES),
    ),
    _shown(
        "--rule",
        "rescale",
        "DeepLIFT: how differences cross activations.",
        type=click.Choice(RULE_NAMES),
    ),
    _shown(
        "--max-pool",
        "winner",
        "DeepLIFT: all to a max pool's winner, or to each input its Shapley value.",
        type=click.Choice(list(MAX_POOL_RULES)),
    ),
]
_REST = [
    _shown(
        "--unsupported",
        "error",
        "What to do at operators that no rule covers.",
        type=click.Choice(["error", "gradient"]),
    ),
    _shown("--target", "auto", "Class to explain: auto, a number, or a name.", metavar="CLASS"),
]
RULE_OPTIONS = [
    *_RULES,
    _shown(
        "--baseline",
        "blur",
        "DeepLIFT: what to compare with.",
        metavar="|".join([*BASELINES, "FILE"]),
    ),
    *_REST,
]
METHOD_OPTIONS = [
    click.option(
        "--method",
        "methods",
        type=click.Choice(list(METHODS)),
        multiple=True,
        help="Give it twice for two.  [default: all]",
    ),
    *RULE_OPTIONS,
    click.option(
        "--memory-budget",
        metavar="SIZE",
        help="For activations, such as 2GiB: what would take more is explained by tiles.",
    ),
    _shown("--top", 5, "How many of the likeliest classes to list.", type=click.IntRange(0)),
    click.option(
        "--layer",
        "layers",
        metavar="PATH",
        multiple=True,
        help="With --html: an inner layer to show; give it twice for two.  "
        "[default: one a resolution]",
    ),
]
DEVICE_OPTION = _shown("--device", "cpu", "Where to compute.", metavar="DEVICE", callback=_device)
OUTPUT_OPTIONS = [
    _shown("--output", "explanations", "Folder for the pictures, made if need be.", type=FOLDER),
    click.option("--html", is_flag=True, help="Write a page beside each picture as well."),
    DEVICE_OPTION,
]
BATCH_OPTIONS = [
    _shown("--method", "lrp", "How to explain.", type=click.Choice(list(METHODS))),
    *RULE_OPTIONS,
    click.option(
        "--whole", is_flag=True, help="Pictures keep their size, for models that take any."
    ),
    click.option(
        "--output", required=True, type=FILE, help="Zarr group for the relevance: OUT.zarr."
    ),
    click.option(
        "--summary",
        type=FILE,
        help="Table with a row an item, .csv or .parquet.  [default: .csv beside the output]",
    ),
    click.option("--resume", is_flag=True, help="Continue an output that was interrupted."),
    _shown("--memory-budget", "1GiB", "For a batch: as many as fit, and at least one."),
    click.option(
        "--batch-size", type=click.IntRange(1), help="So many, in place of what fits a budget."
    ),
    _shown("--readers", 2, "How many threads read pictures.", type=click.IntRange(1)),
    DEVICE_OPTION,
    _shown(
        "--engine",
        "local",
        "In this process, or by workers on one machine or many.",
        type=click.Choice(["local", "ray"]),
    ),
    click.option(
        "--ray-address",
        envvar="RAY_ADDRESS",
        help="HOST:PORT of the Ray cluster that this machine is in.  [default: this machine alone]",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1),
        help="Processes that hold the model.  [default: as many as fit]",
    ),
    _shown("--cpus-per-worker", 1, "Cores and threads of each.", type=click.IntRange(1)),
    click.option(
        "--gpus-per-worker",
        type=click.FloatRange(0),
        help="GPUs of each.  [default: 1 if --device is one, else 0]",
    ),
    click.option(
        "--workers-write",
        is_flag=True,
        help="Workers write relevance themselves: for outputs that all machines share.",
    ),
]
LARGE_MODEL_OPTIONS = [option for option in MODEL_OPTIONS if option is not _SIZE]
LARGE_OPTIONS = [
    _shown("--method", "lrp", "How to explain.", type=click.Choice(list(METHODS))),
    *_RULES,
    _shown(
        "--baseline",
        "blank",
        "DeepLIFT: what to compare with; a number is an input of the model.",
        metavar="blank|NUMBER|FILE",
    ),
    *_REST,
    click.option(
        "--output",
        required=True,
        type=FILE,
        help="For the relevance: .zarr, .npy, .tif or .ome.tif.",
    ),
    click.option("--resume", is_flag=True, help="Continue an explanation that was interrupted."),
    _shown("--memory-budget", "2GiB", "For everything beside the model.", metavar="SIZE"),
    _shown("--chunk", 512, "Side of the output's chunks.", type=click.IntRange(1)),
    click.option(
        "--axes", help="Letters of the image's dimensions, such as YXC.  [default: guess]"
    ),
    _shown("--level", 0, "Of an image's pyramid; 0 is the largest.", type=click.IntRange(0)),
    DEVICE_OPTION,
]
OF_RAY = ("ray_address", "workers", "cpus_per_worker", "gpus_per_worker", "workers_write")
"""Options that only make sense with `--engine ray`."""


def with_options(*groups: Sequence[Decorator]) -> Callable[[Command], Command]:
    """A decorator that gives a command the options of some groups, in their order."""

    def decorate(command: Command) -> Command:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return decorate
