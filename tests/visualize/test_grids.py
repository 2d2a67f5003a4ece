"""Many maps in one figure: what shares a scale shares its colours, and nothing is interpolated."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from relprop.errors import InvalidInputError, InvalidTypeError
from relprop.visualize import grid, heat_map, layer_maps, overlay


def seeded(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def images(drawn: Figure) -> list[NDArray[np.uint8]]:
    """The panels' pictures, row by row; the colour bar comes last and has none."""
    return [np.asarray(axes.images[0].get_array()) for axes in drawn.axes if axes.images]


def titles(drawn: Figure) -> list[str]:
    return [axes.get_title() for axes in drawn.axes if axes.images]


def two_by_two(scale: str | float) -> list[tuple[int, ...]]:
    """The colour of relevance 1 in four maps whose other pixels are 1, 2 (row 0), 4, 8 (row 1)."""
    values = torch.tensor([[1.0, 2.0], [4.0, 8.0]])
    maps = values[:, :, None, None].expand(2, 2, 1, 8).clone()
    maps[..., 0] = 1
    columns = {"a": maps[:, 0], "b": maps[:, 1]}
    shown = images(grid(torch.zeros(2, 1, 1, 8), columns, scale=scale))
    return [tuple(shown[k][0, 0].tolist()) for k in (1, 2, 4, 5)]


def test_shared_scale_gives_the_same_colour_to_the_same_value() -> None:
    assert len(set(two_by_two("all"))) == 1
    assert len(set(two_by_two(3.0))) == 1
    assert len(set(two_by_two("map"))) == 4


def test_rows_and_columns_share_as_they_are_asked_to() -> None:
    a0, b0, a1, b1 = two_by_two("row")
    assert a0 == b0 and a1 == b1 and a0 != a1
    a0, b0, a1, b1 = two_by_two("column")
    assert a0 == a1 and b0 == b1 and a0 != b0


def test_grid_is_rows_of_inputs_beside_their_maps() -> None:
    x, first, second = seeded(2, 3, 4, 5), seeded(2, 3, 4, 5), seeded(2, 4, 5)
    drawn = grid(x, {"one": first, "two": second}, rows=["cat", "cup"], scale=2.0)
    assert titles(drawn) == ["input", "one", "two"] * 2
    assert [text.get_text() for text in drawn.texts] == ["cat", "cup"]
    shown = images(drawn)
    for row in range(2):
        assert (shown[3 * row + 1] == heat_map(first[row], 2.0)).all()
        assert (shown[3 * row + 2] == heat_map(second[row], 2.0)).all()


def test_inputs_are_drawn_from_black_to_white() -> None:
    x = torch.tensor([-2.0, 0.5, 3.0]).view(1, 1, 1, 3)
    assert images(grid(x, {"a": x}))[0][0, :, 0].tolist() == [0, 128, 255]


def test_pictures_are_drawn_as_they_are() -> None:
    picture = np.array([[10, 20], [30, 40]], np.uint8)
    drawn = grid([picture], {"a": torch.ones(1, 2, 2)}, over_inputs=True, scale=4.0)
    shown = images(drawn)
    assert (shown[0] == picture[..., None]).all()
    assert (shown[1] == overlay(picture, torch.ones(2, 2), 4.0)).all()


@pytest.mark.parametrize(("scale", "captions"), [("map", 2), ("row", 2), ("all", 0), (0.5, 0)])
def test_scale_is_said_below_each_map_or_once_at_the_bar(scale: str | float, captions: int) -> None:
    drawn = grid(torch.zeros(1, 1, 2, 2), {"a": torch.ones(1, 2, 2) / 2, "b": torch.ones(1, 2, 2)})
    assert sum("full colour" in axes.get_xlabel() for axes in drawn.axes) == 2
    x = torch.full((1, 2, 2), 0.5)
    drawn = grid(torch.zeros(1, 1, 2, 2), {"a": x, "b": x}, scale=scale)
    assert sum("full colour at 0.5" in axes.get_xlabel() for axes in drawn.axes) == captions
    words = [text.get_text() for text in drawn.axes[-1].texts]
    assert ("-0.5" in words[0] and "0.5" in words[1]) == (captions == 0)


def test_layers_are_in_order_and_channels_are_summed() -> None:
    layers = {"features.7": seeded(5, 2, 2), "features.3": seeded(1, 4, 3, 3), "stem": seeded(8, 8)}
    drawn = layer_maps(layers, columns=2)
    assert titles(drawn) == list(layers)
    for shown, relevance in zip(images(drawn), layers.values(), strict=True):
        assert (shown == heat_map(relevance)).all()
    total = layers["features.7"].sum()
    assert f"5 x 2 x 2, sum {total:.3g}" in drawn.axes[0].get_xlabel()


def test_layers_are_enlarged_without_interpolation() -> None:
    """Inside of a panel, no dot of the figure has a colour that the map does not have."""
    relevance = seeded(3, 7, 5)
    drawn = layer_maps({"a": relevance})
    drawn.canvas.draw()
    dots = np.asarray(drawn.canvas.buffer_rgba())[..., :3]
    box = drawn.axes[0].get_window_extent()
    height = len(dots)
    inside = dots[
        height - int(box.y1) + 4 : height - int(box.y0) - 4, int(box.x0) + 4 : int(box.x1) - 4
    ]
    assert inside.size > 3 * 300**2
    colors = {tuple(color) for color in heat_map(relevance).reshape(-1, 3).tolist()}
    assert {tuple(color) for color in inside.reshape(-1, 3).tolist()} == colors


@pytest.mark.parametrize(
    ("relevance", "sentence"),
    [
        (seeded(3, 2, 4, 4), r"with N 2, one for each input, not \(3, 2, 4, 4\)"),
        (seeded(2, 4), r"must have the shape \(N, C, H, W\) or \(N, H, W\)"),
    ],
)
def test_maps_that_do_not_fit_the_inputs_are_refused(relevance: Tensor, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        grid(seeded(2, 3, 4, 4), {"LRP": relevance})


def test_other_mistakes_are_met_by_a_sentence() -> None:
    x = seeded(2, 3, 4, 4)
    with pytest.raises(InvalidTypeError, match="'LRP' must be a tensor, not list"):
        grid(x, {"LRP": [1, 2]})
    with pytest.raises(InvalidInputError, match="with C 1 or 3, not"):
        grid(seeded(2, 5, 4, 4), {"LRP": x})
    with pytest.raises(InvalidInputError, match="rows must have 2 headings, not 1"):
        grid(x, {"LRP": x}, rows=["one"])
    with pytest.raises(InvalidInputError, match="scale must be one of 'map', 'row'"):
        grid(x, {"LRP": x}, scale="best")
    with pytest.raises(InvalidInputError, match="a picture must have the shape"):
        grid([np.zeros((4, 4, 4))], {"LRP": x[:1]})
    with pytest.raises(InvalidInputError, match="medium must be one of 'screen', 'print'"):
        grid(x, {"LRP": x}, medium="stone")


def test_mistakes_in_layers_name_the_layer() -> None:
    with pytest.raises(InvalidInputError, match="layer 'fc': relevance must have the shape"):
        layer_maps({"conv": seeded(3, 4, 4), "fc": seeded(10)})
    with pytest.raises(InvalidInputError, match="columns must be greater than 0"):
        layer_maps({"conv": seeded(3, 4, 4)}, columns=0)
    with pytest.raises(InvalidInputError, match="scale must be 'map', 'all' or a magnitude"):
        layer_maps({"conv": seeded(3, 4, 4)}, scale="row")
    with pytest.raises(InvalidInputError, match="at least one panel"):
        layer_maps({})
