"""Pools to try the operators on."""

import math
from functools import partial
from typing import Any

import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

MAX_POOLS = {3: functional.max_pool1d, 4: functional.max_pool2d, 5: functional.max_pool3d}
ADAPTIVE_MAX_POOLS = {
    3: functional.adaptive_max_pool1d,
    4: functional.adaptive_max_pool2d,
    5: functional.adaptive_max_pool3d,
}

# kernel_size, stride, padding, dilation, ceil_mode
GEOMETRIES: dict[str, tuple[Any, ...]] = {
    "side by side": ([2, 2], [2, 2], [0, 0], [1, 1], False),
    "overlapping and padded": ([3, 3], [2, 2], [1, 1], [1, 1], False),
    "ceil mode": ([3, 3], [2, 2], [0, 0], [1, 1], True),
    "dilated": ([3, 2], [1, 3], [1, 0], [2, 2], False),
    "gaps between windows": ([2, 2], [5, 4], [0, 0], [1, 1], False),
    "every column": ([3, 3], [1, 1], [1, 1], [1, 1], False),
    "global": ([19, 37], [1, 1], [0, 0], [1, 1], False),
}


def pooled(x: Tensor, geometry: tuple[Any, ...]) -> Tensor:
    return MAX_POOLS[x.dim()](x, *geometry)


@st.composite
def pools(draw: st.DrawFn, most_taps: int = 64) -> tuple[Tensor, tuple[Any, ...]]:
    """An input full of ties, and windows that torch accepts for it."""
    dims = draw(st.integers(1, 3))
    several = partial(st.lists, min_size=dims, max_size=dims)
    shape = draw(several(st.integers(1, {1: 24, 2: 9, 3: 5}[dims])))
    kernel = draw(several(st.integers(1, 4)))
    assume(math.prod(kernel) <= most_taps)
    stride = draw(several(st.integers(1, 3)))
    padding = [draw(st.integers(0, k // 2)) for k in kernel]
    dilation = draw(several(st.integers(1, 2)))
    fits = zip(shape, kernel, padding, dilation, strict=True)
    assume(all(length + 2 * p >= d * (k - 1) + 1 for length, k, p, d in fits))
    # torch takes windows of nothing but padding, and then writes outside of the gradient
    starts = zip(shape, stride, padding, dilation, strict=True)
    assume(not any(a % d >= length for length, s, p, d in starts for a in range(-p, 0, s)))
    numbers = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x = torch.randint(-2, 3, (2, 2, *shape), generator=numbers, dtype=torch.float64)
    return x, (kernel, stride, padding, dilation, draw(st.booleans()))


@st.composite
def adaptive_pools(draw: st.DrawFn) -> tuple[Tensor, list[int]]:
    """An input full of ties, and an output size, which may also be the larger one."""
    dims = draw(st.integers(1, 3))
    lengths = st.lists(st.integers(1, {1: 40, 2: 9, 3: 5}[dims]), min_size=dims, max_size=dims)
    numbers = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shape = (2, 2, *draw(lengths))
    x = torch.randint(-2, 3, shape, generator=numbers, dtype=torch.float64)
    return x, draw(lengths)
