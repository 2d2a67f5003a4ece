"""The HTML page of an explanation: whole, safe to open, and true to the numbers."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

import relprop
from relprop.visualize import COLOR_MAPS, heat_map
from relprop.visualize.page import Answer, Chapter, Page, render, save_page

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&.png"
SIDE = 12


class Elements(HTMLParser):
    """Every element with its attributes, and the text from there to the next tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.text = ""
        self._ended = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))
        self._ended = False

    def handle_endtag(self, tag: str) -> None:
        self._ended = True

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.found and not self._ended:
            tag, attributes, text = self.found[-1]
            self.found[-1] = tag, attributes, text + data

    def named(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, text) for name, attributes, text in self.found if name == tag]


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(100, 3)
    ).eval()


@pytest.fixture
def books(model: nn.Module) -> dict[str, Any]:
    return relprop.LRP(model).report(torch.rand(1, 3, SIDE, SIDE), target=1).as_dict()


@pytest.fixture
def page(books: dict[str, Any]) -> Page:
    cat = Answer("tiger cat", 1, 0.625)
    chapters = [
        Chapter(
            title="LRP epsilon",
            settings={"composite": "epsilon"},
            sums=[("f(x)", 1.0), ("= pixels", 0.75), ("+ biases", 0.25)],
            relevance=torch.randn(3, SIDE, SIDE, dtype=torch.float64) ** 3,
            layers={"features.0": torch.randn(4, 5, 5, dtype=torch.float64)},
            books=books,
        ),
        Chapter("DeepLIFT", {}, [("f(x)", 1.0)], torch.randn(3, SIDE, SIDE).double()),
    ]
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return Page("cat.png", "net", picture, [cat], cat, 2.5, chapters, {"relprop": "0"})


def embedded(html: str) -> dict[str, Any]:
    """What the page's script is given."""
    [text] = [
        text for given, text in Elements(html).named("script") if given.get("id") == "relevance"
    ]
    data: dict[str, Any] = json.loads(text)
    return data


def decoded(texture: dict[str, Any]) -> NDArray[np.float64]:
    steps = np.frombuffer(base64.b64decode(texture["values"]), "<i2").astype(np.float64)
    return (steps * texture["peak"] / 32767).reshape(texture["height"], texture["width"])


def pixels(uri: str) -> NDArray[np.uint8]:
    head, _, content = uri.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    html = render(page)
    elements = Elements(html)
    for _, attributes, _ in elements.found:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not re.search(r"https?://|@import|url\(|\bfetch\(|XMLHttpRequest", html)


def test_the_page_lets_in_its_own_script_and_style_alone(page: Page) -> None:
    elements = Elements(render(page))
    [policy] = [
        given["content"] or ""
        for given, _ in elements.named("meta")
        if given.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for kind in ("script", "style"):
        [text] = [text for given, text in elements.named(kind) if not given]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert not any("style" in given for _, given, _ in elements.found)


def test_relevance_is_kept_to_half_a_step(page: Page) -> None:
    lrp, deep_lift = page.chapters
    wanted = [lrp.relevance, *lrp.layers.values(), deep_lift.relevance]
    textures = embedded(render(page))["maps"]
    for texture, relevance in zip(textures, wanted, strict=True):
        summed = relevance.sum(0).numpy()
        assert texture["peak"] == np.abs(summed).max()
        np.testing.assert_allclose(decoded(texture), summed, atol=texture["peak"] / 65533, rtol=0)
        assert (np.sign(decoded(texture)) * np.sign(summed) >= 0).all()


def test_zero_relevance_stays_zero(page: Page) -> None:
    nothing = replace(page.chapters[1], relevance=torch.zeros(3, SIDE, SIDE))
    [texture] = embedded(render(replace(page, chapters=[nothing])))["maps"]
    assert not decoded(texture).any()


def test_colours_are_those_of_the_figures(page: Page) -> None:
    colors = embedded(render(page))["colors"]
    assert set(colors) == set(COLOR_MAPS)
    for name, color_map in COLOR_MAPS.items():
        table = np.frombuffer(base64.b64decode(colors[name]["table"]), np.uint8).reshape(257, 3)
        lowest = colors[name]["lowest"]
        values = np.linspace(-1.5, 1.5, 1001)
        places = (values.clip(lowest, 1) - lowest) / (1 - lowest)
        steps = np.floor(257 * places).clip(max=256).astype(int)
        np.testing.assert_array_equal(table[steps], color_map(values))


def test_maps_are_there_without_scripts(page: Page) -> None:
    shown = [given for given, _ in Elements(render(page)).named("img")]
    stills = [given for given in shown if given.get("class") == "still"]
    lrp, deep_lift = page.chapters
    wanted = [lrp.relevance, deep_lift.relevance, *lrp.layers.values()]
    for still, relevance in zip(stills, wanted, strict=True):
        np.testing.assert_array_equal(pixels(still["src"] or ""), heat_map(relevance))
        assert still["alt"]


def test_the_picture_is_what_the_model_saw(page: Page) -> None:
    shown = [given for given, _ in Elements(render(page)).named("img")]
    [picture] = [given for given in shown if given.get("id") == "picture"]
    np.testing.assert_array_equal(pixels(picture["src"] or ""), page.picture)


def test_the_table_holds_the_books_to_the_last_digit(page: Page, books: dict[str, Any]) -> None:
    html = render(page)
    body = html[html.index('class="books"') :].partition("</table>")[0]
    rows = body.partition("<tbody>")[2].partition("</tbody>")[0].split("<tr>")[1:]
    figures = ("received", "passed", "bias", "stabilizer", "dropped")
    for row, node in zip(rows, books["nodes"], strict=True):
        cells = re.findall(r"<t[hd][^>]*>([^<]*)", row)
        assert cells[:3] == [node["module"], node["node"], node["rule"]]
        values = [float(given["value"] or "") for given, _ in Elements(row).named("data")]
        assert values == [node[name] for name in figures]
    totals = [float(given["value"] or "") for given, _ in Elements(body).named("data")][-5:]
    assert totals == [
        books[name] for name in ("score", "relevance", "bias", "stabilizer", "dropped")
    ]


def test_bars_are_as_long_as_what_they_stand_for(page: Page) -> None:
    nodes = [
        {"module": "", "node": "a", "rule": "", "received": 4.0, "passed": 3.0, "bias": 2.0}
        | {"stabilizer": 0.0, "dropped": -1.0},
        {"module": "", "node": "b", "rule": "", "received": 2.0, "passed": 2.0, "bias": 0.0}
        | {"stabilizer": 0.0, "dropped": 0.0},
    ]
    totals = dict.fromkeys(("score", "relevance", "bias", "stabilizer", "dropped", "shortfall"), 0)
    chapter = replace(page.chapters[0], books={**totals, "nodes": nodes})
    html = render(replace(page, chapters=[chapter], answers=[]))
    found = [
        (given["class"], float(given["x"] or ""), float(given["width"] or ""))
        for given, _ in Elements(html).named("rect")
    ]
    unit = 100 / 6  # from -1 to 5
    expected = [
        ("passed", unit, 3 * unit),
        ("bias", 4 * unit, 2 * unit),
        ("dropped", 0.0, unit),
        ("passed", unit, 2 * unit),
    ]
    assert [name for name, *_ in found] == [name for name, *_ in expected]
    np.testing.assert_allclose(
        [row[1:] for row in found], [row[1:] for row in expected], atol=0.001
    )


def renamed(page: Page, name: str) -> Page:
    """The page with one name for everything that users and models name."""
    answer = Answer(name, 1, 0.5)
    lrp, deep_lift = page.chapters
    assert lrp.books is not None
    books = {**lrp.books, "nodes": [{**node, "module": name} for node in lrp.books["nodes"]]}
    chapter = replace(
        lrp,
        title=name,
        settings={name: name},
        sums=[(name, 1.0)],
        layers={name: torch.randn(4, 5, 5)},
        books=books,
    )
    return replace(
        page,
        name=name,
        model=name,
        target=answer,
        answers=[answer],
        chapters=[chapter, deep_lift],
        versions={name: name},
    )


def test_names_are_text_and_nothing_else(page: Page) -> None:
    innocent, elements = (Elements(render(renamed(page, name))) for name in ("cat", HOSTILE))
    assert [tag for tag, *_ in elements.found] == [tag for tag, *_ in innocent.found]
    assert not any(name.startswith("on") for _, given, _ in elements.found for name in given)
    assert HOSTILE in elements.text


def test_everything_to_be_operated_has_a_label(page: Page) -> None:
    html = render(page)
    elements = Elements(html)
    labelled = {given.get("for") for given, _ in elements.named("label")}
    for given, _ in elements.named("input") + elements.named("select"):
        assert (
            given["id"] in labelled
            or f'<label class="check"><input type="checkbox" id="{given["id"]}">' in html
        )
    assert all(given.get("aria-label") for given, _ in elements.named("canvas"))
    assert all("alt" in given for given, _ in elements.named("img"))
    ids = [given["id"] for _, given, _ in elements.found if "id" in given]
    assert len(ids) == len(set(ids))


def test_a_page_is_written_whole_or_not_at_all(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    save_page(page, path)
    before = path.read_bytes()
    infinite = replace(page.chapters[1], relevance=torch.full((3, SIDE, SIDE), torch.inf))
    with pytest.raises(relprop.InvalidInputError, match="finite"):
        save_page(replace(page, chapters=[infinite]), path)
    assert path.read_bytes() == before == render(page).encode()
    assert list(tmp_path.iterdir()) == [path]
