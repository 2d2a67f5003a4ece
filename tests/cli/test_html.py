"""What `relprop explain --html` writes."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image
from torch import Size

import relprop
from relprop.cli.classes import Classes
from relprop.cli.explaining import Subject
from relprop.cli.images import Preprocessing, read_picture
from relprop.cli.inner_layers import one_a_resolution

PAGE = Path("explanations/spots-explained.html")
DATA = re.compile(r'<script type="application/json" id="relevance">(.*?)</script>', re.DOTALL)
VALUE = re.compile(r'<data value="([^"]*)">')
SIDE = 8
Run = Callable[..., Result]
Check = Callable[..., None]


@pytest.fixture
def subject(network: Path) -> Subject:
    namespace: dict[str, Any] = {}
    exec(network.read_text(), namespace)
    model = namespace["build"]().eval()
    return Subject(model, Preprocessing(SIDE), Classes(), torch.device("cpu"))


def maps() -> list[np.ndarray]:
    """The maps of the page: for each method that of the pixels, then those of layers."""
    [data] = DATA.findall(PAGE.read_text(encoding="utf-8"))
    return [
        np.frombuffer(base64.b64decode(one["values"]), "<i2").reshape(one["height"], -1)
        * (one["peak"] / 32767)
        for one in json.loads(data)["maps"]
    ]


def assert_same(drawn: np.ndarray, relevance: torch.Tensor) -> None:
    expected = relevance.double().sum(1)[0].numpy()
    np.testing.assert_allclose(drawn, expected, atol=np.abs(expected).max() / 65000, rtol=0)


def test_no_page_is_written_unasked(run: Run, picture: Path, small: list[object]) -> None:
    assert run(picture, *small).exit_code == 0
    assert not PAGE.exists()


@pytest.mark.parametrize("budget", [(), ("--memory-budget", "1GiB")])
def test_the_page_shows_what_both_methods_attribute_to_pixels_and_layers(
    run: Run, picture: Path, small: list[object], subject: Subject, budget: tuple[str, ...]
) -> None:
    layers_to_show = ("--layer", "1", "--layer", "2:input")
    result = run(picture, *small, "--html", *layers_to_show, "--target", 2, *budget)
    assert result.exit_code == 0, result.output
    assert f"wrote {PAGE}" in result.stdout
    inputs = subject.inputs(read_picture(picture))
    expected: list[torch.Tensor] = []
    layers: dict[str, torch.Tensor]
    for method, arguments in (
        (relprop.LRP(subject.model), ()),
        (relprop.DeepLift(subject.model), ("blur",)),
    ):
        found, layers = method.attribute(inputs, *arguments, target=2, layers=["1", "2:input"])
        expected += [found, *layers.values()]
    for drawn, relevance in zip(maps(), expected, strict=True):
        assert_same(drawn, relevance)


def test_the_table_is_that_of_the_report(
    run: Run, picture: Path, small: list[object], subject: Subject
) -> None:
    assert run(picture, *small, "--html", "--method", "lrp", "--target", 0).exit_code == 0
    report = relprop.LRP(subject.model).report(subject.inputs(read_picture(picture)), target=0)
    html = PAGE.read_text(encoding="utf-8")
    body = html[html.index('class="books"') :].partition("<tbody>")[2].partition("</tbody>")[0]
    figures = ("received", "passed", "bias", "stabilizer", "dropped")
    expected = [[node[name] for name in figures] for node in report.as_dict()["nodes"]]
    found = np.array(VALUE.findall(body), float).reshape(-1, len(figures))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_layers_of_every_resolution_are_shown_by_default(
    run: Run, picture: Path, small: list[object]
) -> None:
    assert run(picture, *small, "--html", "--method", "deep-lift").exit_code == 0
    assert [drawn.shape for drawn in maps()] == [(8, 8), (6, 6), (3, 3)]


def test_of_a_resolution_the_last_layer_that_is_nested_least_is_shown() -> None:
    shapes = {
        "stem": (1, 8, 16, 16),
        "relu@0": (1, 8, 16, 16),
        "blocks.0": (1, 8, 8, 8),
        "blocks.0.conv": (1, 8, 8, 8),
        "blocks.1.conv": (1, 4, 8, 8),
        "blocks.1": (1, 4, 8, 8),
        "pool": (1, 4, 1, 1),
        "flat": (1, 4),
    }
    sizes = {name: Size(shape) for name, shape in shapes.items()}
    assert one_a_resolution(sizes) == ["stem", "blocks.1"]


def test_hostile_names_stay_text(run: Run, picture: Path, small: list[object]) -> None:
    hostile = "<script>alert(1)<!--"
    with Image.open(picture) as opened:
        opened.save(f"{hostile}.png")
    Path("names.txt").write_text(f"{hostile}\n{hostile}\n{hostile}\n")
    result = run(f"{hostile}.png", *small, "--classes", "names.txt", "--html")
    assert result.exit_code == 0, result.output
    html = (PAGE.parent / f"{hostile}-explained.html").read_text(encoding="utf-8")
    assert "<script>alert" not in html
    assert "<!--" not in html


def test_layer_without_a_page(
    run: Run, assert_refused: Check, picture: Path, small: list[object]
) -> None:
    assert_refused(run(picture, *small, "--layer", "1"), "--layer is for the page", "--html")


@pytest.mark.parametrize(
    ("layer", "words"),
    [("7", "a layer must be the path of a module"), ("4", "must give maps, shape (N, C, H, W)")],
)
def test_layer_that_cannot_be_shown(
    run: Run, assert_refused: Check, picture: Path, small: list[object], layer: str, words: str
) -> None:
    result = run(picture, *small, "--html", "--layer", layer)
    assert_refused(result, words, exit_code=1)
    assert not PAGE.exists()


def test_page_that_cannot_be_written(
    run: Run, assert_refused: Check, picture: Path, small: list[object]
) -> None:
    PAGE.mkdir(parents=True)
    result = run(picture, *small, "--html")
    assert_refused(result, f"cannot write {PAGE}", exit_code=1)
    assert sorted(path.name for path in PAGE.parent.iterdir()) == [
        "spots-explained.html",
        "spots-explained.png",
    ]
