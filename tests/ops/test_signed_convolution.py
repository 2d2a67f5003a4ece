"""The signed convolution in two passes, against four explicit convolutions with W+ and W-."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from agreement import assert_close
from torch import Tensor
from torch.nn import functional

from relprop.ops import reference_convolution as reference
from relprop.ops import signed_convolution, signed_convolution_backward

CONVOLUTIONS = {
    False: {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d},
    True: {
        1: functional.conv_transpose1d,
        2: functional.conv_transpose2d,
        3: functional.conv_transpose3d,
    },
}


@dataclass(frozen=True)
class Layer:
    """Spatial size, kernel, channels in and out, and the geometry."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    channels: tuple[int, int] = (4, 6)
    transposed: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def groups(self) -> int:
        return int(self.options.get("groups", 1))

    def weight(self) -> Tensor:
        into, out = self.channels
        if self.transposed:
            return torch.randn(into, out // self.groups, *self.kernel, dtype=torch.float64)
        return torch.randn(out, into // self.groups, *self.kernel, dtype=torch.float64)

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        convolve = CONVOLUTIONS[self.transposed][len(self.size)]
        return convolve(x, weight, None, **self.options)


LAYERS = {
    "1d": Layer((11,), (3,)),
    "1d, all options": Layer(
        (17,), (3,), options={"stride": 3, "padding": 2, "dilation": 2, "groups": 2}
    ),
    "2d": Layer((7, 9), (3, 3), options={"padding": 1}),
    "2d, strides that leave something over": Layer(
        (8, 9), (3, 2), options={"stride": (2, 3), "padding": (1, 0)}
    ),
    "2d, dilated": Layer((9, 11), (3, 2), options={"dilation": (2, 3), "padding": (2, 1)}),
    "2d, depthwise": Layer((6, 6), (3, 3), (4, 4), options={"groups": 4, "padding": 1}),
    "2d, pointwise": Layer((5, 4), (1, 1)),
    "3d": Layer((4, 5, 6), (2, 3, 2), options={"stride": 2, "padding": 1, "groups": 2}),
    "transposed 1d": Layer((6,), (4,), transposed=True, options={"stride": 2, "padding": 1}),
    "transposed 2d": Layer((5, 4), (3, 3), transposed=True),
    "transposed 2d, all options": Layer(
        (5, 4), (3, 2), transposed=True,
        options={"stride": (3, 2), "padding": 1, "output_padding": 1, "dilation": (1, 2),
                 "groups": 2},
    ),
    "transposed 3d": Layer((3, 4, 3), (2, 2, 3), transposed=True, options={"stride": 2}),
}  # fmt: skip


def operands(name: str) -> tuple[Layer, Tensor, Tensor, Tensor]:
    """p and n, each with elements of 0, and both unequal to 0 in places; and a weight."""
    layer = LAYERS[name]
    p, n = torch.randn(2, 3, layer.channels[0], *layer.size, dtype=torch.float64)
    return layer, p.clamp(min=0), n.clamp(max=0), layer.weight()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("magnitude_given", [True, False])
def test_two_convolutions_make_what_four_do(name: str, magnitude_given: bool) -> None:
    layer, p, n, weight = operands(name)
    W_p, W_n = weight.clamp(min=0), weight.clamp(max=0)
    magnitude = weight.abs() if magnitude_given else None
    options = {**layer.options, "transposed": layer.transposed}
    P, N = signed_convolution(p, n, weight, magnitude, **options)
    assert_close(P, layer.apply(p, W_p) + layer.apply(n, W_n), 1e-13)
    assert_close(N, layer.apply(p, W_n) + layer.apply(n, W_p), 1e-13)
    assert (P >= 0).all()
    assert (N <= 0).all()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("magnitude_given", [True, False])
def test_the_way_back_is_the_transpose_of_four_convolutions(
    name: str, magnitude_given: bool
) -> None:
    layer, p, n, weight = operands(name)
    p.requires_grad_()
    n.requires_grad_()
    W_p, W_n = weight.clamp(min=0), weight.clamp(max=0)
    P, N = layer.apply(p, W_p) + layer.apply(n, W_n), layer.apply(p, W_n) + layer.apply(n, W_p)
    m_p, m_n = torch.randn(2, *P.shape, dtype=torch.float64)
    expected = torch.autograd.grad((P * m_p + N * m_n).sum(), (p, n))
    magnitude = weight.abs() if magnitude_given else None
    options = {**layer.options, "transposed": layer.transposed, "input_size": layer.size}
    u, v = signed_convolution_backward(m_p, m_n, weight, magnitude, **options)
    assert_close(u, expected[0], 1e-13)
    assert_close(v, expected[1], 1e-13)


@pytest.mark.parametrize("name", LAYERS)
def test_multipliers_times_parts_sum_to_the_same_on_both_sides(name: str) -> None:
    layer, p, n, weight = operands(name)
    options = {**layer.options, "transposed": layer.transposed}
    P, N = signed_convolution(p, n, weight, **options)
    m_p, m_n = torch.randn(2, *P.shape, dtype=torch.float64)
    u, v = signed_convolution_backward(m_p, m_n, weight, input_size=layer.size, **options)
    above, below = (m_p * P + m_n * N).flatten(1).sum(1), (u * p + v * n).flatten(1).sum(1)
    assert_close(below, above, 1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_both_ways_keep_the_contract_of_pytorch(name: str) -> None:
    layer, p, n, weight = operands(name)
    dims = len(layer.size)

    def each(option: str, default: int) -> list[int]:
        value = layer.options.get(option, default)
        return [value] * dims if isinstance(value, int) else list(value)

    geometry = (
        each("stride", 1), each("padding", 0), each("dilation", 1), layer.transposed,
        each("output_padding", 0), layer.groups,
    )  # fmt: skip
    forward = torch.ops.relprop.signed_convolution.default
    torch.library.opcheck(forward, (p, n, weight, weight.abs(), *geometry))
    P, N = reference.signed_convolution(p, n, weight, None, *geometry)
    backward = torch.ops.relprop.signed_convolution_backward.default
    torch.library.opcheck(backward, (P, N, weight, None, list(layer.size), *geometry))


def test_the_weight_is_not_copied() -> None:
    """Of the two calls of convolution, one gets the weight itself, the other the magnitude."""
    seen: list[int] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(
            self, function: Any, types: Any, a: tuple[Any, ...] = (), kw: Any = None
        ) -> Any:
            if "convolution" in str(function) and "relprop" not in str(function):
                seen.append(a[1].data_ptr())
            return function(*a, **(kw or {}))

    _, p, n, weight = operands("2d")
    magnitude = weight.abs()
    with Watch():
        P, N = reference.signed_convolution(p, n, weight, magnitude, *GEOMETRY)
        reference.signed_convolution_backward(P, N, weight, magnitude, [7, 9], *GEOMETRY)
    assert seen == [weight.data_ptr(), magnitude.data_ptr()] * 2


GEOMETRY = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
X, W = torch.zeros(2, 4, 5, 5), torch.zeros(6, 4, 3, 3)
MISTAKES: dict[str, tuple[Any, type[Exception], str]] = {
    "n of another shape": (
        lambda: signed_convolution(X, X[:1], W), ValueError, "n must have the shape of p",
    ),
    "a matrix": (
        lambda: signed_convolution(X[0, 0], X[0, 0], W), ValueError, r"p must be \(batch, channels",
    ),
    "a weight of other dimensions": (
        lambda: signed_convolution(X, X, W[0]), ValueError,
        r"weight must have 4 dimensions, as p has, got shape \(4, 3, 3\)",
    ),
    "a weight for other channels": (
        lambda: signed_convolution(X, X, W[:, :3]), ValueError,
        r"p must have 3 channels for a weight of shape \(6, 3, 3, 3\) in 1 groups",
    ),
    "groups that do not divide": (
        lambda: signed_convolution(X, X, W, groups=4), ValueError,
        "groups must be 1 or more and divide the first dimension of weight, 6, got 4",
    ),
    "another weight's magnitude": (
        lambda: signed_convolution(X, X, W, W[:1]), ValueError,
        "magnitude must have the shape of weight",
    ),
    "a weight of another type": (
        lambda: signed_convolution(X, X, W.double()), TypeError, "weight must have the dtype of p",
    ),
    "a kernel that does not fit": (
        lambda: signed_convolution(X, X, W, dilation=3), ValueError,
        "the kernel must fit into p and its padding",
    ),
    "multipliers of another output": (
        lambda: signed_convolution_backward(X, X, W[:4], input_size=(5, 5)), ValueError,
        r"positive must have the shape of the layer's output, \(2, 4, 3, 3\) for input_size",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_met_by_one_sentence(mistake: str) -> None:
    call, error, sentence = MISTAKES[mistake]
    with pytest.raises(error, match=sentence):
        call()
