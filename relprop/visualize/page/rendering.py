"""A page's contents through its templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from torch import Tensor

from relprop.visualize.colors import COLOR_MAPS, DEFAULT_COLORS, PERCENTILE, heat_map, total
from relprop.visualize.page.bars import bars
from relprop.visualize.page.contents import Chapter, Page
from relprop.visualize.page.encoding import Texture, as_base64, content_hash, data_uri
from relprop.visualize.saving import whole

COLOR_STEPS = 257
"""How many colours a colour map has: an odd number, so that zero has one."""


@dataclass(frozen=True)
class Drawn:
    """A map on the page: the number of its texture, and a picture for those who run no scripts."""

    number: int
    title: str
    size: str
    sum: float
    peak: float
    width: int
    height: int
    still: str


class Canvases:
    """Numbers the maps of a page, in their order, and keeps their textures for the script."""

    def __init__(self) -> None:
        self.textures: list[Texture] = []

    def add(self, title: str, relevance: Tensor) -> Drawn:
        """A map of relevance, shape (C, H, W)."""
        values = total(relevance)
        texture = Texture.of(values)
        self.textures.append(texture)
        return Drawn(
            number=len(self.textures) - 1,
            title=title,
            size=" \N{MULTIPLICATION SIGN} ".join(map(str, relevance.shape)),
            sum=float(values.sum()),
            peak=texture.peak,
            width=texture.width,
            height=texture.height,
            still=data_uri(heat_map(relevance)),
        )


def save_page(page: Page, path: Path) -> None:
    """Write a page whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    with whole(path) as unfinished:
        unfinished.write_text(render(page), encoding="utf-8", newline="\n")


def render(page: Page) -> str:
    """The page as HTML.

    Raises:
        InvalidInputError: relevance has no height and width, or is not finite.
    """
    canvases = Canvases()
    chapters = [_chapter(chapter, canvases) for chapter in page.chapters]
    templates = files("relprop.visualize.page") / "templates"
    style, script = (
        (templates / name).read_text(encoding="utf-8") for name in ("page.css", "page.js")
    )
    return (
        _environment()
        .get_template("page.html")
        .render(
            page=page,
            chapters=chapters,
            picture=data_uri(page.picture),
            colors=list(COLOR_MAPS),
            percentile=PERCENTILE,
            legend=_color_data()[DEFAULT_COLORS]["legend"],
            data={
                "colors": _color_data(),
                "maps": [asdict(texture) for texture in canvases.textures],
            },
            style=Markup(style),
            script=Markup(script),
            policy=_policy(style, script),
        )
    )


def _chapter(chapter: Chapter, canvases: Canvases) -> dict[str, Any]:
    """What the template needs of a method besides what the page says."""
    described: dict[str, Any] = {
        "says": chapter,
        "pixels": canvases.add(chapter.title, chapter.relevance),
        "layers": [canvases.add(name, relevance) for name, relevance in chapter.layers.items()],
    }
    if chapter.books is not None:
        stacks, zero = bars(chapter.books["nodes"])
        described["nodes"] = list(zip(chapter.books["nodes"], stacks, strict=True))
        described["zero"] = zero
    return described


@cache
def _color_data() -> Mapping[str, Mapping[str, Any]]:
    """For every colour map its colours from the lowest value to 1, and the same as a picture."""
    found = {}
    for name, color_map in COLOR_MAPS.items():
        table = color_map(np.linspace(color_map.lowest, 1, COLOR_STEPS))
        found[name] = {
            "lowest": color_map.lowest,
            "table": as_base64(table),
            "legend": data_uri(table[None]),
        }
    return found


def _policy(style: str, script: str) -> str:
    """Lets the page's own style and script in, pictures that it holds, and nothing else."""
    return (
        f"default-src 'none'; img-src data:; style-src {content_hash(style)}; "
        f"script-src {content_hash(script)}; base-uri 'none'; form-action 'none'"
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("relprop.visualize.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = lambda value: f"{value + 0.0:.4g}".replace(
        "-", "\N{MINUS SIGN}"
    )
    environment.filters["percent"] = lambda share: f"{share:.1%}"
    return environment
