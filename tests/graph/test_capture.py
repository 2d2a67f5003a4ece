"""One graph for all ways to write a model."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import relprop
from relprop.graph.capture import _holds, capture, find_capture
from relprop.graph.sweep import Sweep

X = torch.randn(2, 4, 6, 6, dtype=torch.float64)


def run(model: nn.Module, *arguments: Tensor, graph_of: tuple[Tensor, ...] | None = None) -> Tensor:
    """The output that the captured graph computes."""
    captured = find_capture(model, graph_of or arguments)
    graph = captured.graph
    sweep = Sweep(graph, [None] * len(graph.nodes))
    with torch.no_grad():
        done = sweep.forward(
            captured.constants.now(), dict(zip(graph.inputs, arguments, strict=True))
        )
    return done.values[graph.output]


class Function(nn.Module):
    """A forward written as a function, around a few layers."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.other = nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.scale = nn.Parameter(torch.rand(4, 1, 1) + 0.5)
        self.register_buffer("shift", torch.randn(4, 1, 1), persistent=False)
        for tensor in (self.norm.running_mean, self.norm.weight, self.norm.bias):
            nn.init.uniform_(tensor, 0.5, 1.5)
        self.function = forward
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def reused_in_place(m: nn.Module, x: Tensor) -> Tensor:
    y = m.conv(x)
    F.relu_(y)
    y += m.other(x)
    y.mul_(0.5)
    return F.relu(y, inplace=True)


def written_through_a_view(m: nn.Module, x: Tensor) -> Tensor:
    y = m.conv(x)
    y.flatten(1).relu_()
    return y + m.other(y)


def written_through_a_slice(m: nn.Module, x: Tensor) -> Tensor:
    y = m.conv(x)
    y[:, :2].relu_()
    return y.clone() * 2


def base_changes_under_a_view(m: nn.Module, x: Tensor) -> Tensor:
    y = m.conv(x)
    v = y.flatten(1)
    y.relu_()
    return v * 2


def split_and_joined(m: nn.Module, x: Tensor) -> Tensor:
    a, b = m.conv(x).chunk(2, 1)
    c, d = b.split([1, 1], dim=1)
    return torch.cat([torch.cat([d, c], 2)[:, :, ::2], a.flip(3)], 1)


def joined_with_itself(m: nn.Module, x: Tensor) -> Tensor:
    y = m.conv(x)
    return torch.cat([y, x, y, x, x], 1)


def views(m: nn.Module, x: Tensor) -> Tensor:
    y = m.conv(x).permute(0, 2, 3, 1).reshape(len(x), -1, 4)
    y = y.transpose(1, 2).unflatten(2, (x.shape[2], x.shape[3]))
    return F.pad(y[:, :, 1:, None].squeeze(3), (1, 2, 0, 1)).unsqueeze(1)


def shapes(m: nn.Module, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    y = m.conv(x).view(n, 2, c // 2, h * w)
    return y.mean(3).expand(n, 2, 2).repeat(1, 1, 2).reshape(n, -1) + h / w


def constants(m: nn.Module, x: Tensor) -> Tensor:
    gain = (m.scale * 2).clamp(max=2.5) / m.scale.norm()
    return 1 - (m.conv(x) * gain + m.shift - 0.5) / 3 + m.scale.mean() - -x


def standardised_weight(m: nn.Module, x: Tensor) -> Tensor:
    w = m.conv.weight
    w = (w - w.mean((1, 2, 3), keepdim=True)) / w.std((1, 2, 3), keepdim=True)
    return F.conv2d(x, w, m.conv.bias, padding=1)


def gate(m: nn.Module, x: Tensor) -> Tensor:
    return m.conv(x) * torch.sigmoid(m.other(F.adaptive_avg_pool2d(x, 1)))


def pools(m: nn.Module, x: Tensor) -> Tensor:
    y, _ = F.max_pool2d(x, 3, 2, padding=1, return_indices=True)
    return m.conv(y) + F.adaptive_max_pool2d(x, y.shape[2:]) + F.avg_pool2d(x, 3, 2, 1)


def one_module_twice(m: nn.Module, x: Tensor) -> Tensor:
    return m.relu(m.norm(m.conv(m.relu(m.norm(m.conv(x))))))


FORWARDS = [
    *(reused_in_place, written_through_a_view, written_through_a_slice),
    *(base_changes_under_a_view, split_and_joined, joined_with_itself),
    *(views, shapes, constants),
    *(standardised_weight, gate, pools, one_module_twice),
]


@pytest.mark.parametrize("forward", FORWARDS, ids=lambda f: f.__name__)
def test_graph_computes_what_the_model_does_at_every_size(
    forward: Callable[[nn.Module, Tensor], Tensor],
) -> None:
    model = Function(forward)
    for shape in ((2, 4, 6, 6), (1, 4, 6, 6), (3, 4, 8, 10)):
        x = torch.randn(shape, dtype=torch.float64)
        kept = x.clone()
        torch.testing.assert_close(run(model, x), model(x.clone()), rtol=1e-12, atol=1e-12)
        assert torch.equal(x, kept)


def test_one_capture_serves_all_sizes() -> None:
    model = Function(one_module_twice)
    first = find_capture(model, [X])
    assert find_capture(model, [torch.rand(1, 4, 9, 31).double()]) is first
    assert find_capture(model, [torch.rand(7, 4, 5, 8).double()]) is first


def test_a_model_that_branches_on_size_is_captured_for_each_side() -> None:
    model = Function(lambda m, x: m.conv(x) if x.shape[2] < 7 else m.other(x))
    small, large = X, torch.randn(2, 4, 9, 6).double()
    for x in (small, large, small):
        torch.testing.assert_close(run(model, x), model(x), rtol=1e-12, atol=1e-12)


def test_a_condition_between_sizes_is_respected() -> None:
    """Upsampling by two restores even sizes only: the graph for them must not serve odd ones."""
    model = Function(lambda m, x: x + F.interpolate(F.max_pool2d(x, 2), scale_factor=2))
    even = find_capture(model, [X])
    assert even.serves(model, [torch.rand(1, 4, 8, 4).double()])
    assert not even.serves(model, [torch.rand(1, 4, 7, 6).double()])


@pytest.mark.parametrize("greater", ["max", "torch.sym_max"])
def test_guards_are_understood_as_every_torch_writes_them(greater: str) -> None:
    guard = f"{greater}(1, (-2) + L['x'].size()[2]) == 4"
    assert _holds(guard, {"x": torch.empty(2, 4, 6, 6)}, 2)
    assert not _holds(guard, {"x": torch.empty(2, 4, 7, 6)}, 2)


def test_a_rebuilt_model_is_captured_anew() -> None:
    model = Function(lambda m, x: m.relu(m.conv(x)))
    first = run(model, X)
    model.relu = nn.Tanh()
    second = run(model, X)
    assert not torch.equal(first, second)
    torch.testing.assert_close(second, model(X), rtol=1e-12, atol=1e-12)


def test_nodes_carry_the_module_path_and_the_source_line() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Function(lambda m, x: m.conv(x))

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x)

    (node,) = capture(Outer(), [X]).graph.nodes
    assert node.where.module == "inner.conv"
    assert "test_capture.py:" in node.where.source


def test_an_exported_program_is_a_model_too() -> None:
    model = Function(one_module_twice)
    batch = torch.export.Dim.AUTO
    program = torch.export.export(model, (X,), dynamic_shapes=({0: batch, 2: batch, 3: batch},))
    x = torch.randn(3, 4, 7, 9).double()
    expected = relprop.LRP(model).attribute(x, target=(1, 2, 3))
    assert torch.equal(relprop.LRP(program).attribute(x, target=(1, 2, 3)), expected)


def test_an_exported_program_of_fixed_size_says_so() -> None:
    program = torch.export.export(Function(one_module_twice), (X,))
    with pytest.raises(relprop.CaptureError, match=r"exported for inputs .*\(2, 4, 6, 6\).*got"):
        relprop.LRP(program).attribute(torch.randn(2, 4, 7, 6).double(), target=(0, 0, 0))


def test_capture_of_images_with_one_channel_logs_nothing() -> None:
    written = io.StringIO()
    listener = logging.StreamHandler(written)
    logger = logging.getLogger("torch._export.non_strict_utils")
    logger.addHandler(listener)
    try:
        capture(nn.Conv2d(1, 2, 3).eval(), [torch.rand(2, 1, 6, 6)])
    finally:
        logger.removeHandler(listener)
    assert not written.getvalue()


@pytest.mark.parametrize("switch", ["conv", "matmul"])
@pytest.mark.parametrize("precision", ["ieee", "tf32"])
def test_models_are_captured_whatever_torch_is_told_of_tf32(switch: str, precision: str) -> None:
    """torch.export reads the older switches, which raise where a newer one says more."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    told = {"conv": cudnn.conv, "matmul": matmul}[switch]
    before = told.fp32_precision
    told.fp32_precision = precision
    try:
        run(nn.Linear(6, 3).double(), X)
        assert told.fp32_precision == precision
    finally:
        told.fp32_precision = before
