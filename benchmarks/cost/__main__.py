"""The command line: what to measure, how much of it, and where the results go."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from benchmarks.cost import correctness, many, memory, networks, operator_timing, results, scaling
from benchmarks.cost.forecast import Forecast
from benchmarks.cost.fresh import Ended, Say, in_fresh_process
from benchmarks.cost.memory import Peers
from benchmarks.cost.methods import BY_NAME
from benchmarks.cost.networks import NETWORKS, Case, Extent
from benchmarks.cost.operators import OPERATORS
from benchmarks.cost.rounds import Budget
from benchmarks.cost.timing import Timing, time_case
from relprop.cli.progress import ProgressLine

OUTPUT = Path("benchmarks/results/cost")


class Refusal(click.ClickException):
    """Nothing was measured."""

    exit_code = 1


Option = Callable[[Any], Any]
FULL: Option = click.option("--full", is_flag=True, help="Everything, which takes longer.")
NETWORK: Option = click.option(
    "--network", "chosen", multiple=True, type=click.Choice(list(NETWORKS)), help="Only this one."
)
METHOD: Option = click.option(
    "--method", "names", multiple=True, type=click.Choice(list(BY_NAME)), help="Only this one."
)
PIXELS: Option = click.option(
    "--pixels", multiple=True, type=click.IntRange(min=32), help="Along a side."
)
BATCH: Option = click.option("--batch", multiple=True, type=click.IntRange(min=1), help="Pictures.")
ROUNDS: Option = click.option(
    "--rounds", type=click.IntRange(min=1), help="So many, in place of what time allows."
)
SECONDS: Option = click.option(
    "--seconds", type=click.FloatRange(min=0), help="A case may take so long, peers left out first."
)
PEERS: Option = click.option(
    "--peers/--no-peers", default=True, show_default=True, help="Whether others take part."
)
CHECK: Option = click.option(
    "--check/--no-check", default=True, help="Whether results are checked before they are timed."
)
FOLDER: Option = click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=OUTPUT,
    show_default=True,
    help="Folder of the results.",
)


@click.group()
def program() -> None:
    """What explanations cost, in time and in memory, beside a gradient of the same model."""


def _with(*options: Option) -> Option:
    def hang(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return hang


class Progress:
    """Steps on a line that terminals show, each with what is being worked at."""

    def __init__(self, line: ProgressLine) -> None:
        self.line, self.step, self.title, self.begun = line, 0, "", 0.0

    def begin(self, title: str) -> None:
        """The next step, by its title."""
        self.title, self.begun = title, time.monotonic()
        self.say("")

    def end(self) -> None:
        """Of a step: it is printed, which stays, and is seen without a terminal, too."""
        self.step += 1
        with self.line.aside():
            click.echo(f"{self.title}: done in {time.monotonic() - self.begun:.0f} s", err=True)

    def say(self, doing: str) -> None:
        """What the step is at."""
        self.line.at(self.step, f"{self.title}: {doing}" if doing else self.title)


@contextmanager
def _progress(steps: int) -> Iterator[Progress]:
    line = ProgressLine()
    with line.shown(steps):
        yield Progress(line)


def _extent(
    part: str, full: bool, chosen: Any, batch: Any, pixels: Any, seconds: float | None
) -> Extent:
    extent = (networks.FULL if full else networks.QUICK)[part]
    return replace(
        extent,
        networks=chosen or extent.networks,
        batches=batch or extent.batches,
        pixels=pixels or extent.pixels,
        seconds=extent.seconds if seconds is None else seconds,
    )


def _require_right(check: bool, chosen: Any, names: Any, progress: Progress) -> None:
    """Refuse to time what is wrong."""
    if not check:
        return
    progress.begin("checking")
    try:
        correctness.require(chosen, [BY_NAME[name] for name in names or BY_NAME], progress.say)
    except correctness.Red as red:
        raise Refusal(str(red)) from None
    progress.end()


def _write(part: str, measured: list[dict[str, Any]], output: Path) -> None:
    click.echo("Written: " + ", ".join(map(str, results.write(part, measured, output))))


@program.command()
@_with(FULL, NETWORK, METHOD, PIXELS, BATCH, ROUNDS, SECONDS, PEERS, CHECK, FOLDER)
def methods(
    full: bool, chosen: Any, names: Any, pixels: Any, batch: Any, rounds: int | None,
    seconds: float | None, peers: bool, check: bool, output: Path,
) -> None:  # fmt: skip
    """Time of ours, of the peers and of the gradient, in turns."""
    extent = _extent("methods", full, chosen, batch, pixels, seconds)
    cases, measured, forecast = list(extent.cases()), [], Forecast()
    with _progress(len(cases) + check) as progress:
        _require_right(check, extent.networks, names, progress)
        for case in cases:
            progress.begin(str(case))
            expected = forecast.all_of(case)
            budget = (
                Budget(math.inf, rounds) if rounds else Budget(extent.seconds, expected=expected)
            )
            arguments = (case, tuple(names or BY_NAME), budget, peers)
            measured.append(_timed(case, arguments, progress.say))
            for entry in measured[-1]["entries"]:
                if entry["seconds"]:
                    forecast.learn(case, entry["name"], min(entry["seconds"]))
            results.save("methods", measured, output)
            progress.end()
    _write("methods", measured, output)


def _timed(case: Case, arguments: Any, say: Say) -> dict[str, Any]:
    try:
        found: dict[str, Any] = in_fresh_process(time_case, *arguments, say=say)
    except Ended as ended:
        return Timing(case.as_dict(), failure=str(ended)).as_dict()
    return found


@program.command("many")
@_with(FULL, NETWORK, ROUNDS, SECONDS, PEERS, CHECK, FOLDER)
def many_command(
    full: bool, chosen: Any, rounds: int | None, seconds: float | None, peers: bool, check: bool,
    output: Path,
) -> None:  # fmt: skip
    """Time of many targets, and of many baselines, at once; and how often is swept forward."""
    everything = many.FULL if full else many.QUICK
    tasks = [task for task in everything if not chosen or task.network in chosen]
    limit = many.SECONDS[full] if seconds is None else seconds
    budget, measured = Budget(math.inf, rounds) if rounds else Budget(limit), []
    with _progress(len(tasks) + check) as progress:
        _require_right(check, {t.network for t in tasks}, {t.method for t in tasks}, progress)
        for task in tasks:
            progress.begin(str(task))
            measured.append(many.measure(task, budget, peers, progress.say))
            results.save("many", measured, output)
            progress.end()
    _write("many", measured, output)


@program.command("memory")
@_with(FULL, NETWORK, METHOD, PIXELS, BATCH, SECONDS, PEERS, FOLDER)
def memory_command(
    full: bool, chosen: Any, names: Any, pixels: Any, batch: Any, seconds: float | None,
    peers: bool, output: Path,
) -> None:  # fmt: skip
    """Peak memory of the same, each in a process of its own."""
    extent = _extent("memory", full, chosen, batch, pixels, seconds)
    cases, measured, forecast = list(extent.cases()), [], Forecast()
    with _progress(len(cases)) as progress:
        for case in cases:
            progress.begin(str(case))
            limits = Peers(extent.seconds, forecast.all_of(case)) if peers else None
            for one in memory.measure(case, names or tuple(BY_NAME), limits, progress.say):
                measured.append(one.as_dict())
                forecast.learn(case, one.name, one.seconds)
            results.save("memory", measured, output)
            progress.end()
    _write("memory", measured, output)


@program.command()
@_with(FULL, ROUNDS, CHECK, FOLDER)
@click.option(
    "--operator",
    "names",
    multiple=True,
    type=click.Choice(list(dict.fromkeys(row.name for row in OPERATORS))),
    help="Only this one.",
)
def operators(full: bool, names: Any, rounds: int | None, check: bool, output: Path) -> None:
    """Time of each operator, of its reference, and of its limit."""
    with _progress(1 + check) as progress:
        _require_right(check, (), (), progress)
        progress.begin("operators")
        count = rounds or (3 if full else 1) * operator_timing.ROUNDS
        try:
            measured = in_fresh_process(
                operator_timing.time_operators, tuple(names), count, say=progress.say
            )
        except Ended as ended:
            raise Refusal(f"the operators could not be timed: {ended}") from None
        progress.end()
    _write("operators", measured, output)


@program.command("scaling")
@_with(FULL, NETWORK, PIXELS, ROUNDS, SECONDS, CHECK, FOLDER)
def scaling_command(
    full: bool, chosen: Any, pixels: Any, rounds: int | None, seconds: float | None, check: bool,
    output: Path,
) -> None:  # fmt: skip
    """Time and peak memory against the size of a picture, of a batch, and threads."""
    scale = scaling.restricted(scaling.FULL if full else scaling.QUICK, chosen, pixels)
    limit = scale.seconds if seconds is None else seconds
    scale = replace(scale, rounds=rounds or scale.rounds, seconds=limit)
    cases, measured, outlook = list(scale.cases()), [], scaling.Outlook()
    with _progress(len(cases) + check) as progress:
        _require_right(check, scale.networks, scale.methods, progress)
        for case in cases:
            progress.begin(str(case))
            measured.append(scaling.measure(case, scale, outlook, progress.say))
            results.save("scaling", measured, output)
            progress.end()
    _write("scaling", measured, output)


if __name__ == "__main__":
    program(prog_name="python -m benchmarks.cost")
