"""A kernel stands for torch's convolutions only where it was measured to be faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NoReturn

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from relprop.ops import convolution_choices, convolution_timing, tensor_cores
from relprop.ops.convolution_timing import MOST, Choice, Convolved, can_measure, kernel_is_faster

CONVOLVED = Convolved(
    "W+ x, W- x",
    (32, 64, 56, 56),
    (64, 64, 3, 3),
    (1, 1),
    (1, 1),
    (56, 56),
    torch.bfloat16,
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
    monkeypatch.setattr(torch.cuda, "device", lambda device: torch.no_grad())
    return asked


def ask(kernel: float, by_torch: float, convolved: Convolved = CONVOLVED) -> bool:
    return kernel_is_faster(X, convolved, lambda: ("kernel", kernel), lambda: ("torch", by_torch))


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(
    ("share", "faster"), [(0.5, True), (MOST - 0.01, True), (MOST, False), (1.5, False)]
)
def test_the_kernel_is_taken_where_it_takes_clearly_less_time(share: float, faster: bool) -> None:
    assert ask(share * 0.01, 0.01) == faster


def test_every_shape_is_measured_once(measured: list[str]) -> None:
    assert ask(1.0, 2.0) and ask(2.0, 1.0)
    assert measured == ["kernel", "torch"]
    other = replace(CONVOLVED, stride=(2, 2))
    assert not ask(2.0, 1.0, other) and not ask(1.0, 2.0, other)
    assert measured == ["kernel", "torch"] * 2


def test_what_is_soon_done_is_not_measured(measured: list[str]) -> None:
    assert not ask(1.0, 2.0, replace(CONVOLVED, x=(1, 64, 7, 7), result=(7, 7)))
    assert measured == []


def test_choices_can_be_printed(measured: list[str]) -> None:
    assert convolution_choices().rows == ()
    ask(0.001, 0.002)
    assert convolution_choices().rows == (Choice(CONVOLVED, 0.001, 0.002),)
    heading, line = str(convolution_choices()).splitlines()
    assert heading.split()[0] == "products" and heading.endswith("takes")
    for said in ("W+ x, W- x", "32x64x56x56", "64x64x3x3", "bfloat16", "1.000 ms", "2.000 ms"):
        assert said in line
    assert line.endswith("kernel")


def test_too_little_memory_to_measure_leaves_it_to_torch(
    measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_little(convolve: object) -> NoReturn:
        raise torch.OutOfMemoryError("too little")

    with monkeypatch.context() as here:
        here.setattr(convolution_timing, "_seconds", too_little)
        assert not ask(1.0, 2.0)
    assert convolution_choices().rows == ()
    assert ask(1.0, 2.0)


def test_nothing_is_measured_off_a_gpu() -> None:
    assert not can_measure(torch.zeros(1))
    assert not can_measure(torch.zeros(1, device="meta"))
    assert not kernel_is_faster(X, CONVOLVED, must_not_run, must_not_run)


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


def test_no_clock_chooses_where_results_are_to_be_the_same_in_every_process(
    on_gpu: OnGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    assert not can_measure(on_gpu)


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
    with torch.no_grad():
        for device in ("cpu", "meta"):
            given = x.to(device), weight.to(device)
            assert not tensor_cores.suits(*given, dilation=[1, 1], groups=1)
