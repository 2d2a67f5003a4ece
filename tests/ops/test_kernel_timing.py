"""What the timing loop times is the kernel that the operator runs, and nothing else."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from operator_cases import code_and_parameters
from torch import Tensor

from relprop import ops
from relprop.errors import InvalidInputError
from relprop.ops import backends, kernel_timing, library

needs_kernels = pytest.mark.skipif(
    backends().serving("rescale", "cpu").serves != "native" or not backends().build,
    reason="the CPU kernels and the bindings are not built here",
)

SHAPE = (2, 3, 9, 10)
RELU = code_and_parameters("relu")
WINDOWS = ([3, 3], [2, 2], [0, 0], [1, 1], False)


def many() -> Tensor:
    return torch.randn(SHAPE)


def pooled() -> Tensor:
    return torch.randn(2, 3, 4, 4)


def arguments() -> dict[str, tuple[Any, ...]]:
    """Of every operator that has a kernel."""
    x, x0, size = many(), torch.randn(1, *SHAPE[1:]), 9 * many().abs()
    d, weight = torch.randn(3, 70), torch.randn(11, 70)
    p, n = torch.randn(3, 11), torch.randn(3, 11)
    return {
        "lrp_ratio": (many(), None, x, None, torch.randn(3), 1e-6, 1, *RELU),
        "signed_ratio": (many(), None, x, x.abs(), 1.0, 0.25, 1e-6, *RELU),
        "signed_ratio_apart": (None, many(), x, x.abs(), 1.0, 0.25, 1e-6, *RELU),
        "rescale": (many(), x, x0, *RELU),
        "reveal_cancel": (many(), many(), many().abs(), -many().abs(), x0, None, *RELU),
        "reveal_cancel_parts": (many().abs(), -many().abs(), x0, None, *RELU),
        "signed_reveal_cancel": (many(), many(), x, x0, size, *RELU),
        "reveal_cancel_size": (x, x0, size, *RELU),
        "max_pool_winner": (pooled(), x, x0, *WINDOWS),
        "max_pool_shapley": (pooled(), pooled(), x, x0, *WINDOWS),
        "max_pool_shapley_parts": (x, x0, *WINDOWS),
        "adaptive_max_pool_winner": (pooled(), x, None),
        "max_pool_shared": (pooled(), x, *WINDOWS),
        "adaptive_max_pool_shared": (pooled(), x),
        "max_pool_proportional": (pooled(), pooled(), x.abs(), *WINDOWS, 0.1),
        "adaptive_max_pool_proportional": (None, pooled(), x.abs(), 0.1),
        "adaptive_max_pool_shapley": (pooled(), pooled(), x, x0),
        "adaptive_max_pool_shapley_parts": (x, x0, [4, 4]),
        "signed_linear": (d, weight),
        "signed_linear_backward": (p, n, d, weight),
        "winograd_convolution": (x, torch.randn(5, 3, 3, 3), None, [1, 1], 1.0, -1.0, False),
        "pointwise_convolution": (
            *(x, torch.randn(5, 3, 1, 1), None, 2.0, 0.0, False),
            *(many(), 0.0, -1.0),
        ),
        "few_channel_transpose": (
            *(x, torch.randn(3, 2, 3, 3), x.shape[2:], [1, 1], [1, 1], 2.0, 0.0),
            *(many(), 0.0, -1.0),
        ),
    }


def as_tuple(found: Any) -> tuple[Tensor, ...]:
    return found if isinstance(found, tuple) else (found,)


def test_all_kernels_but_those_of_plain_torch_are_covered() -> None:
    plain = {"signed_convolution", "signed_convolution_backward"}
    on_tensor_cores = {"fused_convolution", "fused_convolution_pair"}
    assert set(arguments()) == set(library.SCHEMAS) - plain - on_tensor_cores


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("operator", arguments())
def test_a_kernel_that_has_run_many_times_gives_what_its_operator_does(
    operator: str, dtype: torch.dtype
) -> None:
    if backends().serving(operator, "cpu").serves != "native":
        pytest.skip("this processor gets no kernel for it")
    given = [a.to(dtype) if isinstance(a, Tensor) else a for a in arguments()[operator]]
    expected = as_tuple(getattr(torch.ops.relprop, operator)(*given))
    timing = ops.time_kernel(operator, given, rounds=3)
    assert len(timing.seconds) == 3 and all(s > 0 for s in timing.seconds)
    for got, right in zip(as_tuple(timing.results), expected, strict=True):
        assert got.dtype == dtype and got.equal(right)


@needs_kernels
def test_a_copy_is_done_in_every_round() -> None:
    seconds = ops.time_copy(2**20, 5)
    assert len(seconds) == 5
    assert 2**21 / min(seconds) < 1e13  # more bytes a second than any memory moves


@needs_kernels
def test_after_the_loop_operators_run_their_kernels_as_before() -> None:
    given = arguments()["rescale"]
    timing = ops.time_kernel("rescale", given, rounds=1)
    assert torch.ops.relprop.rescale(*given).equal(timing.results)
    with pytest.raises(InvalidInputError):
        ops.time_kernel("rescale", given[:-1])
    assert torch.ops.relprop.rescale(*given).equal(timing.results)


@needs_kernels
@pytest.mark.parametrize(
    "operator, given, rounds, said",
    [
        ("relu", (), 1, r"^operator must be one of lrp_ratio, .*; got 'relu'$"),
        ("rescale", (), 0, r"^rounds must be at least 1, got 0$"),
        ("rescale", (1, 2), 1, r"^rescale does not take these arguments: relprop::rescale\(\) "),
        (
            "rescale",
            (many(), many(), many(), -1, []),
            1,
            r"^rescale does not take these arguments: .* no activation has the code -1$",
        ),
        (
            "rescale",
            (*[torch.ones(0, 3)] * 3, *RELU),
            1,
            r"^rescale must come to one CPU kernel .* came to 0: .* empty tensors need none$",
        ),
    ],
)
def test_a_mistake_is_met_by_one_sentence(
    operator: str, given: tuple[Any, ...], rounds: int, said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        ops.time_kernel(operator, given, rounds)


def test_an_empty_copy_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"at least 1 byte and 1 round .* got 0 and 3$"):
        ops.time_copy(0, 3)


def test_without_kernels_or_bindings_it_is_said_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    none = [library.Kernels("cpu", "CPU", "RELPROP_NATIVE=0 is set")]
    monkeypatch.setattr(kernel_timing, "KERNELS", none)
    if backends().build:
        with pytest.raises(InvalidInputError, match=r"there are none: RELPROP_NATIVE=0 is set$"):
            ops.time_kernel("rescale", arguments()["rescale"])
    missing = ImportError("no file")
    monkeypatch.setattr(importlib, "import_module", lambda name: (_ for _ in ()).throw(missing))
    with pytest.raises(InvalidInputError, match=r"_bindings does not load \(no file\): install"):
        ops.time_copy(1, 1)
