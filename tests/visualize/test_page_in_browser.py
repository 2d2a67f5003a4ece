"""The page's script, run by a browser where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import chromium
import numpy as np
import pytest
import torch

from relprop.visualize import heat_map, limit
from relprop.visualize.page import Answer, Chapter, Page, save_page

SIDE = 16
pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="there is no Chromium")

PIXELS = """
Array.from(document.querySelectorAll("canvas")[{number}].getContext("2d")
  .getImageData(0, 0, {width}, {height}).data)
"""
SET = """
document.getElementById("{id}").{property} = {value};
document.getElementById("controls").dispatchEvent(new Event("input"));
"""
KEY = """
document.querySelectorAll("canvas")[0].dispatchEvent(
  new KeyboardEvent("keydown", {{key: "{key}", shiftKey: {shift}, cancelable: true}}))
"""


@pytest.fixture(scope="module")
def maps() -> list[torch.Tensor]:
    drawn = torch.Generator().manual_seed(0)
    sizes = [(3, SIDE, SIDE), (5, 4, 4), (3, SIDE, SIDE)]
    return [torch.randn(size, generator=drawn, dtype=torch.float64) ** 3 for size in sizes]


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    with chromium.browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def opened(tab: chromium.Browser, maps: list[torch.Tensor], tmp_path: Path) -> chromium.Browser:
    first, layer, second = maps
    chapters = [
        Chapter("LRP", {}, [("f(x)", 1.0)], first, {"conv": layer}),
        Chapter("DeepLIFT", {}, [("f(x)", 1.0)], 10 * second),
    ]
    target = Answer("</script><script>alert(1)</script>", 1, 0.5)
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    page = Page("cat.png", "net", picture, [target], target, 1.0, chapters, {})
    save_page(page, tmp_path / "page.html")
    tab.open(tmp_path / "page.html")
    return tab


def painted(tab: chromium.Browser, number: int, side: int) -> np.ndarray:
    found = tab.run(PIXELS.format(number=number, width=side, height=side))
    return np.array(found, np.uint8).reshape(side, side, 4)


def limits(tab: chromium.Browser) -> list[float]:
    """What gets full colour in each map: both of pixels, then the layer's."""
    script = 'Array.from(document.querySelectorAll("canvas"), c => Number(c.dataset.limit))'
    found: list[float] = tab.run(script)
    return found


def test_the_script_runs_without_complaint_and_asks_for_nothing(opened: chromium.Browser) -> None:
    assert opened.run("document.documentElement.dataset.drawn") == "3"
    assert opened.complaints() == []
    loaded = [address for address in opened.requested() if not address.startswith("data:")]
    assert len(loaded) == 1  # the page itself


def test_canvases_show_what_the_figures_show(
    opened: chromium.Browser, maps: list[torch.Tensor]
) -> None:
    first, layer, second = maps
    for number, relevance in enumerate((first, 10 * second, layer)):
        seen = painted(opened, number, relevance.shape[-1])
        assert (seen[..., 3] == 255).all()
        # Relevance is rounded to 1 / 32767 of its peak, which may be one step of colour.
        wrong = (seen[..., :3] != heat_map(relevance)).any(-1)
        near = np.abs(seen[..., :3].astype(int) - heat_map(relevance)).max()
        assert wrong.mean() < 0.05
        assert near <= 4


def test_full_colour_is_at_the_percentile_of_the_slider(
    opened: chromium.Browser, maps: list[torch.Tensor]
) -> None:
    first, layer, second = maps
    for percentile in (99.5, 90, 100):
        opened.run(SET.format(id="percentile", property="value", value=percentile))
        expected = [limit(relevance, percentile) for relevance in (first, 10 * second, layer)]
        np.testing.assert_allclose(limits(opened), expected, rtol=1e-3)


def test_one_scale_is_that_of_all_pixels_together(
    opened: chromium.Browser, maps: list[torch.Tensor]
) -> None:
    first, layer, second = maps
    opened.run(SET.format(id="same", property="checked", value="true"))
    both = torch.cat([first.sum(0).flatten(), 10 * second.sum(0).flatten()]).abs()
    shared = torch.quantile(both, 0.995).item()
    np.testing.assert_allclose(limits(opened), [shared, shared, limit(layer)], rtol=1e-3)


@pytest.mark.parametrize("opacity", [0, 25, 50, 75])
def test_opacity_lets_the_picture_through_where_relevance_is_weak(
    opened: chromium.Browser, maps: list[torch.Tensor], opacity: int
) -> None:
    opened.run(SET.format(id="opacity", property="value", value=opacity))
    summed = maps[0].sum(0)
    size = (summed / limit(maps[0])).abs().clamp(max=1).numpy()
    half = opacity / 50
    cover = max(0.0, half - 1)
    expected = 255 * min(1.0, half) * (cover + (1 - cover) * size)
    np.testing.assert_allclose(painted(opened, 0, SIDE)[..., 3], expected, atol=1)


def test_colours_can_be_chosen(opened: chromium.Browser, maps: list[torch.Tensor]) -> None:
    opened.run(SET.format(id="colors", property="value", value='"positive"'))
    negative = (maps[0].sum(0) < 0).numpy()
    assert (painted(opened, 0, SIDE)[negative] == 255).all()
    assert opened.run('document.getElementById("lowest").textContent') == "none"


def test_arrow_keys_read_the_same_pixel_in_all_maps_of_one_size(
    opened: chromium.Browser, maps: list[torch.Tensor]
) -> None:
    opened.run(KEY.format(key="ArrowLeft", shift="false"))
    opened.run(KEY.format(key="ArrowDown", shift="true"))
    script = 'Array.from(document.querySelectorAll("figure output"), o => o.textContent)'
    first, second, layer = opened.run(script)
    x, y = SIDE // 2 - 1, SIDE - 1
    for said, relevance in ((first, maps[0]), (second, 10 * maps[2])):
        place, _, value = said.partition(": ")
        assert place == f"column {x}, row {y}"
        found = float(value.replace("\N{MINUS SIGN}", "-"))
        peak = relevance.sum(0).abs().max().item()
        assert abs(found - relevance.sum(0)[y, x].item()) < peak / 32767 + 1e-3 * abs(found)
    assert layer == ""


def test_the_pointer_reads_a_pixel(opened: chromium.Browser, maps: list[torch.Tensor]) -> None:
    opened.run(
        'const canvas = document.querySelectorAll("canvas")[1];'
        "const box = canvas.getBoundingClientRect();"
        'canvas.dispatchEvent(new PointerEvent("pointermove", {'
        f"clientX: box.left + box.width * 2.5 / {SIDE},"
        f"clientY: box.top + box.height * 7.5 / {SIDE}}}))"
    )
    said = opened.run('document.querySelectorAll("figure output")[1].textContent')
    assert said.startswith("column 2, row 7: ")


@pytest.mark.parametrize("width", [320, 800, 1600])
def test_nothing_sticks_out_of_the_window(opened: chromium.Browser, width: int) -> None:
    opened.ask(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=900,
        deviceScaleFactor=1,
        mobile=False,
    )
    assert opened.run("document.documentElement.scrollWidth") <= width
    opened.ask("Emulation.clearDeviceMetricsOverride")
