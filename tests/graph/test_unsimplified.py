"""A graph that is not simplified has every step of the model; and any graph can end before."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from relprop.graph.capture import capture, find_capture
from relprop.graph.node import Graph
from relprop.graph.sweep import Sweep


class Padded(nn.Module):
    """Three things that simplifying would fold or drop: padding, a batch norm, an idle layer."""

    def __init__(self) -> None:
        super().__init__()
        self.pad, self.conv = nn.ZeroPad2d(1), nn.Conv2d(2, 3, 3)
        self.norm, self.idle = nn.BatchNorm2d(3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(self.pad(x)))
        self.idle(y)
        return y.flatten(1)


def labels(graph: Graph) -> list[str]:
    return [node.label for node in graph.nodes if node.label not in ("extent", "flatten")]


def test_nothing_is_folded_or_dropped_and_the_output_is_the_same() -> None:
    model = Padded().double().eval()
    x = torch.randn(2, 2, 5, 5).double()
    whole, simple = find_capture(model, [x], simplified=False), find_capture(model, [x])
    assert labels(whole.graph) == ["pad", "conv2d", "batch_norm", "relu"]
    assert labels(simple.graph) == ["conv2d"]
    assert find_capture(model, [x], simplified=False) is whole
    for captured in (whole, simple):
        graph = captured.graph
        sweep = Sweep(graph, [None] * len(graph.nodes))
        with torch.no_grad():
            run = sweep.forward(captured.constants.now(), {graph.inputs[0]: x})
            torch.testing.assert_close(run.values[graph.output], model(x), rtol=1e-12, atol=1e-12)


def test_a_graph_that_ends_at_a_layer_computes_what_the_layer_gives() -> None:
    model = Padded().double().eval()
    x = torch.randn(2, 2, 5, 5).double()
    captured = capture(model, [x], simplified=False)
    graph = captured.graph
    y = model.conv(model.pad(x)).detach()
    for path, expected in {"conv": y, "idle": model.idle(model.norm(y)).detach()}.items():
        (value,) = graph.layers[path][0].outputs
        part = graph.ending_at(value)
        run = Sweep(part, [None] * len(part.nodes)).forward(
            captured.constants.now(), {part.inputs[0]: x}
        )
        torch.testing.assert_close(run.values[value], expected, rtol=1e-12, atol=1e-12)
    at_once = graph.ending_at(graph.inputs[0])
    assert at_once.nodes == [] and at_once.output == graph.inputs[0]
