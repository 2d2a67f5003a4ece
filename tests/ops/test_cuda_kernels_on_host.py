"""The CUDA kernels' arithmetic and indexing, run on the host, so that every machine tests them."""

import ctypes
import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import operator_formulas as formulas
import pytest
import torch
from agreement import assert_close
from function_formulas import PARAMETERS, inside
from operator_cases import CHANNELS_LAST, CONTIGUOUS, NAMES
from torch import Tensor
from torch.nn import functional

from relprop.ops import (
    ACTIVATIONS,
    reference,
    reference_dense,
    reference_ratios,
    reference_shapley,
    reference_shares,
)

HERE = Path(__file__).parent
COMPILER = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    library = tmp_path_factory.mktemp("cuda") / "cuda_on_host.so"
    csrc = HERE.parents[1] / "csrc"
    flags = ["-std=c++20", "-O1", "-fPIC", "-shared", "-pthread", f"-I{csrc}"]
    source = str(HERE / "cuda_on_host.cpp")
    subprocess.run([*COMPILER.split(), *flags, source, "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def pointer(t: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if t is None else t.data_ptr())


def parameters(activation: str) -> Any:
    values = PARAMETERS.get(activation, ())
    return (ctypes.c_double * 4)(*values)


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("pack", [1, 4])
@pytest.mark.parametrize(("count", "period"), [(1, 1), (36, 36), (151, 151), (52, 4), (51, 3)])
def test_rescale(kernels: ctypes.CDLL, activation: str, pack: int, count: int, period: int) -> None:
    m, x = torch.randn(2, count)
    x, m = inside(activation, x).clone(), m.clone()
    x0, m_x = inside(activation, torch.randn(period)), torch.full((count,), float("nan"))
    code = ACTIVATIONS[activation].code
    kernels.rescale(
        pack, pointer(m), pointer(x), pointer(x0), pointer(m_x), ctypes.c_int64(count),
        ctypes.c_int64(period), ctypes.c_int64(code), parameters(activation),
    )  # fmt: skip
    assert_close(m_x, formulas.rescale(m, x, x0.repeat(count // period), activation), 1e-4)


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("pack", [1, 4])
@pytest.mark.parametrize("given", [(1, 0, 0, 1), (1, 1, 1, 0), (0, 1, 0, 1)])
@pytest.mark.parametrize(("channels", "inner"), [(3, 17), (5, 1), (7, 8), (1, 3)])
def test_lrp_ratio(
    kernels: ctypes.CDLL,
    activation: str,
    pack: int,
    given: tuple[int, int, int, int],
    channels: int,
    inner: int,
) -> None:
    z = inside(activation, torch.randn(3, channels, inner))
    m, amount, d = (torch.randn_like(z) if g else None for g in given[:3])
    bias = torch.randn(channels) if given[3] else None
    s = torch.full_like(z, float("nan"))
    code, p = ACTIVATIONS[activation].code, list(PARAMETERS.get(activation, ()))
    kernels.lrp_ratio(
        pack, *map(pointer, (m, amount, z, d, bias, s)),
        *map(ctypes.c_int64, (z.numel(), inner, channels)),
        ctypes.c_double(0.25), ctypes.c_int64(code), parameters(activation),
    )  # fmt: skip
    assert_close(s, reference.lrp_ratio(m, amount, z, d, bias, 0.25, 1, code, p), 1e-5)


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("pack", [1, 4])
@pytest.mark.parametrize("given", [(1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("count", [1, 36, 151])
def test_signed_ratio(
    kernels: ctypes.CDLL, activation: str, pack: int, given: tuple[int, int], count: int
) -> None:
    z = inside(activation, torch.randn(count))
    m, amount = (torch.randn(count) if g else None for g in given)
    size = z.abs() + torch.rand(count)
    s, above, below = (torch.full((count,), float("nan")) for _ in range(3))
    code, p = ACTIVATIONS[activation].code, list(PARAMETERS.get(activation, ()))

    def run(*results: Tensor | None) -> None:
        kernels.signed_ratio(
            pack, *map(pointer, (m, amount, z, size, *results)), ctypes.c_int64(count),
            *map(ctypes.c_double, (1.0, 0.5, 0.25)), ctypes.c_int64(code), parameters(activation),
        )  # fmt: skip

    run(s, None)
    run(above, below)
    a = (m, amount, z, size, 1.0, 0.5, 0.25, code, p)
    apart = reference_ratios.signed_ratio_apart(*a)
    for result, wanted in zip((above, below), apart, strict=True):
        assert_close(result, wanted, 1e-5)
    assert_close(s, reference_ratios.signed_ratio(*a), 1e-5)


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("pack", [1, 4])
@pytest.mark.parametrize(("count", "period"), [(1, 1), (36, 36), (151, 151), (52, 4), (51, 3)])
@pytest.mark.parametrize("x_given", [True, False])
def test_reveal_cancel(
    kernels: ctypes.CDLL, activation: str, pack: int, count: int, period: int, x_given: bool
) -> None:
    positive, negative, difference = (torch.randn(count) for _ in range(3))
    x0 = 4 + torch.rand(period)
    P, N = difference.clamp(min=0), difference.roll(1).clamp(max=0)
    m_positive, m_negative = (torch.full((count,), float("nan")) for _ in range(2))
    code = ACTIVATIONS[activation].code
    r = x0.repeat(count // period)
    # not the sum of r and the parts, so that it shows which of them is taken; and so far from it
    # that no step comes out as almost nothing, where float32 says little of a secant
    x = r + (P + N) + 8 if x_given else None
    kernels.reveal_cancel(
        pack, *map(pointer, (positive, negative, P, N, x0, x, m_positive, m_negative)),
        ctypes.c_int64(count), ctypes.c_int64(period), ctypes.c_int64(code),
        parameters(activation),
    )  # fmt: skip
    p = list(PARAMETERS.get(activation, ()))
    expected = reference.reveal_cancel(positive, negative, P, N, r, x, code, p)
    assert_close(m_positive, expected[0], 1e-4)
    assert_close(m_negative, expected[1], 1e-4)


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("pack", [1, 4])
@pytest.mark.parametrize(("count", "period"), [(1, 1), (36, 36), (151, 151), (52, 4), (51, 3)])
def test_signed_reveal_cancel(
    kernels: ctypes.CDLL, activation: str, pack: int, count: int, period: int
) -> None:
    positive, negative, difference = (torch.randn(count) for _ in range(3))
    x0 = 4 + torch.rand(period)
    r = x0.repeat(count // period)
    x, size = r + difference, difference.abs() + torch.rand(count)
    u, v, size_of_y = (torch.full((count,), float("nan")) for _ in range(3))
    code = ACTIVATIONS[activation].code

    def run(*tensors: Tensor | None) -> None:
        kernels.signed_reveal_cancel(
            pack, *map(pointer, tensors), ctypes.c_int64(count), ctypes.c_int64(period),
            ctypes.c_int64(code), parameters(activation),
        )  # fmt: skip

    run(positive, negative, x, x0, size, u, v, None)
    run(None, None, x, x0, size, None, None, size_of_y)
    p = list(PARAMETERS.get(activation, ()))
    halves = reference.signed_reveal_cancel(positive, negative, x, r, size, code, p)
    expected = (*halves, reference.reveal_cancel_size(x, r, size, code, p))
    for result, wanted in zip((u, v, size_of_y), expected, strict=True):
        assert_close(result, wanted, 1e-4)


# length, count, kernel, stride, padding, dilation of height and width; a kernel of 0 is adaptive
POOLS = {
    "side by side": ((6, 3, 2, 2, 0, 1), (8, 4, 2, 2, 0, 1)),
    "overlapping and padded": ((7, 4, 3, 2, 1, 1), (9, 5, 3, 2, 1, 1)),
    "dilated": ((7, 5, 3, 1, 1, 2), (9, 3, 2, 3, 0, 2)),
    "gaps between windows": ((9, 2, 2, 5, 0, 1), (7, 2, 2, 4, 0, 1)),
    "long windows": ((20, 4, 17, 1, 0, 1), (50, 3, 40, 5, 0, 1)),
    "adaptive": ((7, 3, 0, 0, 0, 0), (11, 5, 0, 0, 0, 0)),
    "adaptive to more": ((5, 7, 0, 0, 0, 0), (4, 9, 0, 0, 0, 0)),
    "global": ((7, 1, 0, 0, 0, 0), (70, 1, 0, 0, 0, 0)),
}


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("lanes", [1, 32])
@pytest.mark.parametrize("memory_format", [CONTIGUOUS, CHANNELS_LAST])
@pytest.mark.parametrize("baseline", ["none", "common", "each"])
def test_max_pool_winner(
    kernels: ctypes.CDLL,
    pool: str,
    lanes: int,
    memory_format: torch.memory_format,
    baseline: str,
) -> None:
    height, width = POOLS[pool]
    # many ties, so that their order counts
    x, x0 = torch.randint(-3, 4, (2, 2, 3, height[0], width[0])).float()
    x0_given = {"none": None, "common": x0[:1], "each": x0}[baseline]
    m = torch.randn(2, 3, height[1], width[1])
    if height[2] == 0:
        expected = reference.adaptive_max_pool_winner(m, x, x0_given)
    else:
        geometry = list(zip(height[2:], width[2:], strict=True))
        assert functional.max_pool2d(x, *geometry).shape == m.shape
        expected = reference.max_pool_winner(m, x, x0_given, *map(list, geometry), False)

    m_x = torch.full_like(x, float("nan"))
    laid = [
        None if t is None else t.clone().contiguous(memory_format=memory_format)
        for t in (m, x, x0_given, m_x)
    ]
    along = (ctypes.c_int64 * 18)(1, 1, 1, 1, 0, 1, *height, *width)
    kernels.max_pool_winner(
        lanes, *map(pointer, laid), ctypes.c_int64(2),
        ctypes.c_int64(1 if baseline == "common" else 2), ctypes.c_int64(3),
        int(memory_format == CHANNELS_LAST), along,
    )  # fmt: skip
    assert laid[3] is not None
    assert_close(laid[3], expected, 1e-5)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("lanes", [1, 32])
@pytest.mark.parametrize("memory_format", [CONTIGUOUS, CHANNELS_LAST])
@pytest.mark.parametrize("rule", ["shared", "multiplier", "amount", "both"])
def test_max_pool_shares(
    kernels: ctypes.CDLL, pool: str, lanes: int, memory_format: torch.memory_format, rule: str
) -> None:
    height, width = POOLS[pool]
    x = torch.randint(-3, 4, (2, 3, height[0], width[0])).float()
    m, amount = torch.randn(2, 2, 3, height[1], width[1])
    sides = (None if rule == "amount" else m, amount if rule in ("amount", "both") else None)
    fixed = [*map(list, zip(height[2:], width[2:], strict=True)), False]
    geometry = [] if height[2] == 0 else fixed
    name = "adaptive_max_pool" if height[2] == 0 else "max_pool"
    if rule == "shared":
        expected = getattr(reference_shares, f"{name}_shared")(m, x, *geometry)
    else:
        proportional = getattr(reference_shares, f"{name}_proportional")
        expected = proportional(*sides, x, *geometry, 0.25)

    m_x = torch.full_like(x, float("nan"))
    laid = [
        None if t is None else t.clone().contiguous(memory_format=memory_format)
        for t in (*sides, x, m_x)
    ]
    along = (ctypes.c_int64 * 18)(1, 1, 1, 1, 0, 1, *height, *width)
    kernels.max_pool_shares(
        lanes, int(rule != "shared"), *map(pointer, laid), ctypes.c_int64(2), ctypes.c_int64(3),
        int(memory_format == CHANNELS_LAST), ctypes.c_double(0.25), along,
    )  # fmt: skip
    assert laid[3] is not None
    assert_close(laid[3], expected, 1e-5)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("own", [16, 0])
@pytest.mark.parametrize("memory_format", [CONTIGUOUS, CHANNELS_LAST])
@pytest.mark.parametrize("baseline", ["common", "each"])
def test_max_pool_shapley(
    kernels: ctypes.CDLL,
    pool: str,
    own: int,
    memory_format: torch.memory_format,
    baseline: str,
) -> None:
    height, width = POOLS[pool]
    taps = math.prod(k or -(-length // o) + 1 for length, o, k, *_ in (height, width))
    if own and taps > own:
        pytest.skip("such windows do not fit into a thread's own memory")
    x, x0 = torch.randint(-3, 4, (2, 2, 3, height[0], width[0])).float()
    x0 = x0[:1] if baseline == "common" else x0
    m = torch.randn(2, 2, 3, height[1], width[1])
    if height[2] == 0:
        expected = reference_shapley.adaptive_max_pool_shapley(*m, x, x0)
        parts = reference_shapley.adaptive_max_pool_shapley_parts(x, x0, m.shape[3:])
    else:
        geometry = [*map(list, zip(height[2:], width[2:], strict=True)), False]
        expected = reference_shapley.max_pool_shapley(*m, x, x0, *geometry)
        parts = reference_shapley.max_pool_shapley_parts(x, x0, *geometry)

    def laid(t: Tensor) -> Tensor:
        return t.clone().contiguous(memory_format=memory_format)

    positive, negative, x, x0, m_x = map(laid, (*m, x, x0, torch.full_like(x, float("nan"))))
    sizes = [ctypes.c_int64(size) for size in (2, x0.shape[0], 3)]
    along = (ctypes.c_int64 * 18)(1, 1, 1, 1, 0, 1, *height, *width)
    channels_last = int(memory_format == CHANNELS_LAST)
    sides = tuple(map(pointer, (positive, negative, x, x0)))
    kernels.max_pool_shapley(own, *sides, pointer(m_x), *sizes, channels_last, along)
    assert_close(m_x, expected, 1e-5)
    kernels.max_pool_shapley(own, *sides, pointer(None), *sizes, channels_last, along)
    for part, wanted in zip((positive, negative), parts, strict=True):
        assert_close(part, wanted, 1e-5)


@pytest.mark.parametrize("examples", [1, 3, 4, 6])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (5, 7), (32, 4), (129, 9)])
def test_signed_linear(kernels: ctypes.CDLL, examples: int, inputs: int, outputs: int) -> None:
    d, weight = torch.randn(examples, inputs), torch.randn(outputs, inputs)
    d[:, ::3] = 0
    positive, negative, P, N = torch.randn(4, examples, outputs)
    m = torch.full_like(d, float("nan"))
    expected = reference_dense.signed_linear_backward(positive, negative, d, weight)
    sizes = [ctypes.c_int64(size) for size in (examples, inputs, outputs)]
    sides = (positive.clone(), negative.clone())
    kernels.signed_linear_backward(*map(pointer, (*sides, d, weight, m)), *sizes, ctypes.c_int64(4))
    assert_close(m, expected, 1e-5)
    P, N = P.clone(), N.clone()
    kernels.signed_linear(*map(pointer, (d, weight, P, N)), *sizes)
    for part, wanted in zip((P, N), reference_dense.signed_linear(d, weight), strict=True):
        assert_close(part, wanted, 1e-5)
