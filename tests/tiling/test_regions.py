"""What a box of an output reads: compared with what autograd says its elements depend on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from image_networks import NETWORKS, network
from torch import Tensor, nn

from relprop.graph.capture import find_capture
from relprop.graph.cut import Cut, find_cuts
from relprop.graph.intervals import Box, lengths
from relprop.graph.node import Node
from relprop.graph.sizes import Sizes, find_sizes
from relprop.graph.sweep import Sweep
from relprop.graph.window import narrowed

LENGTH = 37


class Step(nn.Module):
    """One operator on sequences, from data: its name and its settings."""

    def __init__(self, name: str, settings: dict[str, Any]) -> None:
        super().__init__()
        self.name, self.settings = name, settings

    def forward(self, x: Tensor) -> Tensor:
        if self.name in ("conv1d", "conv_transpose1d"):
            settings = {k: v for k, v in self.settings.items() if k != "kernel_size"}
            weight = torch.ones(1, 1, self.settings["kernel_size"], dtype=x.dtype)
            return getattr(F, self.name)(x, weight, **settings)
        if self.name == "slice":
            return x[:, :, self.settings["start"] :: self.settings["step"]]
        return getattr(F, self.name)(x, **self.settings)


def some(**settings: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(settings)


def small(least: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(least, most)


def half_padded(windows: dict[str, Any]) -> dict[str, Any]:
    """A pool is not padded by more than half of its window."""
    return {**windows, "padding": min(windows["padding"], windows["kernel_size"] // 2)}


def within_span(windows: dict[str, Any]) -> dict[str, Any]:
    """No window sees nothing but padding."""
    span = windows["dilation"] * (windows["kernel_size"] - 1)
    return {**windows, "padding": min(windows["padding"], span)}


def trimmed(windows: dict[str, Any]) -> dict[str, Any]:
    """A transposed convolution gives something, and its output padding is less than its stride."""
    beyond = min(windows["output_padding"], windows["stride"] - 1)
    return within_span({**windows, "output_padding": beyond})


def asked_once(settings: dict[str, Any]) -> dict[str, Any]:
    """By size or by factor; and there are no corners without an interpolation between them."""
    left_out = {"scale_factor" if settings["size"] else "size"}
    left_out |= {"align_corners"} if settings["mode"] == "nearest" else set()
    return {name: value for name, value in settings.items() if name not in left_out}


WINDOWS = {"kernel_size": small(1, 5), "stride": small(1, 3), "padding": small(0, 2)}
STEPS = st.one_of(
    st.tuples(st.just("conv1d"), some(**WINDOWS, dilation=small(1, 3)).map(within_span)),
    st.tuples(
        st.just("conv_transpose1d"),
        some(**WINDOWS, dilation=small(1, 2), output_padding=small(0, 2)).map(trimmed),
    ),
    st.tuples(st.just("avg_pool1d"), some(**WINDOWS, ceil_mode=st.booleans()).map(half_padded)),
    st.tuples(
        st.just("max_pool1d"),
        some(**WINDOWS, dilation=small(1, 3), ceil_mode=st.booleans()).map(half_padded),
    ),
    st.tuples(
        st.just("interpolate"),
        some(scale_factor=small(1, 3), mode=st.sampled_from(("nearest", "linear"))),
    ),
    st.tuples(
        st.just("interpolate"),
        some(
            size=small(20, 90) | st.none(),
            scale_factor=st.floats(0.6, 3.0),
            mode=st.sampled_from(("nearest", "linear")),
            align_corners=st.booleans(),
        ).map(asked_once),
    ),
    st.tuples(st.just("pad"), some(pad=st.tuples(small(-2, 4), small(-2, 4)))),
    st.tuples(st.just("slice"), some(start=small(0, 3), step=small(1, 3))),
)


def no_reason(node: Node) -> str:
    return ""


def cuts_of(net: nn.Module, x: Tensor) -> tuple[list[Cut], Sizes, Any]:
    """All cuts of a network, and what they are found with."""
    captured = find_capture(net, (x,))
    constants = captured.constants.now()
    sweep = Sweep(captured.graph, [None] * len(captured.graph.nodes))
    sizes = find_sizes(sweep, constants, {captured.graph.inputs[0]: x})
    return find_cuts(captured.graph, sizes, constants, no_reason)[0], sizes, constants


def computed(cut: Cut, box: Box, x: Tensor, constants: Any) -> tuple[Tensor, Box]:
    """A box of a cut's activation from the part of x that it reads; and that part's box."""
    tile = cut.body.tile(box)
    sweep = Sweep(tile.graph, [None] * len(tile.graph.nodes), winograd=False)
    reads, gives = tile.boxes[cut.body.inputs[0]], tile.boxes[cut.body.cut]
    part = narrowed(x, [start for start, _ in reads], lengths(reads))
    run = sweep.forward(constants, {cut.body.inputs[0]: part})
    start = [b[0] - g[0] for b, g in zip(box, gives, strict=True)]
    return narrowed(run.values[cut.body.cut], start, lengths(box)), reads


@settings(max_examples=30)
@given(st.lists(STEPS, min_size=1, max_size=3), st.data())
def test_a_box_is_computed_from_what_it_reads_and_reads_what_it_depends_on(
    steps: list[tuple[str, dict[str, Any]]], data: st.DataObject
) -> None:
    net = nn.Sequential(*(Step(*step) for step in steps))
    x = torch.rand(2, 1, LENGTH, dtype=torch.float64, requires_grad=True)
    try:
        y = net(x)
    except RuntimeError:  # the steps leave nothing of the sequence
        return
    found, _, constants = cuts_of(net, x.detach())
    if not found or found[-1].body.cut != found[-1].body.graph.output:
        return  # nothing happens
    start = data.draw(st.integers(0, y.shape[2] - 1))
    box = ((start, data.draw(st.integers(start + 1, y.shape[2]))),)
    part, ((first, end),) = computed(found[-1], box, x.detach(), constants)
    whole = y[:, :, slice(*box[0])]
    torch.testing.assert_close(part, whole, rtol=1e-12, atol=1e-12)
    (depends,) = torch.autograd.grad(whole.sum(), x)
    places = depends.abs().sum((0, 1)).nonzero().flatten().tolist()
    assert all(first <= place < end for place in places)


@pytest.mark.parametrize("kernel", [1, 3, 4])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 3])
def test_a_convolution_reads_no_more_than_it_depends_on(
    kernel: int, stride: int, dilation: int
) -> None:
    net = Step("conv1d", {"kernel_size": kernel, "stride": stride, "dilation": dilation})
    x = torch.rand(2, 1, LENGTH, dtype=torch.float64, requires_grad=True)
    y = net(x)
    (cut,), _, constants = cuts_of(net, x.detach())
    for box in (((0, 2),), ((2, 5),), ((y.shape[2] - 1, y.shape[2]),)):
        _, (reads,) = computed(cut, box, x.detach(), constants)
        (depends,) = torch.autograd.grad(y[:, :, slice(*box[0])].sum(), x, retain_graph=True)
        places = depends.abs().sum((0, 1)).nonzero().flatten().tolist()
        assert reads == (places[0], places[-1] + 1)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(33, 47), (64, 41)])
def test_every_activation_is_computed_by_boxes(name: str, shape: tuple[int, int]) -> None:
    net, x = network(name), torch.randn(2, 3, *shape, dtype=torch.float64)
    found, sizes, constants = cuts_of(net, x)
    graph = found[0].body.graph
    sweep = Sweep(graph, [None] * len(graph.nodes), keep_all=True, winograd=False)
    run = sweep.forward(constants, {graph.inputs[0]: x})
    assert {value: t.shape for value, t in run.values.items()} == sizes.shapes
    assert sizes.bytes(graph.inputs[0]) == x.nbytes
    for cut in found:
        whole = run.values[cut.body.cut]
        height, width = whole.shape[-2:]
        for box in (
            ((0, height), (0, width)),
            ((0, 1), (width - 1, width)),
            ((height // 3, height // 2 + 1), (width // 4, width // 2 + 1)),
        ):
            part, _ = computed(cut, box, x, constants)
            expected = narrowed(whole, [start for start, _ in box], lengths(box))
            torch.testing.assert_close(part, expected, rtol=1e-11, atol=1e-11)
