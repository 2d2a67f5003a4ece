"""Explain pictures by every contestant in turn, and write what came out."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.stamp import stamp
from benchmarks.throughput import results
from benchmarks.throughput.by_ray import driver_seconds
from benchmarks.throughput.fleet import Costs
from benchmarks.throughput.measure import Measured, measure
from benchmarks.throughput.work import WORKS, Work
from relprop.errors import RelpropError

OUTPUT = Path("benchmarks/results/throughput")


def main() -> None:
    parser = _parser()
    options = parser.parse_args()
    works = _works(options)
    if not works:
        parser.error(f"--work: none of {', '.join(work.name for work in WORKS)} has {options.work}")
    facts = {
        "pictures": "crops of the two photographs of the demo, JPEG files of 224 x 224 pixels, in "
        "a temporary folder; VGG16 has random weights",
        "machine": options.note,
        **stamp(),
    }
    found: list[Measured] = []
    costs: Costs | None = None
    try:
        for work in works:
            found.append(measure(work, lambda words: print(words, flush=True)))
            costs = costs or _costs(found[0])
            files = results.write(found, costs, facts, options.output)
    except RelpropError as error:
        parser.error(str(error))
    print(files[0].read_text())
    print("Written: " + ", ".join(map(str, files)))


def _works(options: argparse.Namespace) -> list[Work]:
    """Those that are asked for, at the length that is asked for."""
    return [
        replace(
            work,
            rounds=options.rounds or work.rounds,
            pictures=options.pictures or work.pictures,
        )
        for work in WORKS
        if options.work in work.name
    ]


def _costs(first: Measured) -> Costs:
    print("what Ray's driver does about a picture", flush=True)
    return Costs(
        first.work,
        results.processor(first, results.BATCH),
        driver_seconds(workers_write=False),
        driver_seconds(workers_write=True),
        first.read,
        first.written,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description="Pictures a second from files to relevance on disk, beside attribution alone "
        "and beside loops that are written by hand around other packages.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--work", default="", help="part of a name, in place of all")
    parser.add_argument("--pictures", type=int, default=0, help="in place of each work's own")
    parser.add_argument("--rounds", type=int, default=0, help="in place of each work's own")
    parser.add_argument("--note", default="nothing else at work", help="on what else it did")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FOLDER", help="of results")
    return parser


if __name__ == "__main__":
    main()
