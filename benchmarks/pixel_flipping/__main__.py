"""Explain the photos by every method, let Quantus erase them, write what came out."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

from benchmarks.pixel_flipping import erasing, results
from benchmarks.pixel_flipping.curves import Curves
from benchmarks.pixel_flipping.methods import METHODS, Problem
from benchmarks.pixel_flipping.network import folded
from benchmarks.pixel_flipping.photos import Photos, load_photos
from benchmarks.stamp import stamp
from relprop.cli.loading import load_model
from relprop.cli.progress import ProgressLine
from relprop.cli.zoo import BUILT_IN
from relprop.errors import RelpropError

MODEL = "efficientnet-lite0"
OUTPUT = Path("benchmarks/results/pixel_flipping")


def main() -> None:
    parser = _parser()
    options = parser.parse_args()
    try:
        network = load_model(MODEL)
        photos = load_photos(BUILT_IN[MODEL].preprocessing)
        eraser = erasing.Eraser(
            folded(network),
            photos.images,
            photos.classes,
            patch=options.patch,
            share=options.share,
            fill=options.fill,
        )
        facts = _facts(network, photos, options.patch, options.fill)
        outcomes = _measure_all(network, photos, eraser)
    except RelpropError as error:
        parser.error(str(error))
    files = results.write(outcomes, eraser.erased, facts, options.output)
    print(results.markdown(outcomes, eraser.erased, facts))
    print("Written: " + ", ".join(map(str, files)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pixel_flipping",
        description="Erase the regions of photographs that a method calls most relevant, with "
        "Quantus' region perturbation, and see how soon the network loses sight of their class.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--patch", type=int, default=28, metavar="PIXELS", help="side of a region, a divisor of 224"
    )
    parser.add_argument(
        "--share", type=float, default=0.5, help="of each photo, which is erased in the end"
    )
    parser.add_argument(
        "--fill", choices=tuple(erasing.FILLS), default="blur", help="what replaces a region"
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FOLDER", help="of results")
    return parser


def _measure_all(network: nn.Module, photos: Photos, eraser: erasing.Eraser) -> dict[str, Curves]:
    low, high = BUILT_IN[MODEL].preprocessing.bounds()
    problem = Problem(network, photos.images, photos.classes, low, high)
    progress = ProgressLine()
    outcomes: dict[str, Curves] = {}
    with progress.shown(len(METHODS)):
        for step, (name, method) in enumerate(METHODS.items()):
            progress.at(step, name)
            outcomes[name] = Curves.mean([eraser.curves(one) for one in method.maps(problem)])
    return outcomes


def _facts(network: nn.Module, photos: Photos, patch: int, fill: str) -> dict[str, str]:
    with torch.no_grad():
        right = (network(photos.images).argmax(1) == photos.classes).sum().item()
    return {
        "network": BUILT_IN[MODEL].title,
        "photos": f"{len(photos.names)} of ImageNet, as foolbox brings them, {right} of which the "
        "network puts in their class; the labelled class is explained",
        "erased": f"region after region of {patch} x {patch} pixels, replaced by "
        f"{erasing.FILLS[fill].title}",
        "metric": f"RegionPerturbation of Quantus {erasing.quantus().__version__}",
        **stamp(),
    }


if __name__ == "__main__":
    main()
