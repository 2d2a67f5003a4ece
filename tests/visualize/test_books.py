"""A report as data and as a picture: it adds up, and the bars are what the data says."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from torch import nn

import relprop
from relprop.visualize import draw_books

TAKEN = ("passed", "bias", "stabilizer", "dropped")


def network(depth: int = 1) -> nn.Sequential:
    torch.manual_seed(3)
    layers: list[nn.Module] = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
    layers += [nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 3)]
    return nn.Sequential(*layers).double().eval()


def report(depth: int = 1, **settings: float) -> relprop.Report:
    x = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    lrp = relprop.LRP(network(depth), "epsilon", **settings)
    return lrp.report(x, target=[0, 2])


def test_dict_adds_up_to_the_score() -> None:
    books = report(epsilon=0.1).as_dict()
    x = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    outputs = network()(x).detach()
    assert books["score"] == pytest.approx(float(outputs[0, 0] + outputs[1, 2]), abs=1e-12)
    parts = ("relevance", "bias", "stabilizer", "dropped", "shortfall")
    assert sum(books[part] for part in parts) == pytest.approx(books["score"], abs=1e-12)
    assert books["bias"] != 0 and books["stabilizer"] != 0
    for part in ("bias", "stabilizer"):
        assert books[part] == pytest.approx(sum(node[part] for node in books["nodes"]), abs=1e-12)


def test_each_node_hands_on_what_it_received_but_for_what_was_taken() -> None:
    books = report(depth=3, epsilon=0.1).as_dict()
    received = books["score"]
    for node in books["nodes"]:
        assert node["received"] == pytest.approx(received, abs=1e-12)
        assert node["received"] == pytest.approx(sum(node[part] for part in TAKEN), abs=1e-12)
        received = node["passed"]
    assert received == pytest.approx(books["relevance"], abs=1e-12)


def test_a_bias_of_the_last_layer_takes_itself() -> None:
    """R_b = b / z * R with R = z: the epsilon rule without epsilon, at the explained output."""
    books = report(epsilon=0, stabilizer=0).as_dict()
    bias = network()[-1].bias.detach()
    assert books["nodes"][0]["bias"] == pytest.approx(float(bias[0] + bias[2]), abs=1e-12)


def test_dict_is_plain_data_from_output_to_input() -> None:
    books = report().as_dict()
    assert json.loads(json.dumps(books)) == books
    lines = [(node["module"], node["node"], node["rule"]) for node in books["nodes"]]
    assert [module for module, _, _ in lines] == ["4", "3", "2", "1", "0"]
    assert lines[0] == ("4", "linear", "epsilon") and lines[-1] == ("0", "conv2d", "epsilon")


@pytest.mark.parametrize("settings", [{"epsilon": 0.1}, {"bias": "ignore"}])
def test_bars_are_as_wide_as_the_dict_says(settings: dict[str, float]) -> None:
    made = report(depth=4, **settings)
    books, axes = made.as_dict(), made.plot().axes[0]
    widths = [[bar.get_width() for bar in container] for container in axes.containers]
    expected = [[node[part] for node in books["nodes"]] for part in TAKEN]
    np.testing.assert_allclose(widths, expected, rtol=1e-9, atol=1e-14)
    assert axes.yaxis_inverted()
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0] == f"{books['nodes'][0]['module']} linear (epsilon)"


def test_parts_of_either_sign_are_stacked_without_covering_each_other() -> None:
    widths = {"passed": 5.0, "bias": -2.0, "stabilizer": 0.5, "dropped": -1.0}
    node = {"module": "fc", "node": "linear", "rule": "", "received": 2.5, **widths}
    books = report().as_dict() | {"nodes": [node]}
    bars = [container[0] for container in draw_books(books).axes[0].containers]
    spans = [sorted((bar.get_x(), bar.get_x() + bar.get_width())) for bar in bars]
    assert spans == [[0, 5], [-2, 0], [5, 5.5], [-3, -2]]


def test_sixty_nodes_stay_readable() -> None:
    """No name is cut, none touches the next, and the figures at the right end are inside."""
    drawn = report(depth=29).plot()
    axes = drawn.axes[0]
    assert len(axes.get_yticklabels()) == 61
    drawn.canvas.draw()
    for texts in (axes.get_yticklabels(), axes.texts):
        boxes = [text.get_window_extent() for text in texts]
        assert all(box.x0 >= 0 and box.x1 <= drawn.bbox.x1 for box in boxes)
        assert all(a.y0 > b.y1 for a, b in itertools.pairwise(boxes))
        assert np.all([box.height >= 0.08 * drawn.dpi for box in boxes])
    for text in drawn.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= drawn.bbox.x1
