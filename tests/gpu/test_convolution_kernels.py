"""The convolutions on tensor cores: right, the same every time, and taken where they are faster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relprop
from benchmarks.cost.operators import Operator
from benchmarks.gpu.convolutions import CONVOLUTIONS, SMALL
from benchmarks.gpu.exercise import TENSOR_CORES, TF32, cases, cast, deviation, moved
from relprop.graph import two_products
from relprop.graph.two_products import KERNEL, ONE_BY_ONE, SIDE_BY_SIDE
from relprop.ops import convolution_choices, convolution_timing, tensor_cores

pytestmark = pytest.mark.gpu
LAST = torch.channels_last
FORMS = CONVOLUTIONS[:3]
EACH = pytest.mark.parametrize("row", FORMS, ids=lambda row: row.variant.split(", ")[-1])
LARGE = ((3, 65, 131, 57, 3, 1), (5, 96, 200, 29, 3, 2), (2, 64, 64, 40, 5, 3))


def on(device: torch.device, row: Operator, shape: tuple[int, ...], dtype: torch.dtype) -> Any:
    return tuple(moved(cast(a, dtype, LAST), device) for a in row.arguments(shape))


@EACH
@pytest.mark.parametrize("dtype", TENSOR_CORES)
@pytest.mark.parametrize("shape", [*SMALL, *LARGE], ids=str)
def test_results_are_those_of_the_reference(
    row: Operator, dtype: torch.dtype, shape: tuple[int, ...], gpu: torch.device
) -> None:
    for order in (torch.contiguous_format, LAST):
        arguments = tuple(cast(a, dtype, order) for a in row.arguments(shape))
        assert deviation(row, arguments, gpu, TF32) <= 1


@pytest.mark.parametrize("row", CONVOLUTIONS, ids=str)
def test_operands_of_all_kinds(row: Operator, gpu: torch.device) -> None:
    for arguments, title in cases(row, TENSOR_CORES):
        assert deviation(row, arguments, gpu, TF32) <= 1, title


@EACH
@pytest.mark.parametrize("dtype", TENSOR_CORES)
def test_results_are_bitwise_the_same_on_every_run(
    row: Operator, dtype: torch.dtype, gpu: torch.device
) -> None:
    arguments = on(gpu, row, LARGE[0], dtype)
    first = row.call(arguments)
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(row.call(arguments), first, strict=True))


@EACH
def test_kernels_can_be_captured_and_do_not_wait(row: Operator, gpu: torch.device) -> None:
    arguments = on(gpu, row, LARGE[1], torch.bfloat16)
    with torch.cuda.device(gpu):
        first, graph = row.call(arguments), torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = row.call(arguments)
        for result in found:
            result.fill_(float("nan"))
        graph.replay()
        assert all(torch.equal(a, b) for a, b in zip(found, first, strict=True))


def test_numbers_of_other_types_are_refused(gpu: torch.device) -> None:
    x, weight = torch.ones(1, 4, 3, 3, device=gpu), torch.ones(2, 4, 1, 1, device=gpu)
    for dtype in (torch.float64, torch.float16):
        with pytest.raises(RuntimeError, match="expected float32 or bfloat16"):
            relprop.ops.fused_convolution(x.to(dtype), weight.to(dtype))


def deviation_of(one: Tensor, other: Tensor) -> float:
    """Of the largest number."""
    other = other.double()
    return ((one.double() - other).abs().max() / other.abs().max()).item()


@pytest.fixture
def measuring() -> Iterator[None]:
    convolution_timing.forget_choices()
    yield
    convolution_timing.forget_choices()


def network(gpu: torch.device, dtype: torch.dtype) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    layers = (
        *(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 128, 3, 2, 1), nn.ReLU()),
        *(nn.Conv2d(128, 64, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(64, 5),
    )
    model = nn.Sequential(*layers).eval().requires_grad_(False)
    x = torch.randn(64, 3, 64, 64, device=gpu, dtype=dtype).contiguous(memory_format=LAST)
    return model.to(gpu, dtype, memory_format=LAST), x


@pytest.mark.usefixtures("measuring")
@pytest.mark.filterwarnings("ignore::relprop.InexactWarning")  # bfloat16 has three digits
@pytest.mark.parametrize("dtype", TENSOR_CORES)
@pytest.mark.parametrize("way", [SIDE_BY_SIDE, KERNEL])
def test_an_explanation_is_about_the_same_by_every_way(
    way: str, dtype: torch.dtype, gpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = network(gpu, dtype)
    lrp = relprop.LRP(model, "epsilon_alpha2_beta1")

    def by(way: str) -> Tensor:
        def fastest(x: Tensor, key: object, ways: dict[str, object]) -> str:
            return way if way in ways else ONE_BY_ONE

        with monkeypatch.context() as here:
            here.setattr(two_products, "fastest", fastest)
            return lrp.attribute(x, target=1)

    most = 0.1 if dtype == torch.bfloat16 else 0.02
    assert deviation_of(by(way), by(ONE_BY_ONE)) <= most


@pytest.mark.usefixtures("measuring")
def test_what_is_faster_is_measured_once_and_can_be_printed(gpu: torch.device) -> None:
    model, x = network(gpu, torch.float32)
    lrp = relprop.LRP(model, "epsilon_alpha2_beta1")
    first = lrp.attribute(x, target=1)
    rows = convolution_choices().rows
    assert rows and all(seconds > 0 for row in rows for _, seconds in row.seconds)
    assert any(KERNEL in dict(row.seconds) for row in rows) == tensor_cores.tf32_is_allowed()
    assert str(convolution_choices()).count("\n") == len(rows)
    assert deviation_of(lrp.attribute(x, target=1), first) <= 0.02
    assert convolution_choices().rows == rows


@pytest.mark.usefixtures("measuring")
def test_the_kernel_is_no_way_where_torch_may_not_round_to_tf32(gpu: torch.device) -> None:
    model, x = network(gpu, torch.float32)
    conv = torch.backends.cudnn.conv
    before = conv.fp32_precision
    try:
        conv.fp32_precision = "ieee"
        relprop.LRP(model, "epsilon_alpha2_beta1").attribute(x, target=1)
    finally:
        conv.fp32_precision = before
    assert not any(KERNEL in dict(row.seconds) for row in convolution_choices().rows)


@pytest.mark.usefixtures("measuring")
@pytest.mark.filterwarnings("ignore::relprop.InexactWarning")
def test_a_recording_takes_what_was_measured_before_it(gpu: torch.device) -> None:
    model, x = network(gpu, torch.bfloat16)
    found = relprop.LRP(model, "epsilon_alpha2_beta1").attribute(x, target=1, cuda_graph=True)
    rows = convolution_choices().rows
    assert rows
    again = relprop.LRP(model, "epsilon_alpha2_beta1").attribute(x, target=1)
    assert deviation_of(again, found) <= 0.1
    assert convolution_choices().rows == rows
