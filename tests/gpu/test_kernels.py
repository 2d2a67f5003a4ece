"""Every CUDA kernel against the float64 reference, and what is promised of all of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.cost.operators import OPERATORS, Operator
from benchmarks.gpu.exercise import DTYPES, ORDERS, cases, cast, deviation, in_float64, moved, rows
from relprop.ops import backends, library

pytestmark = pytest.mark.gpu
WITHOUT = {
    *("signed_convolution", "signed_convolution_backward", "winograd_convolution"),
    *("pointwise_convolution", "few_channel_transpose"),
}
WITH = [row for row in OPERATORS if row.name not in WITHOUT]
ALL = pytest.mark.parametrize("row", WITH, ids=str)
LARGE = {4: (3, 17, 57, 43), 3: (5, 1031, 517)}
"""Shapes by how many sizes an operator takes: odd, and of many blocks."""


def on(device: torch.device, row: Operator, shape: tuple[int, ...], dtype: torch.dtype) -> Any:
    return tuple(moved(cast(a, dtype, ORDERS[0]), device) for a in row.arguments(shape))


def large(row: Operator) -> tuple[int, ...]:
    return LARGE[len(row.shape)]


def same(found: tuple[Tensor, ...], others: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(found, others, strict=True))


def test_kernels_serve_every_operator_but_those_of_plain_torch(gpu: torch.device) -> None:
    for name in library.SCHEMAS:
        expected = "reference" if name in WITHOUT else "native"
        assert backends().serving(name, "cuda").serves == expected
    assert {row.name for row in rows("cuda")} == {row.name for row in WITH}


@ALL
def test_small_and_awkward_operands(row: Operator, gpu: torch.device) -> None:
    for arguments, title in cases(row):
        assert deviation(row, arguments, gpu) <= 1, title


@ALL
@pytest.mark.parametrize("dtype", DTYPES)
def test_large_operands(row: Operator, dtype: torch.dtype, gpu: torch.device) -> None:
    for order in ORDERS:
        arguments = tuple(cast(a, dtype, order) for a in row.arguments(large(row)))
        assert deviation(row, arguments, gpu) <= 1


@ALL
def test_results_are_bitwise_the_same_on_every_run(row: Operator, gpu: torch.device) -> None:
    arguments = on(gpu, row, large(row), torch.float32)
    first = row.call(arguments)
    for _ in range(3):
        assert same(row.call(arguments), first)


@ALL
def test_kernels_run_on_the_current_stream(row: Operator, gpu: torch.device) -> None:
    arguments = on(gpu, row, large(row), torch.float32)
    first = row.call(arguments)
    stream = torch.cuda.Stream(gpu)
    stream.wait_stream(torch.cuda.current_stream(gpu))
    with torch.cuda.stream(stream):
        late = [torch.full_like(a, float("nan")) if isinstance(a, Tensor) else a for a in arguments]
        torch.cuda._sleep(20_000_000)  # so that whoever does not wait for this stream reads NaN
        for own, given in zip(late, arguments, strict=True):
            if isinstance(own, Tensor):
                own.copy_(given)
        found = row.call(tuple(late))
    stream.synchronize()
    assert same(found, first)


@ALL
def test_kernels_can_be_captured_and_do_not_wait(row: Operator, gpu: torch.device) -> None:
    """What waits for the GPU, or allocates by the driver, cannot be captured."""
    arguments = on(gpu, row, large(row), torch.float32)
    with torch.cuda.device(gpu):
        first, graph = row.call(arguments), torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = row.call(arguments)
        for result in found:
            result.fill_(float("nan"))
        graph.replay()
        assert same(found, first)


@ALL
@pytest.mark.parametrize("view", ["odd offset", "every other", "expanded"])
def test_operands_are_read_as_they_lie(row: Operator, view: str, gpu: torch.device) -> None:
    arguments = row.arguments(row.small)
    laid = tuple(_laid(moved(a, gpu), view) for a in arguments)
    found = row.call(laid)
    truth = row.reference(tuple(in_float64(a.cpu() if isinstance(a, Tensor) else a) for a in laid))
    for one, expected in zip(found, truth, strict=True):
        torch.testing.assert_close(one.cpu().double(), expected, rtol=1e-4, atol=1e-4)


def _laid(t: Any, view: str) -> Any:
    if not isinstance(t, Tensor):
        return t
    if view == "odd offset":
        return torch.cat((t.new_zeros(3), t.flatten()))[3:].view(t.shape)
    if view == "every other":
        return t.repeat_interleave(2, -1)[..., ::2]
    return t[:, :1].expand_as(t) if t.dim() > 1 else t
