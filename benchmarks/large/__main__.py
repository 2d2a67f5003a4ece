"""Explain scenes of many sizes and a photograph within a budget, and write what that takes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.cost.fresh import ENVIRONMENT, Ended, in_fresh_process
from benchmarks.large import results
from benchmarks.large.cases import Case, chosen
from benchmarks.large.explaining import WAYS
from benchmarks.large.measuring import Measured, measure
from benchmarks.large.photograph import Photograph
from benchmarks.stamp import stamp
from relprop.attribution.arguments import as_bytes
from relprop.errors import InvalidInputError

FILE = click.Path(path_type=Path)
EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--pixels", type=int, multiple=True, help="Sides of scenes.  [default: all]")
@click.option("--photograph", type=EXISTING, help="Its file; without, scenes alone.")
@click.option("--crop", type=int, help="Only so large a piece out of the photograph's middle.")
@click.option("--network", default="", help="Part of a name, in place of all.")
@click.option("--way", type=click.Choice(list(WAYS)), multiple=True, help="In place of all.")
@click.option("--memory-budget", default="2GiB", show_default=True)
@click.option("--scratch", type=FILE, help="Folder for what is not kept.")
@click.option("--note", default="nothing else at work", show_default=True, help="On the machine.")
@click.option("--output", type=FILE, default="benchmarks/results/large", show_default=True)
def main(
    pixels: tuple[int, ...],
    photograph: Path | None,
    crop: int | None,
    network: str,
    way: tuple[str, ...],
    memory_budget: str,
    scratch: Path | None,
    note: str,
    output: Path,
) -> None:
    """Seconds a megapixel, and peak memory above the model, by the size of an image.

    What was measured before under the same facts stays, so that a part can be measured again.
    """
    try:
        budget = as_bytes(memory_budget)
    except InvalidInputError as fault:
        raise click.UsageError(str(fault)) from fault
    facts = {results.BUDGET: memory_budget, "machine": note, **stamp()}
    book = _Book(results.read(output, facts), facts, output)
    for case in chosen(pixels, Photograph(photograph, crop) if photograph else None):
        if network in case.network:
            _measure(case, way or tuple(WAYS), budget, scratch, book.enter)
    click.echo(results.markdown(book.measured, facts))
    click.echo(f"Written to {output}")


@dataclass(frozen=True)
class _Book:
    """What was measured, which is written after every entry."""

    measured: list[Measured]
    facts: dict[str, str]
    output: Path

    def enter(self, one: Measured) -> None:
        """Add it, in place of what was measured of the same before."""
        others = [each for each in self.measured if each.key != one.key]
        self.measured[:] = sorted([*others, one], key=_order)
        results.write(self.measured, self.facts, self.output)


def _order(one: Measured) -> tuple[str, float, str, int]:
    return one.network, one.megapixels, one.image, list(WAYS).index(one.way)


def _measure(
    case: Case,
    ways: tuple[str, ...],
    budget: int,
    scratch: Path | None,
    enter: Callable[[Measured], None],
) -> None:
    """Enter what each way takes, and how far its relevance is from the first one's."""
    first: NDArray[np.float32] | None = None
    for way in (own for own in case.ways if own in ways):
        label = f"{case.network}, {case.image.name}, {way}"
        one = Measured(case.network, case.image.name, case.megapixels, way)

        def say(text: str, label: str = label) -> None:
            click.echo(f"{label}: {text}", err=True)

        say("begun")
        try:
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                found, relevance = in_fresh_process(
                    measure, case, way, budget, folder, say=say, environment=ENVIRONMENT
                )
        except Ended as ended:
            one.failure = str(ended)
            say(one.failure)
        else:
            one = Measured(**(one.as_dict() | found))
            if first is not None:
                one.deviation = float(abs(relevance - first).max() / abs(first).max())
            first = relevance if first is None else first
            say(f"{one.rate:.2f} s a megapixel, {one.rise / results.MIB:.0f} MiB")
        enter(one)


if __name__ == "__main__":
    main()
