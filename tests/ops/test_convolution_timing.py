"""Torch's convolutions give way to another way only where that was measured to be faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NoReturn

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from relprop.ops import convolution_choices, convolution_timing, tensor_cores
from relprop.ops.convolution_timing import (
    MOST,
    Choice,
    Convolved,
    agrees,
    can_measure,
    fastest,
    is_worth_measuring,
)

CONVOLVED = Convolved(
    "W+ x, W- x",
    (32, 64, 56, 56),
    (64, 64, 3, 3),
    (1, 1),
    (1, 1),
    (1, 1),
    (56, 56),
    True,
    torch.bfloat16,
    False,
    torch.device("cuda", 0),
)
X = torch.zeros(1)


def must_not_run() -> NoReturn:
    raise AssertionError("nothing is to be measured")


@pytest.fixture(autouse=True)
def _nothing_measured() -> Iterator[None]:
    convolution_timing.forget_choices()
    yield
    convolution_timing.forget_choices()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is measured, by a clock that each way tells its own time."""
    asked: list[str] = []

    def seconds(convolve: Callable[[], tuple[str, float]]) -> float:
        name, time = convolve()
        asked.append(name)
        return time

    monkeypatch.setattr(convolution_timing, "can_measure", lambda x: True)
    monkeypatch.setattr(convolution_timing, "_seconds", seconds)
    monkeypatch.setattr(convolution_timing, "agrees", lambda found, expected: found[0] != "wrong")
    monkeypatch.setattr(torch.cuda, "device", lambda device: torch.no_grad())
    return asked


def ask(convolved: Convolved = CONVOLVED, **seconds: float) -> str:
    ways = {name: lambda told=(name, time): told for name, time in seconds.items()}
    return fastest(X, convolved, ways)


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(
    ("beside", "kernel", "way"),
    [
        (9.0, 5.0, "kernel"),
        (5.0, 9.0, "beside"),
        (6.0, 5.0, "kernel"),
        (10.0, 10 * (MOST - 0.01), "kernel"),
        (10.0, 10 * MOST, "torch"),
        (15.0, 11.0, "torch"),
    ],
)
def test_another_way_than_torch_is_taken_where_it_takes_clearly_less_time(
    beside: float, kernel: float, way: str
) -> None:
    assert ask(torch=10.0, beside=beside, kernel=kernel) == way


@pytest.mark.usefixtures("measured")
def test_a_way_that_gives_something_else_than_torch_is_not_taken() -> None:
    assert ask(torch=2.0, wrong=1.0) == "torch"
    assert convolution_choices().rows[0].seconds == (("torch", 2.0),)
    assert ask(replace(CONVOLVED, stride=(2, 2)), wrong=2.0) == "wrong"  # for want of another
    assert ask(replace(CONVOLVED, stride=(3, 3)), wrong=2.0, torch=3.0) == "wrong"


def test_results_agree_up_to_rounding() -> None:
    z = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    assert agrees(z.bfloat16(), z) and agrees((z, z.bfloat16()), (z, z))
    assert not agrees((z, z.roll(1, 2)), (z, z))
    assert not agrees(torch.full_like(z, float("nan")), z)


def test_every_shape_is_measured_once(measured: list[str]) -> None:
    assert ask(torch=2.0, kernel=1.0) == ask(torch=1.0, kernel=2.0) == "kernel"
    assert measured == ["torch", "kernel"]
    for other in (replace(CONVOLVED, stride=(2, 2)), replace(CONVOLVED, channels_last=False)):
        assert ask(other, torch=1.0, kernel=2.0) == ask(other, torch=2.0, kernel=1.0) == "torch"
    assert measured == ["torch", "kernel"] * 3


def test_what_has_one_way_is_not_measured(measured: list[str]) -> None:
    assert ask(torch=2.0) == "torch"
    assert measured == []


def test_what_is_soon_done_is_not_worth_measuring() -> None:
    filters = (64, 64, 3, 3)
    assert is_worth_measuring((32, 64, 56, 56), filters, (56, 56))
    assert is_worth_measuring((32, 64, 28, 28), filters, (56, 56))
    assert not is_worth_measuring((1, 64, 7, 7), filters, (7, 7))
    assert not is_worth_measuring((1, 64, 56, 56), filters, (7, 7))


@pytest.mark.usefixtures("measured")
def test_choices_can_be_printed() -> None:
    assert convolution_choices().rows == ()
    ask(torch=0.002, kernel=0.001)
    ask(replace(CONVOLVED, form="back"), torch=0.002, beside=0.004)
    assert convolution_choices().rows[0] == Choice(CONVOLVED, (("torch", 0.002), ("kernel", 0.001)))
    heading, first, second = (line.split() for line in str(convolution_choices()).splitlines())
    assert heading[-4:] == ["torch", "kernel", "beside", "takes"]
    assert first[-7:-4] == ["64x64x3x3", "1x1", "bfloat16"]
    assert first[-4:] == ["2.000", "1.000", "-", "kernel"]
    assert second[-4:] == ["2.000", "-", "4.000", "torch"]


@pytest.mark.usefixtures("measured")
def test_too_little_memory_to_measure_leaves_it_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_little(convolve: object) -> NoReturn:
        raise torch.OutOfMemoryError("too little")

    with monkeypatch.context() as here:
        here.setattr(convolution_timing, "_seconds", too_little)
        assert ask(torch=2.0, kernel=1.0) == "torch"
    assert convolution_choices().rows == ()
    assert ask(torch=2.0, kernel=1.0) == "kernel"


def test_nothing_is_measured_off_a_gpu() -> None:
    assert not can_measure(torch.zeros(1))
    assert not can_measure(torch.zeros(1, device="meta"))
    ways = {"torch": must_not_run, "kernel": must_not_run}
    assert fastest(X, CONVOLVED, ways) == "torch"


def test_nothing_is_measured_on_tensors_without_elements() -> None:
    with FakeTensorMode():
        x = torch.empty(1, device="cuda")
    assert x.device.type == "cuda" and not can_measure(x)


class OnGpu:
    """Stands for a tensor on a GPU."""

    device = torch.device("cuda", 0)


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> OnGpu:
    monkeypatch.setattr(convolution_timing, "Tensor", OnGpu)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    return OnGpu()


def test_nothing_is_measured_while_kernels_are_recorded_or_compiled(
    on_gpu: OnGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert can_measure(on_gpu)
    with monkeypatch.context() as here:
        here.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        assert not can_measure(on_gpu)
    with monkeypatch.context() as here:
        here.setattr(torch.compiler, "is_compiling", lambda: True)
        assert not can_measure(on_gpu)
    assert can_measure(on_gpu)


def test_tf32_is_for_torch_to_allow() -> None:
    conv = torch.backends.cudnn.conv
    before = conv.fp32_precision
    try:
        for precision in ("tf32", "ieee"):
            conv.fp32_precision = precision
            assert tensor_cores.tf32_is_allowed() == (precision == "tf32")
    finally:
        conv.fp32_precision = before


def test_the_kernel_is_for_nothing_off_a_gpu() -> None:
    x = torch.zeros(1, 8, 5, 5).contiguous(memory_format=torch.channels_last)
    weight = torch.zeros(4, 8, 3, 3)
    for device in ("cpu", "meta"):
        assert not tensor_cores.suits(x.to(device), weight.to(device), dilation=[1, 1])
