"""Explain scenes of many sizes with EfficientNet-Lite0 within a budget, each in its own process."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click
import matplotlib.pyplot as plt
from rich.console import Console

from benchmarks.cost.fresh import ENVIRONMENT, Ended, in_fresh_process
from benchmarks.large.measuring import explain_in_files, explain_in_memory
from benchmarks.stamp import stamp
from relprop.attribution.arguments import as_bytes
from relprop.errors import InvalidInputError

SIDES = (1024, 2048, 4096, 8192, 16384)
MIB = 2**20


@click.command()
@click.option("--pixels", type=int, multiple=True, help="Sides of scenes.  [default: all]")
@click.option("--memory-budget", default="2GiB", show_default=True)
@click.option(
    "--untiled-up-to", default=2048, show_default=True, help="Side, to be explained whole."
)
@click.option("--scratch", type=click.Path(path_type=Path), help="Folder for what is not kept.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("benchmarks/results/large"))
def main(
    pixels: tuple[int, ...],
    memory_budget: str,
    untiled_up_to: int,
    scratch: Path | None,
    output: Path,
) -> None:
    """Seconds a megapixel, and peak memory above the model, of images in files."""
    try:
        as_bytes(memory_budget)
    except InvalidInputError as fault:
        raise click.UsageError(str(fault)) from fault
    console = Console(stderr=True)
    measured: list[dict[str, Any]] = []
    for side in pixels or SIDES:
        for whole in (False, True) if side <= untiled_up_to else (False,):
            measured.append(_measure(side, whole, memory_budget, scratch, console))
            _write(measured, memory_budget, output)
    console.print(f"wrote {output}")


def _measure(
    side: int, whole: bool, budget: str, scratch: Path | None, console: Console
) -> dict[str, Any]:
    way = "as a whole" if whole else "in files"
    one: dict[str, Any] = {"pixels": side, "way": way}

    def say(text: str) -> None:
        console.print(f"{side} pixels a side, {way}: {text}")

    try:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            arguments = (side,) if whole else (side, budget, folder)
            function = explain_in_memory if whole else explain_in_files
            one |= in_fresh_process(function, *arguments, say=say, environment=ENVIRONMENT)
    except Ended as ended:
        one["failure"] = str(ended)
        say(str(ended))
        return one
    megapixels = side**2 / 1e6
    say(f"{one['seconds'] / megapixels:.2f} s a megapixel, {one['rise'] / MIB:.0f} MiB")
    return one


def _write(measured: list[dict[str, Any]], budget: str, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    content = {"facts": {**stamp(), "memory_budget": budget}, "measured": measured}
    (output / "large.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    figure, (times, memory) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for way in ("in files", "as a whole"):
        done = [one for one in measured if one["way"] == way and "seconds" in one]
        if not done:
            continue
        megapixels = [one["pixels"] ** 2 / 1e6 for one in done]
        rates = [one["seconds"] / m for one, m in zip(done, megapixels, strict=True)]
        times.plot(megapixels, rates, "o-", label=way)
        memory.plot(megapixels, [one["rise"] / MIB for one in done], "o-", label=way)
    memory.axhline(as_bytes(budget) / MIB, color="grey", linestyle=":", label="budget")
    for axes, title in ((times, "seconds a megapixel"), (memory, "peak above the model, MiB")):
        axes.set(title=title, xlabel="megapixels", ylim=(0, None))
        if len(axes.lines) > 1:
            axes.set_xscale("log", base=4)
            axes.legend(frameon=False)
    figure.savefig(output / "large.png", dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
