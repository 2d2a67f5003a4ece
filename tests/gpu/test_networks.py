"""Whole networks on a GPU: as on the CPU, the same every time, and in bounded memory."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relprop
from benchmarks.gpu.precision import PRECISIONS
from relprop.rules.lrp import COMPOSITES

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore::relprop.InexactWarning"),  # bfloat16 has three digits
]
LAST = torch.channels_last


class Block(nn.Module):
    """Two branches, a gate, and an overlapping pool."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.narrow = nn.Conv2d(channels, channels, 1)
        self.act = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.wide(x))) + x
        return self.pool(self.act(self.narrow(x)))


def network(act: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 32, 7, 2, 3), act(), Block(32), Block(32)),
        *(nn.AdaptiveMaxPool2d(3), nn.Flatten(), nn.Linear(288, 50), act(), nn.Linear(50, 7)),
    )
    return model.eval().requires_grad_(False)


def pictures(batch: int = 3, pixels: int = 64) -> Tensor:
    return torch.randn(batch, 3, pixels, pixels)


def methods() -> Iterator[tuple[str, Callable[[nn.Module], Any]]]:
    for name, composite in COMPOSITES.items():
        bounds = {"low": -5.0, "high": 5.0} if composite.needs_bounds else {}
        yield name, lambda m, n=name, b=bounds: relprop.LRP(m, n, **b)
    for pool in ("shared", "proportional"):
        yield f"{pool} pool", lambda m, p=pool: relprop.LRP(m, "epsilon", max_pool=p)
    yield "redistributed", lambda m: relprop.LRP(m, "epsilon_plus", bias="redistribute")
    for rule in ("rescale", "reveal_cancel", "genomics"):
        for pool in ("winner", "shapley"):
            yield f"{rule}, {pool}", lambda m, r=rule, p=pool: relprop.DeepLift(m, r, p)
    yield "gradient", relprop.Gradient
    yield "guided", relprop.GuidedBackprop


METHODS = dict(methods())
EACH = pytest.mark.parametrize("name", METHODS)


@EACH
@pytest.mark.parametrize("act", [nn.ReLU, nn.SiLU])
def test_float64_is_what_it_is_on_the_cpu(
    name: str, act: Callable[[], nn.Module], gpu: torch.device
) -> None:
    model, x = network(act).double(), pictures().double()
    expected = METHODS[name](model).attribute(x, target=2)
    found = METHODS[name](copy.deepcopy(model).to(gpu)).attribute(x.to(gpu), target=2)
    assert found.device == gpu
    scale = expected.abs().max()
    torch.testing.assert_close(found.cpu() / scale, expected / scale, rtol=0, atol=1e-9)


@pytest.fixture
def deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuDNN as its users ask it to be: some of its algorithms add in whatever order."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


@EACH
@pytest.mark.usefixtures("deterministic")
def test_float32_is_bitwise_the_same_on_every_run(name: str, gpu: torch.device) -> None:
    model, x = network().to(gpu), pictures().to(gpu)
    method = METHODS[name](model)
    first = method.attribute(x, target=2)
    assert all(torch.equal(method.attribute(x, target=2), first) for _ in range(3))


@EACH
def test_order_of_channels_changes_nothing_but_rounding(name: str, gpu: torch.device) -> None:
    model, x = network().double().to(gpu), pictures().double().to(gpu)
    expected = METHODS[name](model).attribute(x, target=2)
    last = copy.deepcopy(model).to(memory_format=LAST)
    found = METHODS[name](last).attribute(x.contiguous(memory_format=LAST), target=2)
    assert found.is_contiguous(memory_format=LAST)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_sums_hold_in_every_precision(precision: str, gpu: torch.device) -> None:
    chosen = PRECISIONS[precision]
    model = network().to(gpu, chosen.dtype, memory_format=LAST)
    x = pictures().to(gpu, chosen.dtype).contiguous(memory_format=LAST)
    with chosen.switched():
        lrp = relprop.LRP(model, "epsilon_plus", bias="redistribute")
        R, delta = lrp.attribute(x, target=2, return_convergence_delta=True)
    size = R.float().abs().flatten(1).sum(1)
    eps = torch.finfo(torch.bfloat16).eps
    assert (delta.float().abs() <= 32 * eps * size).all()


@EACH
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.usefixtures("deterministic")
def test_replays_are_bitwise_what_the_sweeps_give(
    name: str, precision: str, gpu: torch.device
) -> None:
    chosen = PRECISIONS[precision]
    model = network().to(gpu, chosen.dtype)
    eager, recorded = METHODS[name](model), METHODS[name](model)
    with chosen.switched():
        for target in (2, [0, 5, 1], 3):
            x = pictures().to(gpu, chosen.dtype)
            expected = eager.attribute(x, target=target)
            assert torch.equal(recorded.attribute(x, target=target, cuda_graph=True), expected)


def test_replays_on_several_streams_do_not_meet(gpu: torch.device) -> None:
    method, inputs = relprop.LRP(network().to(gpu)), [pictures().to(gpu) for _ in range(4)]
    expected = [method.attribute(x, target=2, cuda_graph=True) for x in inputs]
    streams, found = [torch.cuda.Stream(gpu) for _ in inputs], []
    torch.cuda.synchronize(gpu)
    for stream, x in zip(streams, inputs, strict=True):
        with torch.cuda.stream(stream):
            found.append(method.attribute(x, target=2, cuda_graph=True))
    torch.cuda.synchronize(gpu)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_an_explanation_leaves_nothing_in_memory_that_the_first_did_not(gpu: torch.device) -> None:
    model, x = network().to(gpu), pictures().to(gpu)
    method = relprop.LRP(model, "epsilon_alpha2_beta1")
    method.attribute(x, target=2)
    before = torch.cuda.memory_allocated(gpu)
    for _ in range(3):
        method.attribute(x, target=2)
    assert torch.cuda.memory_allocated(gpu) == before


def test_tiles_give_what_the_whole_gives(gpu: torch.device) -> None:
    body = nn.Sequential(*list(network())[:4], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model, x = body.double().to(gpu), pictures(1, 256).double().to(gpu)
    lrp = relprop.LRP(model, "epsilon_plus")
    expected = lrp.attribute(x, target=2)
    budget = lrp.tiling(x, "8GiB", target=2).untiled // 3
    found = lrp.attribute(x, target=2, memory_budget=budget)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())


def test_running_out_of_memory_leaves_nothing_and_says_what_would_fit(gpu: torch.device) -> None:
    model, x = network().to(gpu), pictures(1, 1024).to(gpu)
    lrp = relprop.LRP(model, "epsilon").prepare(x)
    untiled = lrp.tiling(x, "64GiB", target=2).untiled
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(gpu)
    whole = torch.cuda.get_device_properties(gpu).total_memory
    torch.cuda.set_per_process_memory_fraction((before + untiled // 4) / whole, gpu)
    try:
        with pytest.raises(relprop.OutOfMemoryError, match="the GPU ran out of memory: "):
            lrp.attribute(x, target=2)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, gpu)
    gc.collect()
    assert torch.cuda.memory_allocated(gpu) == before


def test_a_budget_bounds_the_peak(gpu: torch.device) -> None:
    body = nn.Sequential(*list(network())[:4], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model, x = body.to(gpu), pictures(1, 1024).to(gpu)
    lrp = relprop.LRP(model, "epsilon")
    budget = lrp.tiling(x, "8GiB", target=2).untiled // 3
    lrp.attribute(x, target=2, memory_budget=budget)
    before = torch.cuda.memory_allocated(gpu)
    torch.cuda.reset_peak_memory_stats(gpu)
    lrp.attribute(x, target=2, memory_budget=budget)
    assert torch.cuda.max_memory_allocated(gpu) - before <= budget
