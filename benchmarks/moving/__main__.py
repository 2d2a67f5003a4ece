"""Run everything as it is and moved over, in turns, and write what came out."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.cost import networks
from benchmarks.cost.fresh import Ended
from benchmarks.moving import results
from benchmarks.moving.evaluation import OURS, PHOTOS, QUANTUS, evaluate
from benchmarks.moving.running import run
from benchmarks.moving.script import changed_lines, scripts
from benchmarks.moving.works import CALLS, SCORES
from benchmarks.pixel_flipping.photos import photo_files
from benchmarks.stamp import stamp
from relprop.errors import RelpropError

OUTPUT = Path("benchmarks/results/moving")
BATCH = 4

Runs = dict[str, Callable[[], dict[str, Any]]]
"""What is run once a round, by the package that explains."""


def main() -> None:
    parser = _parser()
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            called, changed = _scripts(Path(folder), options.rounds, options.only)
        evaluated = _evaluations(options.rounds, options.only)
    except (RelpropError, Ended) as error:
        parser.error(str(error))
    facts = {
        "photographs": f"of foolbox: {BATCH} at a time for the script; {PHOTOS} for Quantus",
        "networks": "of torchvision, with random weights",
        "lines changed": f"{changed} of zennit's script; of the evaluation one",
        "machine": options.note,
        **stamp(),
    }
    files = results.write(called, evaluated, facts, options.output)
    print(files[0].read_text(encoding="utf-8"))
    print("Written: " + ", ".join(map(str, files)))


def _scripts(folder: Path, rounds: int, only: str) -> tuple[list[results.Moved], int]:
    code = scripts(folder)
    photos = folder / "photos" / "photographs"
    photos.mkdir(parents=True)
    for path in photo_files():
        shutil.copy(path, photos)
    measured = []
    for call in CALLS:
        if only not in call.name:
            continue
        weights = folder / f"{call.model}.pt"
        if not weights.exists():
            torch.save(networks.build(call.network).state_dict(), weights)
        arguments = (
            *(str(photos.parent), str(folder / "{sample}.png"), "--parameters", str(weights)),
            *("--batch-size", str(BATCH), "--max-samples", str(call.photos), *call.options),
        )
        runs = {package: partial(run, package, path, arguments) for package, path in code.items()}
        measured.append(results.of_script(call, _in_turns(call.name, runs, rounds)))
    return measured, changed_lines(code)


def _evaluations(rounds: int, only: str) -> list[results.Moved]:
    measured = []
    for score in SCORES:
        name = f"Quantus {score.method}"
        if only not in name:
            continue
        runs = {package: partial(evaluate, package, score.method) for package in (QUANTUS, OURS)}
        measured.append(results.of_evaluation(score, _in_turns(name, runs, rounds)))
    return measured


def _in_turns(name: str, runs: Runs, rounds: int) -> results.Rounds:
    found: results.Rounds = {package: [] for package in runs}
    for number in range(rounds):
        for package, once in runs.items():
            print(f"{name}: {package}, round {number + 1} of {rounds}", flush=True)
            found[package].append(once())
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.moving",
        description="Run zennit's example script and an evaluation by Quantus, as they are and "
        "with relprop in their imports.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="part of a name, in place of all")
    parser.add_argument("--note", default="nothing else at work", help="on what else it did")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FOLDER", help="of results")
    return parser


if __name__ == "__main__":
    main()
