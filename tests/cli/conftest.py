"""A small picture, a small model in a file, and a way to run the command line on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from relprop.cli.program import program

NETWORK = """\
import torch

def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(36, 3),
    )

def broken():
    raise OSError("the disk is on fire")

def number():
    return 7
"""
SIDE = 8
"""What the network of `NETWORK` takes."""

SENTENCES = ("Error: ", "Usage: ", "Try ")
"""How lines on standard error begin: our own and click's."""

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `relprop explain` with some arguments, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def explain(*arguments: object) -> Result:
        return CliRunner().invoke(program, ["explain", *map(str, arguments)])

    return explain


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A photograph-like picture, 40 by 30."""
    values = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    path = tmp_path / "spots.png"
    Image.fromarray(values).save(path)
    return path


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A Python file whose `build` makes a model of inputs (N, 3, 8, 8) and three classes."""
    path = tmp_path / "small_network.py"
    path.write_text(NETWORK)
    return path


@pytest.fixture
def small(network: Path) -> list[object]:
    """The options that name the small model."""
    return ["--model", f"{network}:build", "--size", SIDE]


@pytest.fixture
def assert_refused() -> Callable[..., None]:
    """Checks that a command ended with `exit_code` and with sentences that hold `words`."""

    def check(result: Result, *words: str, exit_code: int = 2) -> None:
        assert result.exit_code == exit_code, (result.output, result.exception)
        assert isinstance(result.exception, SystemExit)
        for word in words:
            assert word in result.stderr
        assert all(line.startswith(SENTENCES) for line in result.stderr.splitlines() if line)

    return check
