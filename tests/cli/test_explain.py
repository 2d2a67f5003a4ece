"""What `relprop explain` does when all is well."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result
from PIL import Image

import relprop
from relprop.cli.classes import Classes
from relprop.cli.explaining import METHODS, Plan, Subject
from relprop.cli.images import Preprocessing, read_picture
from relprop.cli.zoo import BUILT_IN, sample_pictures

MAPS = Path("explanations")
SIDE = 8
"""What the small network takes."""
Run = Callable[..., Result]


def built(network: Path) -> torch.nn.Module:
    namespace: dict[str, object] = {}
    exec(network.read_text(), namespace)
    model = namespace["build"]()  # type: ignore[operator]
    assert isinstance(model, torch.nn.Module)
    return model


def width(path: Path) -> int:
    with Image.open(path) as picture:
        return picture.width


def save_again(picture: Path, path: Path) -> None:
    with Image.open(picture) as opened:
        opened.save(path)


def test_real_network_on_a_real_photograph(tmp_path: Path) -> None:
    cat = sample_pictures()[0]
    command = [
        sys.executable,
        "-m",
        "relprop",
        "explain",
        str(cat),
        "--target",
        "Egyptian cat",
        "--output",
        "maps",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "38.6%  tiger cat (282)" in ended.stdout
    assert "Explaining Egyptian cat (285)" in ended.stdout
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["chelsea-explained.png"]
    assert ended.stderr == ""


def test_every_method_is_drawn_beside_the_picture(
    run: Run, picture: Path, small: list[object]
) -> None:
    assert run(picture, *small, "--method", "lrp").exit_code == 0
    one = width(MAPS / "spots-explained.png")
    assert run(picture, *small).exit_code == 0
    assert width(MAPS / "spots-explained.png") > one


def test_relevance_biases_and_the_rest_add_up_to_the_score(
    run: Run, picture: Path, small: list[object]
) -> None:
    result = run(picture, *small)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    first = next(i for i, line in enumerate(lines) if line[:1] == ["explained"]) + 1
    lrp, deep_lift = zip(*(map(float, line[-2:]) for line in lines[first : first + 5]), strict=True)
    for explained, *parts in (lrp, deep_lift):
        assert abs(explained - sum(parts)) < 1e-3


def test_pictures_of_one_name_do_not_overwrite_each_other(
    run: Run, picture: Path, small: list[object]
) -> None:
    Path("other").mkdir()
    save_again(picture, Path("other/spots.jpg"))
    assert run(picture, "other/spots.jpg", *small).exit_code == 0
    assert sorted(path.name for path in MAPS.iterdir()) == [
        "spots-explained-2.png",
        "spots-explained.png",
    ]


def test_model_in_a_module_beside_the_user(run: Run, picture: Path, network: Path) -> None:
    network.with_name("beside_the_user.py").write_text(network.read_text())
    result = run(picture, "--model", "beside_the_user:build", "--size", SIDE)
    assert result.exit_code == 0, result.output


def test_exported_program(run: Run, picture: Path, network: Path) -> None:
    program = torch.export.export(built(network).eval(), (torch.zeros(1, 3, SIDE, SIDE),))
    torch.export.save(program, "model.pt2")
    result = run(picture, "--model", "model.pt2", "--size", SIDE, "--target", 1)
    assert result.exit_code == 0, result.output
    assert "Explaining class 1 (1)" in result.stdout


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_of_the_user_are_used(
    run: Run, picture: Path, network: Path, small: list[object], wrapped: bool
) -> None:
    state = {key: torch.zeros_like(value) for key, value in built(network).state_dict().items()}
    state["4.bias"] = torch.tensor([0.0, 50.0, 0.0])
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, "weights.pt")
    result = run(picture, *small, "--weights", "weights.pt")
    assert result.exit_code == 0, result.output
    assert "100.0%  class 1 (1)" in result.stdout


@pytest.mark.parametrize("wanted", ["hound", "DOG", "gray"])
def test_class_is_found_by_name_whatever_the_case(
    run: Run, picture: Path, small: list[object], wanted: str
) -> None:
    Path("names.txt").write_text("tiger cat\ntabby cat\ndog, hound, grayhound\n")
    result = run(picture, *small, "--classes", "names.txt", "--target", wanted)
    assert "Explaining dog (2)" in result.stdout


def test_baseline_from_a_file(run: Run, picture: Path, small: list[object]) -> None:
    Image.new("RGB", (12, 12), "grey").save("grey.png")
    result = run(picture, *small, "--method", "deep-lift", "--baseline", "grey.png")
    assert result.exit_code == 0, result.output
    assert "DeepLIFT rescale, picture baseline" in result.stdout


@pytest.mark.parametrize("choice", ["winner", "shapley"])
def test_max_pools_are_crossed_as_asked(
    run: Run, picture: Path, network: Path, small: list[object], choice: str
) -> None:
    """DeepLIFT takes the choice: the map drawn is the one that `relprop.DeepLift` makes by it."""
    subject = Subject(built(network), Preprocessing(SIDE), Classes(), torch.device("cpu"))
    inputs = subject.inputs(read_picture(picture))
    drawn = METHODS["deep-lift"](subject, Plan(max_pool=choice))(inputs, 1).relevance
    expected = relprop.DeepLift(built(network), max_pool=choice).attribute(inputs, "blur", target=1)
    torch.testing.assert_close(drawn, expected[0])
    result = run(picture, *small, "--method", "deep-lift", "--max-pool", choice)
    assert result.exit_code == 0, result.output
    assert (", shapley pools" in result.stdout) == (choice == "shapley")


def test_max_pool_choices_differ(picture: Path, network: Path) -> None:
    subject = Subject(built(network), Preprocessing(SIDE), Classes(), torch.device("cpu"))
    inputs = subject.inputs(read_picture(picture))
    winner, shapley = (
        METHODS["deep-lift"](subject, Plan(max_pool=choice))(inputs, 1)
        for choice in ("winner", "shapley")
    )
    assert not torch.allclose(winner.relevance, shapley.relevance)
    assert abs(winner.sums.pixels - shapley.sums.pixels) < 1e-5


def test_grey_model_sees_grey_pictures(run: Run, picture: Path, network: Path) -> None:
    network.write_text(network.read_text().replace("Conv2d(3,", "Conv2d(1,"))
    result = run(
        picture, "--model", f"{network}:build", "--size", SIDE, "--mean", 0.5, "--std", 0.5
    )
    assert result.exit_code == 0, result.output


def test_built_in_preprocessing_is_the_one_that_the_network_was_trained_with() -> None:
    preprocessing = BUILT_IN["efficientnet-lite0"].preprocessing
    values = preprocessing.tensor(Image.new("RGB", (224, 224), (127, 255, 0)))
    torch.testing.assert_close(values[0, :, 0, 0], torch.tensor([0.0, 1.0, -127 / 128]))


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (8, 8), (5, 300), (1, 1)])
def test_crop_is_the_middle_at_any_size(size: tuple[int, int]) -> None:
    assert Preprocessing(size=8).crop(Image.new("RGB", size)).size == (8, 8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_pictures_of_every_kind_are_read(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    Image.new(mode, (4, 3)).save(path)
    assert read_picture(path).mode == "RGB"


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    Image.new("I;16", (2, 2), 128 * 257).save(tmp_path / "deep.png")
    assert read_picture(tmp_path / "deep.png").getpixel((0, 0)) == (128, 128, 128)


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_picture(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)
