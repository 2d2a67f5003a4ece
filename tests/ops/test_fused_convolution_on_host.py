"""The fused convolution's CUDA kernel on the host, which rounds as tensor cores do."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from agreement import assert_close
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_input

HERE = Path(__file__).parent
COMPILER = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
LAST = torch.channels_last
DTYPES = (torch.float32, torch.bfloat16)
#: By what weights above and below 0 are multiplied.
ABOVE, BELOW = (1.0, 0.0), (0.0, 1.0)
#: What sums in float32 are off by, in units of the largest.
ROUNDING = 1e-5
TENSORS = (
    *("x", "other", "z", "d", "other_d", "weight", "bias", "other_bias", "next_z", "next_d"),
    *("result", "other_result"),
)


class Given(ctypes.Structure):
    """As in convolution_on_host.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in TENSORS),
        *((name, ctypes.c_int64) for name in ("batch", "channels", "outputs")),
        *((n, ctypes.c_int64 * 2) for n in ("input", "size", "taps", "stride", "padding")),
        ("parts", ctypes.c_double * 4),
        ("epsilon", ctypes.c_double),
        *((n, ctypes.c_int32) for n in ("results", "transposed", "relu", "packed", "large")),
    )


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    library = tmp_path_factory.mktemp("cuda") / "convolution_on_host.so"
    includes = [f"-I{HERE.parents[1] / 'csrc'}", f"-I{HERE}"]
    flags = ["-std=c++20", "-O1", "-fPIC", "-shared", "-pthread", "-ffp-contract=off", *includes]
    source = str(HERE / "convolution_on_host.cpp")
    subprocess.run([*COMPILER.split(), *flags, source, "-o", str(library)], check=True)
    return ctypes.CDLL(str(library)).fused_convolution


def as_tensor_cores_take(t: Tensor) -> Tensor:
    """In float64: float32 with 10 bits after the point, of two as near the one farther from 0."""
    if t.dtype == torch.bfloat16:
        return t.double()
    whole = (t.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF
    return whole.view(torch.float32).double()


def laid(t: Tensor) -> Tensor:
    return t.contiguous(memory_format=LAST) if t.dim() == 4 else t


def run(
    kernel: Any,
    tensors: dict[str, Tensor | None],
    size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    *,
    transposed: bool = False,
    pair: bool = False,
    parts: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0),
    packed: bool = False,
    large: bool = False,
    epsilon: float = 0.0,
    relu: bool = False,
) -> tuple[Tensor, ...]:
    """The results, one or a pair."""
    x, weight = tensors["x"], tensors["weight"]
    assert x is not None and weight is not None
    outputs = weight.shape[1 if transposed else 0]
    results = [
        laid(x.new_full((x.shape[0], outputs, *size), float("nan"))) for _ in range(1 + pair)
    ]
    filters = weight.transpose(0, 1) if transposed else weight
    held = {n: laid(t) for n, t in {**tensors, "weight": filters}.items() if t is not None}
    held |= dict(zip(("result", "other_result"), results, strict=False))
    given = Given(
        *(held[name].data_ptr() if name in held else None for name in TENSORS),
        *(x.shape[0], x.shape[1], outputs),
        *((ctypes.c_int64 * 2)(*n) for n in (x.shape[2:], size, weight.shape[2:], stride, padding)),
        *((ctypes.c_double * 4)(*parts), epsilon, 1 + pair, transposed, relu, packed, large),
    )
    kernel(ctypes.byref(given), int(x.dtype == torch.bfloat16))
    return tuple(results)


def part_of(w: Tensor, positive: float, negative: float) -> Tensor:
    """`positive W+ + negative W-`, as tensor cores take it."""
    dtype, w = w.dtype, w.float()
    return as_tensor_cores_take((positive * w.clamp(min=0) + negative * w.clamp(max=0)).to(dtype))


def tolerance(dtype: torch.dtype) -> float:
    return ROUNDING + (torch.finfo(dtype).eps if dtype == torch.bfloat16 else 0)


# rows and columns, taps, stride, padding
GEOMETRIES = {
    "1x1": ((5, 3), (1, 1), (1, 1), (0, 0)),
    "1x1, every other place": ((5, 4), (1, 1), (2, 2), (0, 0)),
    "3x3": ((4, 5), (3, 3), (1, 1), (1, 1)),
    "3x3, every other place": ((7, 6), (3, 3), (2, 2), (1, 1)),
    "3x3, even image": ((6, 8), (3, 3), (2, 2), (1, 1)),
    "uneven in all": ((9, 4), (5, 2), (3, 1), (2, 0)),
    "gaps between windows": ((8, 7), (2, 1), (3, 4), (0, 1)),
}
# channels in and out; the first in packs
CHANNELS = [(16, 18), (17, 33), (3, 1)]


def images_of(geometry: str) -> tuple[tuple[int, int], ...]:
    """Rows and columns of the input and of the result, stride and padding."""
    size, taps, stride, padding = GEOMETRIES[geometry]
    image = torch.zeros(1, 1, *size)
    result = functional.conv2d(image, torch.zeros(1, 1, *taps), None, stride, padding)
    return size, tuple(result.shape[2:]), stride, padding


def packs(dtype: torch.dtype, channels: int, outputs: int) -> list[bool]:
    fits = channels % (4 if dtype == torch.float32 else 8) == 0 and outputs % 2 == 0
    return [False, True] if fits else [False]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_both_products_of_one_read_are_those_of_the_parts_of_the_weight(
    kernel: Any, geometry: str, channels: tuple[int, int], dtype: torch.dtype
) -> None:
    size, result, stride, padding = images_of(geometry)
    x = torch.randn(2, channels[0], *size).to(dtype)
    weight = torch.randn(channels[1], channels[0], *GEOMETRIES[geometry][1]).to(dtype)
    bias, other_bias = torch.randn(2, channels[1]).to(dtype)
    tensors = {"x": x, "weight": weight, "bias": bias, "other_bias": other_bias}
    wanted = [
        functional.conv2d(as_tensor_cores_take(x), part_of(weight, *p), b.double(), stride, padding)
        for p, b in ((ABOVE, bias), (BELOW, other_bias))
    ]
    for packed in packs(dtype, *channels):
        found = run(kernel, tensors, result, stride, padding, pair=True, packed=packed)
        for one, expected in zip(found, wanted, strict=True):
            assert_close(one, expected, tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [(16, 18), (5, 3)])
@pytest.mark.parametrize("geometry", ["1x1", "3x3, every other place"])
def test_multipliers_of_both_parts_go_back_to_both_parts(
    kernel: Any, geometry: str, channels: tuple[int, int], dtype: torch.dtype
) -> None:
    """`u = W+^T m+ + W-^T m-`, `v = W-^T m+ + W+^T m-`."""
    size, sent, stride, padding = images_of(geometry)
    m, n = torch.randn(2, 2, channels[0], *sent).to(dtype)
    weight = torch.randn(*channels, *GEOMETRIES[geometry][1]).to(dtype)
    shape = (2, channels[1], *size)
    wanted = [
        sum(
            conv2d_input(shape, part_of(weight, *p), as_tensor_cores_take(one), stride, padding)
            for one, p in zip((m, n), parts, strict=True)
        )
        for parts in ((ABOVE, BELOW), (BELOW, ABOVE))
    ]
    for packed in packs(dtype, *channels):
        tensors = {"x": m, "other": n, "weight": weight}
        options: Any = {"transposed": True, "pair": True, "packed": packed}
        found = run(kernel, tensors, size, stride, padding, **options)
        for one, expected in zip(found, wanted, strict=True):
            assert_close(one, expected, tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_both_sides_go_back_as_one_sum(
    kernel: Any, geometry: str, channels: tuple[int, int], dtype: torch.dtype
) -> None:
    size, sent, stride, padding = images_of(geometry)
    outputs, inputs = channels
    s, t = torch.randn(2, 2, outputs, *sent).to(dtype)
    weight = torch.randn(outputs, inputs, *GEOMETRIES[geometry][1]).to(dtype)
    shape = (2, inputs, *size)
    wanted = sum(
        conv2d_input(shape, part_of(weight, *p), as_tensor_cores_take(one), stride, padding)
        for one, p in ((s, (2.0, 0.0)), (t, (0.0, -1.0)))
    )
    for packed in packs(dtype, *channels):
        (found,) = run(
            kernel, {"x": s, "other": t, "weight": weight}, size, stride, padding,
            transposed=True, parts=(2.0, 0.0, 0.0, -1.0), packed=packed,
        )  # fmt: skip
        assert_close(found, wanted, tolerance(dtype))


def ratio(R: Tensor, d: Tensor, epsilon: float) -> Tensor:
    """Bach et al. 2015, eq. 58, in float32 as the kernel divides; 0 without relevance."""
    stable = torch.where(d >= 0, d.float() + epsilon, d.float() - epsilon)
    return torch.where(R == 0, 0, R / stable)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [(16, 8), (5, 3)])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("geometry", ["1x1", "3x3", "3x3, every other place"])
def test_the_steps_before_and_after_are_part_of_it(
    kernel: Any, geometry: str, relu: bool, channels: tuple[int, int], dtype: torch.dtype
) -> None:
    size, sent, stride, padding = images_of(geometry)
    outputs, inputs = channels
    m, z, d, e = torch.randn(4, 2, outputs, *sent).to(dtype)
    z[0, 0, 0, 0] = 0  # a neuron without relevance
    next_z, next_d = torch.randn(2, 2, inputs, *size).to(dtype)
    weight = torch.randn(outputs, inputs, *GEOMETRIES[geometry][1]).to(dtype)

    def f(v: Tensor) -> Tensor:
        return v.float().relu() if relu else v.float()

    def back(below: Tensor, *factors: float) -> Tensor:
        s = ratio(m.float() * f(z), below, 0.25).to(dtype)
        w = part_of(weight, *factors)
        return conv2d_input((2, inputs, *size), w, as_tensor_cores_take(s), stride, padding)

    tensors = {"x": m, "z": z, "weight": weight, "next_z": next_z}
    options: Any = {"transposed": True, "epsilon": 0.25, "relu": relu}
    for packed in packs(dtype, *channels):
        (found,) = run(kernel, tensors, size, stride, padding, packed=packed, **options)
        assert_close(found, back(z, 1, 1) * f(next_z), tolerance(dtype))
        both = {**tensors, "other": m, "d": d, "other_d": e, "next_d": next_d}
        (found,) = run(
            kernel, both, size, stride, padding,
            parts=(1.0, 0.0, 0.0, 1.0), packed=packed, **options,
        )  # fmt: skip
        c = back(d, 1, 0) + back(e, 0, 1)
        assert_close(found, ratio(c * f(next_z), next_d, 0.25), tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_tiles_of_the_size_that_is_launched(kernel: Any, dtype: torch.dtype) -> None:
    x, weight = torch.randn(1, 24, 12, 13).to(dtype), torch.randn(70, 24, 3, 3).to(dtype)
    pair = run(
        kernel, {"x": x, "weight": weight}, (6, 7), (2, 2), (1, 1),
        pair=True, packed=True, large=True,
    )  # fmt: skip
    given = as_tensor_cores_take(x)
    for one, factors in zip(pair, (ABOVE, BELOW), strict=True):
        wanted = functional.conv2d(given, part_of(weight, *factors), None, 2, 1)
        assert_close(one, wanted, tolerance(dtype))
    (back,) = run(
        kernel, {"x": pair[0], "weight": weight}, (12, 13), (2, 2), (1, 1),
        transposed=True, packed=False, large=True,
    )  # fmt: skip
    sent = as_tensor_cores_take(pair[0])
    wanted = conv2d_input(x.shape, part_of(weight, 1, 1), sent, 2, 1)
    assert_close(back, wanted, tolerance(dtype))


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_no_number_stays_none_where_it_is_met(kernel: Any, packed: bool) -> None:
    x, weight = torch.randn(1, 4, 3, 3), torch.randn(2, 4, 1, 1)
    x[0, 1, 0, 0], weight[1, 2] = float("nan"), float("nan")
    (z,) = run(kernel, {"x": x, "weight": weight}, (3, 3), (1, 1), (0, 0), packed=packed)
    assert bool(z[0, 1].isnan().all())
    assert z[0, 0].isnan().sum() == 1 and bool(z[0, 0, 0, 0].isnan())


def test_fragments_are_those_of_the_manual(kernel: Any) -> None:
    """One place of x and one weight at a time: each product comes out where it belongs alone."""
    x, weight = torch.zeros(1, 16, 1, 16), torch.zeros(16, 16, 1, 1)
    for k in range(16):
        x[0, k, 0, (5 * k + 3) % 16] = k + 1
        weight[(7 * k + 2) % 16, k] = 1
    (z,) = run(kernel, {"x": x, "weight": weight}, (1, 16), (1, 1), (0, 0), packed=True)
    wanted = torch.zeros(1, 16, 1, 16)
    for k in range(16):
        wanted[0, (7 * k + 2) % 16, 0, (5 * k + 3) % 16] = k + 1
    assert torch.equal(z, wanted)
