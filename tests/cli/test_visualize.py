"""What the colours of a relevance map may be trusted to say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from relprop.visualize import Panel, figure, heat_map, limit, overlay, save_png, total

WHITE = [255, 255, 255]


def seeded(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_no_relevance_is_white() -> None:
    assert (heat_map(torch.zeros(3, 4, 5)) == 255).all()


def test_zero_stays_white_where_all_else_is_positive() -> None:
    relevance = seeded(6, 6).abs()
    relevance[2, 3] = 0
    assert heat_map(relevance)[2, 3].tolist() == WHITE


def test_for_is_red_and_against_is_blue() -> None:
    red, _, blue = heat_map(torch.tensor([[1.0]]))[0, 0]
    assert red > blue
    red, _, blue = heat_map(torch.tensor([[-1.0]]))[0, 0]
    assert blue > red


def test_scale_is_the_same_for_both_signs() -> None:
    relevance = seeded(3, 7, 9)
    assert limit(relevance) == limit(-relevance) > 0
    assert (heat_map(relevance, 1.0) == heat_map(relevance * 5, 5.0)).all()


def test_a_single_outlier_does_not_pale_the_rest() -> None:
    relevance = seeded(40, 40)
    before = limit(relevance)
    relevance[0, 0] = 1e6
    assert limit(relevance) < 2 * before


def test_a_single_relevant_pixel_is_seen() -> None:
    relevance = torch.zeros(40, 40)
    relevance[3, 4] = 2.0
    assert limit(relevance) == 2.0


def test_channels_are_summed() -> None:
    relevance = seeded(3, 4, 5)
    np.testing.assert_allclose(total(relevance), relevance.double().sum(0).numpy())


def test_overlay_shows_the_picture_where_nothing_is_relevant() -> None:
    picture = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3) * 4
    painted = overlay(picture, torch.zeros(4, 5))
    assert painted.shape == (4, 5, 3)
    assert (painted[..., 0] == painted[..., 2]).all()
    assert (np.diff(painted[..., 0].ravel().astype(int)) >= 0).all()


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
