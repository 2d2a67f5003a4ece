"""The fused convolution does in one what convolutions by parts of W and ratios do in turn."""

import pytest
import torch
from agreement import assert_close
from operator_cases import CHANNELS_LAST
from torch import Tensor
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_input

from relprop.ops import fused_convolution, fused_convolution_pair

# taps, stride, padding
GEOMETRIES = [
    *(((1, 1), 1, 0), ((1, 1), 2, 0), ((3, 3), 1, 1), ((3, 3), 2, 1)),
    ((2, 3), (3, 1), (1, 2)),
]
EACH = pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
CLOSE = 1e-12


def case(geometry: tuple[object, ...]) -> tuple[Tensor, Tensor, Tensor, tuple[object, object]]:
    """Images, filters, what comes of them, and stride and padding."""
    x = torch.randn(2, 5, 7, 8, dtype=torch.float64)
    weight = torch.randn(4, 5, *geometry[0], dtype=torch.float64)
    return x, weight, conv2d(x, weight, None, *geometry[1:]), geometry[1:]


@EACH
def test_positive_and_negative_contributions_are_made_together(
    geometry: tuple[object, ...],
) -> None:
    x, weight, _, (stride, padding) = case(geometry)
    above, below = torch.rand(4).double(), -torch.rand(4).double()
    found = fused_convolution_pair(x, weight, above, below, stride=stride, padding=padding)
    assert all(one.is_contiguous(memory_format=CHANNELS_LAST) for one in found)
    assert_close(found[0], conv2d(x, weight.clamp(min=0), above, stride, padding), CLOSE)
    assert_close(found[1], conv2d(x, weight.clamp(max=0), below, stride, padding), CLOSE)


@EACH
def test_differences_go_up_and_their_multipliers_back(geometry: tuple[object, ...]) -> None:
    """DeepLIFT's P and N of an input's parts p and n, and `u p + v n` sums to `m+ P + m- N`."""
    x, weight, z, (stride, padding) = case(geometry)
    p, n = x.clamp(min=0), x.clamp(max=0)
    P, N = fused_convolution_pair(p, weight, other=n, stride=stride, padding=padding)
    assert bool((P >= 0).all()) and bool((N <= 0).all())
    assert_close(P + N, z, CLOSE)
    m, k = torch.randn_like(z), torch.randn_like(z)
    u, v = fused_convolution_pair(
        m, weight, other=k, stride=stride, padding=padding, input_size=x.shape[2:]
    )
    assert_close((u * p + v * n).sum(), (m * P + k * N).sum(), 1e-10)


@EACH
def test_alpha_and_beta_go_back_together(geometry: tuple[object, ...]) -> None:
    x, weight, z, (stride, padding) = case(geometry)
    s, t = torch.randn_like(z), torch.randn_like(z)
    found = fused_convolution(
        *(s, weight),
        **{"stride": stride, "padding": padding, "input_size": x.shape[2:]},
        **{"positive": 2.0, "negative": 0.0},
        **{"other": t, "other_positive": 0.0, "other_negative": -1.0},
    )
    above = conv2d_input(x.shape, weight.clamp(min=0), s, stride, padding)
    below = conv2d_input(x.shape, weight.clamp(max=0), t, stride, padding)
    assert_close(found, 2 * above - below, CLOSE)


@EACH
def test_relevance_is_conserved_from_relu_to_relu(geometry: tuple[object, ...]) -> None:
    """`R_i = a_i sum_j w_ij m_j a_j / z_j` with `a_j = relu(z_j)` and a bias of 0 sums to R."""
    x, weight, z, (stride, padding) = case(geometry)
    m = torch.randn_like(z)
    R = fused_convolution(
        *(m, weight),
        **{"stride": stride, "padding": padding, "input_size": x.shape[2:]},
        **{"z": z, "next_z": x},
    )
    assert_close(R.sum(), (m * z).sum(), 1e-10)
    through_relu = fused_convolution(
        *(m, weight),
        **{"stride": stride, "padding": padding, "input_size": x.shape[2:]},
        **{"z": z, "relu": True},
    )
    assert_close((through_relu * x).sum(), (m * z.relu()).sum(), 1e-10)


def test_the_next_step_divides_by_what_is_stabilized() -> None:
    x, weight, _, (stride, padding) = case(GEOMETRIES[2])
    bias, below = torch.randn(4).double(), torch.randn(2, 2, 4, 7, 8).double()
    c = conv2d(x, weight, bias, stride, padding)
    found = fused_convolution(
        *(x, weight, bias),
        **{"stride": stride, "padding": padding, "epsilon": 0.3},
        **{"next_z": below[0], "next_denominator": below[1]},
    )
    d = torch.where(below[1] >= 0, below[1] + 0.3, below[1] - 0.3)
    assert_close(found, c * below[0] / d, CLOSE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_summed_in_float32(dtype: torch.dtype) -> None:
    x, weight = torch.randn(2, 20, 7, 8).to(dtype), torch.randn(33, 20, 3, 3).to(dtype)
    found = fused_convolution_pair(x, weight)
    for one, w in zip(found, (weight.clamp(min=0), weight.clamp(max=0)), strict=True):
        assert one.dtype == dtype
        assert_close(one, conv2d(x.double(), w.double()), torch.finfo(dtype).eps)
