"""`relprop large`: a file of pixels in, a file of relevance out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from relprop import LRP, DeepLift
from relprop.cli.loading import load_model
from relprop.cli.program import program
from relprop.errors import InvalidInputError
from relprop.large import Normalise

NETWORK = """\
import torch

def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(4, 3),
    )
"""
Run = Callable[..., Result]
Check = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `relprop large` with a small model, in a folder with an image of 40 by 30 pixels."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pooled_network.py").write_text(NETWORK)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    np.save(tmp_path / "scene.npy", pixels)

    def large(*arguments: object) -> Result:
        model = ["--model", "pooled_network.py:build"]
        return CliRunner().invoke(program, ["large", *map(str, arguments), *model])

    return large


def network() -> nn.Module:
    model = load_model("pooled_network.py:build")
    assert isinstance(model, nn.Module)
    return model


def inputs() -> torch.Tensor:
    pixels = np.load("scene.npy").transpose(2, 0, 1).copy()
    return Normalise()(torch.from_numpy(pixels))[None]


def test_lrp_of_the_likeliest_class(run: Run) -> None:
    result = run("scene.npy", "--output", "R.npy")
    assert result.exit_code == 0, result.output
    net, x = network(), inputs()
    target = int(net(x).argmax())
    R = LRP(net).attribute(x, target=target)[0].numpy()
    assert np.abs(np.load("R.npy") - R).max() <= 1e-5 * np.abs(R).max()
    assert f"Explaining class {target} ({target})" in result.stdout
    assert f"f(x) = {net(x)[0, target].item():.4f} = {R.sum():.4f} pixels" in result.stdout
    assert "wrote R.npy" in result.stdout


def test_deep_lift_against_a_number(run: Run) -> None:
    arguments = ["--method", "deep-lift", "--baseline", "0.5", "--target", "2"]
    result = run("scene.npy", "--output", "R.npy", *arguments)
    assert result.exit_code == 0, result.output
    R = DeepLift(network()).attribute(inputs(), 0.5, target=2)[0].numpy()
    assert np.abs(np.load("R.npy") - R).max() <= 1e-5 * np.abs(R).max()
    assert "f(x) - f(x0) = " in result.stdout


def test_floating_point_numbers_are_the_models_inputs(run: Run) -> None:
    np.save("inputs.npy", inputs()[0].numpy())
    assert run("inputs.npy", "--output", "A.npy", "--target", "1").exit_code == 0
    assert run("scene.npy", "--output", "B.npy", "--target", "1").exit_code == 0
    assert np.array_equal(np.load("A.npy"), np.load("B.npy"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gone.npy", "--output", "R.npy"], "gone.npy: there is no such file or folder"),
        (["scene.npy"], "Missing option '--output'"),
        (["scene.npy", "--output", "R.png"], "an output's name must end in"),
        (["scene.npy", "--output", "R.npy", "--target", "9"], "there is no class 9"),
        (["scene.npy", "--output", "R.npy", "--axes", "YX"], "axes must name each"),
        (["scene.npy", "--output", "R.npy", "--memory-budget", "100B"], "must be enough"),
        (
            ["scene.npy", "--output", "R.npy", "--baseline", "gone.npy", "--method", "deep-lift"],
            "gone",
        ),
    ],
)
def test_wrong_usage(
    arguments: list[str], words: str, run: Run, assert_refused: Check, tmp_path: Path
) -> None:
    assert_refused(run(*arguments), words)
    assert not (tmp_path / "R.npy").exists()


def test_an_interrupted_explanation_is_continued(run: Run, tmp_path: Path) -> None:
    """Of a class that the model turned out not to have, the way there need not be gone again."""
    run("scene.npy", "--output", "R.npy", "--target", "9")
    assert (tmp_path / "R.npy.unfinished").is_dir()
    again = run("scene.npy", "--output", "R.npy", "--target", "9")
    assert again.exit_code == 2 and "continue it with --resume" in again.stderr
    other = run("scene.npy", "--output", "R.npy", "--target", "1", "--resume")
    assert other.exit_code == 0, other.output
    assert (tmp_path / "R.npy").exists() and not (tmp_path / "R.npy.unfinished").exists()


def test_pictures_within_a_budget(
    run: Run, picture: Path, small: list[object], tmp_path: Path
) -> None:
    arguments = ["explain", picture, *small, "--memory-budget", "1GiB", "--method", "lrp"]
    result = CliRunner().invoke(program, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "explanations" / "spots-explained.png").exists()
    plain = CliRunner().invoke(program, list(map(str, ["explain", picture, *small])))
    biases = [line.split()[:3] for line in plain.stdout.splitlines() if "+ biases" in line]
    assert biases == [line.split() for line in result.stdout.splitlines() if "+ biases" in line]


def test_pictures_within_a_budget_that_a_report_exceeds(
    run: Run,
    picture: Path,
    small: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object, memory_budget: str) -> None:
        raise InvalidInputError(f"memory_budget must be more than {memory_budget}")

    monkeypatch.setattr(LRP, "report", refused)
    arguments = ["explain", picture, *small, "--memory-budget", "1GiB", "--method", "lrp"]
    result = CliRunner().invoke(program, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "explanations" / "spots-explained.png").exists()
