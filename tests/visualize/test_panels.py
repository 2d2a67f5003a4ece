"""Figures of panels: readable at every width, and written whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from relprop.errors import InvalidInputError
from relprop.visualize import COLOR_MAPS, MEDIA, Key, Panel, figure, save_png


def three_panels() -> Figure:
    image = np.zeros((8, 8, 3), np.uint8)
    return figure(
        [("a heading", [Panel(image, "one", "below"), Panel(image, "two"), Panel(image, "three")])]
    )


def test_figure_is_written_as_png(tmp_path: Path) -> None:
    save_png(three_panels(), tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as written:
        assert written.format == "PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


@pytest.mark.parametrize("name", ["costs $5 or \\$6$.png", "猫.png", "a_b^{c.png"])
def test_names_are_drawn_as_they_are(tmp_path: Path, name: str) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    save_png(figure([(name, [Panel(image, name, name)])]), tmp_path / "figure.png")


def test_failed_write_keeps_the_old_file_and_leaves_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_half(_: Figure, path: Path, **__: object) -> None:
        path.write_bytes(b"half a")
        raise OSError("no space left")

    (tmp_path / "figure.png").write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", write_half)
    with pytest.raises(OSError, match="no space left"):
        save_png(three_panels(), tmp_path / "figure.png")
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
    assert (tmp_path / "figure.png").read_bytes() == b"old"


@pytest.mark.parametrize("colors", COLOR_MAPS)
@pytest.mark.parametrize("columns", [1, 2, 4])
def test_no_words_are_cut_or_overlap(columns: int, colors: str) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    panel = Panel(image, "DeepLIFT reveal_cancel, shapley pools, blur baseline" * 2, "caption " * 8)
    rows = [("a heading of many words, such as a class has " * 2, [panel] * columns)] * 2
    drawn = figure(rows, Key(colors, 1.2345e-7))
    drawn.canvas.draw()
    texts = [*drawn.texts]
    for axes in drawn.axes:
        texts += [axes.title, axes.xaxis.label, *axes.texts]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    for number, box in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0
        assert box.x1 <= drawn.bbox.x1 and box.y1 <= drawn.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:number])


def test_print_has_more_dots_than_screen_and_the_same_inches() -> None:
    rows = [("", [Panel(np.zeros((8, 8, 3), np.uint8), "one")])]
    screen, print_ = (figure(rows, medium=medium) for medium in MEDIA)
    assert (screen.get_size_inches() == print_.get_size_inches()).all()
    assert print_.dpi > screen.dpi


def test_figure_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="at least one panel"):
        figure([])


def test_without_matplotlib_relprop_explains_and_says_what_drawing_needs() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import relprop\n"
        "try: relprop.Report(1.0, 1.0, 0.0, []).plot()\n"
        "except ModuleNotFoundError as missing: print(missing)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == (
        "relprop.visualize needs matplotlib, which is not installed: pip install 'relprop[cli]'"
    )
