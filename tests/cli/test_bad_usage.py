"""Whatever a user gets wrong is met by one sentence and an exit code that scripts can trust."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result
from PIL import Image

from relprop.rules.lrp.relevance import Relevance

MAPS = "explanations"
Run = Callable[..., Result]
Check = Callable[..., None]


def test_missing_picture(run: Run, assert_refused: Check, small: list[object]) -> None:
    assert_refused(run("nowhere.png", *small), "nowhere.png: there is no such file", exit_code=1)


def test_folder_for_a_picture(
    run: Run, assert_refused: Check, small: list[object], tmp_path: Path
) -> None:
    assert_refused(run(tmp_path, *small), "is a folder, not a picture", exit_code=1)


def test_text_that_is_called_a_picture(
    run: Run, assert_refused: Check, small: list[object], tmp_path: Path
) -> None:
    (tmp_path / "notes.png").write_text("buy milk")
    assert_refused(run("notes.png", *small), "notes.png: is not a picture", exit_code=1)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_picture(
    run: Run, assert_refused: Check, small: list[object], picture: Path, tmp_path: Path, suffix: str
) -> None:
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    with Image.open(picture) as opened:
        opened.save(whole)
    cut.write_bytes(whole.read_bytes()[:-600])
    assert_refused(run(cut, *small), f"cut{suffix}: is damaged or cut short", exit_code=1)
    assert list((tmp_path / MAPS).iterdir()) == []


def test_picture_too_large_to_be_meant(
    run: Run,
    assert_refused: Check,
    small: list[object],
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert_refused(run(picture, *small), "has more than 1,000 pixels", exit_code=1)


def test_other_pictures_are_still_explained(
    run: Run, small: list[object], picture: Path, tmp_path: Path
) -> None:
    result = run("nowhere.png", picture, "neither.png", *small)
    assert result.exit_code == 1
    assert "2 of 3 pictures could not be explained" in result.stderr
    assert [path.name for path in (tmp_path / MAPS).iterdir()] == ["spots-explained.png"]


def test_no_picture(run: Run, assert_refused: Check) -> None:
    assert_refused(run(), "Missing argument 'IMAGE...'")


def test_unknown_model(run: Run, assert_refused: Check, picture: Path) -> None:
    assert_refused(
        run(picture, "--model", "efficientnet"), "no model 'efficientnet'", "efficientnet-lite0"
    )


def test_unknown_module(run: Run, assert_refused: Check, picture: Path) -> None:
    assert_refused(run(picture, "--model", "no.such:thing"), "there is no module 'no.such'")


def test_unknown_file(run: Run, assert_refused: Check, picture: Path) -> None:
    assert_refused(run(picture, "--model", "gone.py:build"), "gone.py: there is no such file")


def test_file_that_does_not_run(
    run: Run, assert_refused: Check, picture: Path, network: Path
) -> None:
    network.write_text("import torch\nthis is no python\n")
    assert_refused(run(picture, "--model", f"{network}:build"), "running it failed: SyntaxError")


def test_function_that_is_not_there(
    run: Run, assert_refused: Check, picture: Path, network: Path
) -> None:
    assert_refused(run(picture, "--model", f"{network}:make"), "has no 'make'")


def test_function_that_fails(run: Run, assert_refused: Check, picture: Path, network: Path) -> None:
    refused = run(picture, "--model", f"{network}:broken")
    assert_refused(refused, "building the model failed: OSError: the disk is on fire")


def test_function_that_gives_no_model(
    run: Run, assert_refused: Check, picture: Path, network: Path
) -> None:
    assert_refused(
        run(picture, "--model", f"{network}:number"), "gave a int, but a torch.nn.Module is needed"
    )


def test_file_that_is_no_program(
    run: Run, assert_refused: Check, picture: Path, tmp_path: Path
) -> None:
    (tmp_path / "model.pt2").write_text("not an archive")
    assert_refused(
        run(picture, "--model", "model.pt2"),
        "model.pt2 is not a program saved by torch.export.save",
    )


def test_weights_that_do_not_fit(
    run: Run, assert_refused: Check, picture: Path, small: list[object], tmp_path: Path
) -> None:
    torch.save(
        {"0.weight": torch.zeros(4, 3, 5, 5), "0.bias": torch.zeros(4), "head": torch.zeros(1)},
        "weights.pt",
    )
    refused = run(picture, *small, "--weights", "weights.pt")
    assert_refused(
        refused,
        "2 missing (4.weight, 4.bias)",
        "1 unexpected (head)",
        "1 of another shape (0.weight 4x3x5x5 for 4x3x3x3)",
    )


def test_long_lists_of_weights_are_shortened(
    run: Run, assert_refused: Check, picture: Path, small: list[object]
) -> None:
    torch.save({f"layer{i}": torch.zeros(1) for i in range(10)}, "weights.pt")
    assert_refused(
        run(picture, *small, "--weights", "weights.pt"),
        "10 unexpected (layer0, layer1, layer2, ...)",
    )


def test_weights_that_would_run_code(
    run: Run, assert_refused: Check, picture: Path, small: list[object]
) -> None:
    torch.save(torch.nn.Linear(2, 2), "whole.pt")
    assert_refused(
        run(picture, *small, "--weights", "whole.pt"), "whole.pt holds no weights that load safely"
    )


@pytest.mark.parametrize("content", [b"", b"hello"])
def test_weights_that_are_none(
    run: Run, assert_refused: Check, picture: Path, small: list[object], content: bytes
) -> None:
    Path("weights.pt").write_bytes(content)
    assert_refused(
        run(picture, *small, "--weights", "weights.pt"), "holds no weights that load safely"
    )


def test_missing_weights(
    run: Run, assert_refused: Check, picture: Path, small: list[object]
) -> None:
    assert_refused(run(picture, *small, "--weights", "gone.pt"), "gone.pt: there is no such file")


@pytest.mark.parametrize("number", [3, -1, 1000])
def test_class_out_of_range(
    run: Run, assert_refused: Check, picture: Path, small: list[object], number: int
) -> None:
    assert_refused(
        run(picture, *small, "--target", number), f"there is no class {number}: the model has 3"
    )


def test_class_name_where_none_are_known(
    run: Run, assert_refused: Check, picture: Path, small: list[object]
) -> None:
    assert_refused(run(picture, *small, "--target", "cat"), "give a number from 0 to 2")


def test_unknown_class_name(
    run: Run, assert_refused: Check, picture: Path, small: list[object]
) -> None:
    Path("names.txt").write_text("tiger cat\ntabby cat\ndog, hound\n")
    known = run(picture, *small, "--classes", "names.txt", "--target", "mouse")
    assert_refused(known, "there is no class 'mouse' among the 3 names")


def test_class_name_that_could_be_several(
    run: Run, assert_refused: Check, picture: Path, small: list[object]
) -> None:
    Path("names.txt").write_text("tiger cat\ntabby cat\ndog, hound\n")
    unsure = run(picture, *small, "--classes", "names.txt", "--target", "cat")
    assert_refused(unsure, "'cat' could be tiger cat (0), tabby cat (1)")


def test_picture_size_that_the_model_does_not_take(
    run: Run, assert_refused: Check, picture: Path, network: Path
) -> None:
    refused = run(picture, "--model", f"{network}:build", "--size", 20)
    assert_refused(refused, "the model failed on an input of shape (1, 3, 20, 20)")


def test_size_of_a_built_in_model(run: Run, assert_refused: Check, picture: Path) -> None:
    assert_refused(run(picture, "--size", 96), "--size is for models of your own")


def test_means_that_are_not_numbers(
    run: Run, assert_refused: Check, picture: Path, small: list[object]
) -> None:
    assert_refused(
        run(picture, *small, "--mean", "a,b,c"),
        "'a,b,c' is not one number (grey) or three (colour)",
    )


def test_output_that_is_a_file(
    run: Run, assert_refused: Check, picture: Path, small: list[object]
) -> None:
    assert_refused(run(picture, *small, "--output", picture), "is a file")


def test_picture_is_not_overwritten_by_its_explanation(
    run: Run, assert_refused: Check, picture: Path, small: list[object]
) -> None:
    before = picture.read_bytes()
    picture.rename("spots-explained.png")
    Path("spots.png").symlink_to("spots-explained.png")
    refused = run("spots.png", *small, "--output", ".")
    assert_refused(refused, "would be overwritten by its own explanation", exit_code=1)
    assert Path("spots-explained.png").read_bytes() == before


def test_baseline_file_that_is_not_there(
    run: Run, assert_refused: Check, picture: Path, small: list[object]
) -> None:
    assert_refused(run(picture, *small, "--baseline", "fog"), "fog: there is no such file")


def test_device_that_is_not_there(
    run: Run, assert_refused: Check, picture: Path, small: list[object]
) -> None:
    assert_refused(run(picture, *small, "--device", "abacus"), "'abacus' cannot be used here")


def test_bug_in_relprop_is_called_one(tmp_path: Path) -> None:
    code = (
        "from relprop import __main__; from relprop.cli import program as commands; "
        "commands.program = None; __main__.main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert ended.returncode == 70
    assert "TypeError" in ended.stderr
    assert "this is a bug in relprop" in ended.stderr


def test_missing_package_of_the_command_line(tmp_path: Path) -> None:
    code = "import sys; sys.modules['rich'] = None; import relprop.__main__ as m; m.main()"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert ended.returncode == 2
    assert ended.stderr.strip() == "Error: the command line needs rich: pip install 'relprop[cli]'"


def test_operator_without_a_rule(
    run: Run, assert_refused: Check, small: list[object], picture: Path, network: Path
) -> None:
    network.write_text(network.read_text().replace("ReLU()", "Hardshrink(0.01)"))
    assert_refused(run(picture, *small), "hardshrink", "is not supported", exit_code=1)
    result = run(picture, *small, "--unsupported", "gradient")
    assert result.exit_code == 0, result.output


def test_relevance_beyond_all_bounds(
    run: Run,
    assert_refused: Check,
    small: list[object],
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Relevance, "total", lambda _, run, v: v * torch.inf)
    refused = run(picture, *small, "--method", "lrp", "--composite", "epsilon")
    assert_refused(refused, "relevance must be finite, but overflowed", exit_code=1)
