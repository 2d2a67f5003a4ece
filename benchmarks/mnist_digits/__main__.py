"""Train or load the network, compare the methods, write what came out."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch
from torch import nn

from benchmarks.mnist_digits import digits, network, results
from benchmarks.mnist_digits.erasing import measure_all
from benchmarks.mnist_digits.methods import METHODS
from benchmarks.stamp import stamp

OUTPUT = Path("benchmarks/results/mnist_digits")


def main() -> None:
    parser = _parser()
    options = parser.parse_args()
    training, held_out = digits.load()
    torch.manual_seed(options.seed)
    model = network.build().eval()
    if options.weights:
        try:
            network.load_weights(model, options.weights)
        except (OSError, ValueError) as error:
            parser.error(str(error))
        digest = hashlib.sha256(options.weights.read_bytes()).hexdigest()[:12]
        origin = f"{options.weights.name}, SHA-256 {digest}"
    else:
        network.train(model, training, options.epochs, _say)
        origin = f"trained on {len(training.images):,} digits, {options.epochs} epochs"
        origin += f", seed {options.seed}"
    if options.save_weights:
        torch.save(model.state_dict(), options.save_weights)
    facts = {"weights": origin, "accuracy": _accuracy(model, held_out), **stamp()}
    _say(facts["accuracy"])
    outcomes = measure_all(model, METHODS, held_out, _say)
    files = results.write(outcomes, facts, options.output)
    _say("\n" + results.markdown(outcomes, facts))
    _say("Written: " + ", ".join(map(str, files)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mnist_digits",
        description="The digit experiment of Shrikumar et al. (2017): erase the pixels that speak "
        "most for a digit's class, and see how far the network changes its mind.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="a torch state dict, or the .h5 file of a Keras model of this architecture, in place "
        "of training",
    )
    parser.add_argument("--save-weights", type=Path, metavar="FILE", help="keep the state dict")
    parser.add_argument("--epochs", type=int, default=20, help="of training")
    parser.add_argument("--seed", type=int, default=0, help="of training")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FOLDER", help="of results")
    return parser


def _accuracy(model: nn.Module, held_out: digits.Digits) -> str:
    share = network.accuracy(model, held_out)
    return f"{share:.1%} of {len(held_out.images):,} held-out digits right"


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
