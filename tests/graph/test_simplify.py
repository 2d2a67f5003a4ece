"""Simplified graphs are smaller, and compute the same."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relprop.graph.capture import capture
from relprop.graph.sweep import Sweep


def randomized(module: nn.Module) -> nn.Module:
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.2, 1.5)
    return module.double().eval()


def check(model: nn.Module, x: Tensor, labels: Sequence[str]) -> None:
    """The graph has these nodes, and the model's output."""
    captured = capture(model, [x])
    graph = captured.graph
    assert [node.label for node in graph.nodes if node.label != "extent"] == list(labels)
    sweep = Sweep(graph, [None] * len(graph.nodes))
    with torch.no_grad():
        y = sweep.forward(captured.constants.now(), {graph.inputs[0]: x}).values[graph.output]
        torch.testing.assert_close(y, model(x), rtol=1e-12, atol=1e-12)


BEFORE_AND_AFTER = {
    "conv": (nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.BatchNorm2d(6), ["conv2d"]),
    "transposed": (
        nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2),
        nn.BatchNorm2d(6),
        ["conv_transpose2d"],
    ),
    "dense": (
        nn.Sequential(nn.Flatten(), nn.Linear(100, 5)),
        nn.BatchNorm1d(5),
        ["flatten", "linear"],
    ),
    "before conv": (nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, groups=2), ["conv2d"]),
    "before padded conv": (
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 6, 3, padding=1),
        ["batch_norm", "conv2d"],
    ),
    "no affine": (nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6, affine=False), ["conv2d"]),
}


@pytest.mark.parametrize("name", BEFORE_AND_AFTER)
def test_batch_norm_is_folded_where_it_is_exact(name: str) -> None:
    first, second, labels = BEFORE_AND_AFTER[name]
    check(randomized(nn.Sequential(first, second)), torch.randn(2, 4, 5, 5).double(), labels)


def test_batch_norm_of_a_tensor_with_another_reader_stays() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return y + self.norm(y)

    x = torch.randn(2, 4, 5, 5).double()
    check(randomized(Shared()), x, ["conv2d", "batch_norm", "add"])


@pytest.mark.parametrize("border", [(1, 1, 1, 1), (0, 1, 0, 1), (2, 0, 1, 3), (1, 2)])
def test_zero_padding_is_folded_into_the_convolution(border: tuple[int, ...]) -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, stride=2, padding=(1, 0))

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(F.pad(x, border))

    check(randomized(Padded()), torch.randn(2, 4, 6, 5).double(), ["conv2d"])


def test_other_padding_is_not_folded() -> None:
    model = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
    check(randomized(model), torch.randn(2, 4, 6, 5).double(), ["pad", "conv2d"])


def test_dropout_and_identity_are_gone() -> None:
    model = nn.Sequential(
        nn.Dropout(), nn.Conv2d(4, 4, 1), nn.Identity(), nn.Dropout2d(), nn.ReLU()
    )
    check(randomized(model), torch.randn(2, 4, 6, 5).double(), ["conv2d", "relu"])


def test_what_cannot_be_negative_is_known() -> None:
    class Branches(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            a, b = F.relu(x), torch.sigmoid(x)
            c = F.max_pool2d(torch.cat([a + b, a * b, F.relu6(x)], 1), 2)
            return F.avg_pool2d(c, 2).flatten(1) - 1

    graph = capture(Branches(), [torch.randn(2, 4, 8, 8)]).graph
    negative = [node.label for node in graph.nodes if node.output not in graph.nonnegative]
    assert negative == ["sub"]
