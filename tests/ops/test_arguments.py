"""A caller's mistakes are met by one sentence each."""

from collections.abc import Callable

import pytest
import torch

from relprop.ops import (
    adaptive_max_pool_proportional,
    adaptive_max_pool_shapley_parts,
    adaptive_max_pool_winner,
    few_channel_transpose,
    fused_convolution,
    fused_convolution_pair,
    lrp_ratio,
    max_pool_proportional,
    max_pool_shapley,
    max_pool_shapley_parts,
    max_pool_shared,
    max_pool_winner,
    pointwise_convolution,
    rescale,
    signed_linear,
    signed_linear_backward,
    signed_ratio,
    signed_ratio_apart,
    winograd_convolution,
)

X = torch.zeros(2, 3, 8, 8)
ONE = torch.zeros(1, 3, 8, 8)
FILTERS = torch.zeros(5, 3, 3, 3)

MISTAKES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "an integer tensor": (
        lambda: lrp_ratio(X, None, X.long()),
        TypeError,
        r"z must be float32, .* got torch.int64; convert it with z.float\(\)",
    ),
    "no tensor": (lambda: rescale(X, 3.0, X, activation="relu"), TypeError, "x must be a tensor"),
    "no relevance": (
        lambda: lrp_ratio(None, None, X),
        ValueError,
        "multiplier or amount must be given, got None for both",
    ),
    "another shape": (
        lambda: lrp_ratio(ONE, None, X),
        ValueError,
        r"multiplier must have the shape of z, \(2, 3, 8, 8\), got \(1, 3, 8, 8\)",
    ),
    "another dtype": (
        lambda: lrp_ratio(X, X.double(), X),
        TypeError,
        "amount must have the dtype of z, torch.float32, got torch.float64",
    ),
    "another device": (
        lambda: lrp_ratio(X, None, X, X.to("meta")),
        ValueError,
        "denominator must be on the device of z, cpu, got meta",
    ),
    "a bias for other channels": (
        lambda: lrp_ratio(X, None, X, bias=torch.zeros(8)),
        ValueError,
        r"one element for each of the 3 channels of z \(its dimension 1\), got shape \(8,\)",
    ),
    "a dimension that z lacks": (
        lambda: lrp_ratio(X, None, X, bias=torch.zeros(3), channel_dim=4),
        ValueError,
        "channel_dim must be a dimension of z, which has 4, got 4",
    ),
    "a negative stabilizer": (
        lambda: lrp_ratio(X, None, X, epsilon=-1.0),
        ValueError,
        "epsilon must be 0 or more, got -1.0",
    ),
    "a size of another shape": (
        lambda: signed_ratio(X, None, X, ONE, gamma=0.25),
        ValueError,
        r"size must have the shape of z, \(2, 3, 8, 8\), got \(1, 3, 8, 8\)",
    ),
    "a negative gamma": (
        lambda: signed_ratio_apart(X, None, X, X, gamma=-0.25),
        ValueError,
        "gamma must be 0 or more, got -0.25",
    ),
    "an unknown activation": (
        lambda: rescale(X, X, X, activation="Relu"),
        ValueError,
        "activation must be one of identity, relu, .*, got 'Relu'",
    ),
    "too many parameters": (
        lambda: rescale(X, X, X, activation="hardtanh", parameters=(0, 6, 1)),
        ValueError,
        r"hardtanh takes at most these parameters: 2 \(min, max\); got \(0, 6, 1\)",
    ),
    "bounds the wrong way round": (
        lambda: rescale(X, X, X, activation="hardtanh", parameters=(6, 0)),
        ValueError,
        "hardtanh: min must be at most max, got min 6.0, max 0.0",
    ),
    "a bound that is no number": (
        lambda: rescale(X, X, X, activation="hardtanh", parameters=(float("nan"),)),
        ValueError,
        "hardtanh: min must be at most max, got min nan, max 1.0",
    ),
    "an elu that grows to the left": (
        lambda: rescale(X, X, X, activation="elu", parameters=(1, 1, -1)),
        ValueError,
        "elu: input_scale must be finite and above 0, got alpha 1.0, scale 1.0, input_scale -1.0",
    ),
    "an endless elu": (
        lambda: rescale(X, X, X, activation="elu", parameters=(float("inf"),)),
        ValueError,
        "elu: alpha and scale must be finite numbers, got alpha inf",
    ),
    "a softplus without steepness": (
        lambda: lrp_ratio(X, None, X, epsilon=0.0, activation="softplus", parameters=(0,)),
        ValueError,
        "softplus: beta must be finite and above 0, got beta 0.0, threshold 20.0",
    ),
    "a slope that is no number": (
        lambda: rescale(X, X, X, activation="leaky_relu", parameters=(float("nan"),)),
        ValueError,
        "leaky_relu: slope must be a finite number, got slope nan",
    ),
    "a step to infinity": (
        lambda: rescale(X, X, X, activation="threshold", parameters=(0, float("inf"))),
        ValueError,
        "threshold: value must be a finite number, got threshold 0.0, value inf",
    ),
    "an infinite exponent": (
        lambda: rescale(X, X, X, activation="pow", parameters=(float("inf"),)),
        ValueError,
        "pow: exponent must be a finite number, got exponent inf",
    ),
    "a baseline for another batch": (
        lambda: rescale(torch.cat([X, X]), torch.cat([X, X]), X, activation="relu"),
        ValueError,
        r"x0 must have the shape of x, \(4, 3, 8, 8\), or size 1 in place of its first dimension",
    ),
    "no batch": (
        lambda: max_pool_winner(X[0], X[0, 0], kernel_size=2),
        ValueError,
        "x must be .*batch, channels, and one to three spatial dimensions.*",
    ),
    "another pool's output": (
        lambda: max_pool_winner(X, X, kernel_size=2),
        ValueError,
        r"shape of the pool's output, \(2, 3, 4, 4\), got \(2, 3, 8, 8\)",
    ),
    "too much padding": (
        lambda: max_pool_winner(X, X, kernel_size=2, padding=2),
        ValueError,
        r"padding must be at most half of kernel_size, got \[2, 2\] for \[2, 2\]",
    ),
    "a window of padding": (
        lambda: max_pool_winner(X[..., :1], X[..., :1], kernel_size=2, padding=1, dilation=2),
        ValueError,
        "every window must hold an input, but with padding .* one holds only padding",
    ),
    "a stride of zero": (
        lambda: max_pool_winner(X, X, kernel_size=2, stride=0),
        ValueError,
        "stride must be an integer of at least 1, or 2 of them .*, got 0",
    ),
    "three kernel sizes for two dimensions": (
        lambda: max_pool_winner(X, X, kernel_size=(2, 2, 2)),
        ValueError,
        "kernel_size must be an integer of at least 1, or 2 of them",
    ),
    "other channels": (
        lambda: adaptive_max_pool_winner(X[:, :2], X),
        ValueError,
        r"multiplier must have the shape of the pool's output, \(2, 3, ...\)",
    ),
    "another pool's output to share": (
        lambda: max_pool_shared(X, X, kernel_size=2),
        ValueError,
        r"multiplier must have the shape of the pool's output, \(2, 3, 4, 4\)",
    ),
    "no relevance for a pool": (
        lambda: max_pool_proportional(None, None, X, kernel_size=2),
        ValueError,
        "multiplier or amount must be given, got None for both",
    ),
    "an amount for another pool": (
        lambda: max_pool_proportional(X[..., :4, :4], X, X, kernel_size=2),
        ValueError,
        r"amount must have the shape of the pool's output, \(2, 3, 4, 4\), got \(2, 3, 8, 8\)",
    ),
    "an amount of another shape": (
        lambda: adaptive_max_pool_proportional(X, X[..., :4], X),
        ValueError,
        r"amount must have the shape of multiplier, \(2, 3, 8, 8\), got \(2, 3, 8, 4\)",
    ),
    "a negative stabilizer of a pool": (
        lambda: adaptive_max_pool_proportional(X, None, X, epsilon=-1.0),
        ValueError,
        "epsilon must be 0 or more, got -1.0",
    ),
    "another pool's rises": (
        lambda: max_pool_shapley(X, X, X, kernel_size=2),
        ValueError,
        r"positive must have the shape of the pool's output, \(2, 3, 4, 4\), got \(2, 3, 8, 8\)",
    ),
    "falls of another shape": (
        lambda: max_pool_shapley(X[..., :4, :4], X, X, X, kernel_size=2),
        ValueError,
        r"negative must have the shape of positive, \(2, 3, 4, 4\), got \(2, 3, 8, 8\)",
    ),
    "a window larger than x": (
        lambda: max_pool_shapley_parts(X, X, kernel_size=9),
        ValueError,
        r"a window must fit into x and its padding, but one of kernel_size \[9, 9\]",
    ),
    "a weight that is no matrix": (
        lambda: signed_linear(X, X),
        ValueError,
        r"weight must be \(out, in\), got shape \(2, 3, 8, 8\)",
    ),
    "a change of another layer's input": (
        lambda: signed_linear(X, torch.zeros(4, 5)),
        ValueError,
        r"d must be \(..., 5\), as weight has shape \(4, 5\), got \(2, 3, 8, 8\)",
    ),
    "multipliers of another layer's output": (
        lambda: signed_linear_backward(X, X, X, torch.zeros(4, 8)),
        ValueError,
        r"positive must have the shape of the layer's output, \(2, 3, 8, 4\), got",
    ),
    "no images": (
        lambda: winograd_convolution(X[0], FILTERS),
        ValueError,
        r"x must be \(batch, channels, height, width\), .* got shape \(3, 8, 8\)",
    ),
    "images without channels": (
        lambda: winograd_convolution(X[:, :0], FILTERS[:, :0]),
        ValueError,
        r"of which only batch may be 0, got shape \(2, 0, 8, 8\)",
    ),
    "no filters": (
        lambda: winograd_convolution(X, FILTERS[:0]),
        ValueError,
        r"weight must be \(out, 3, 3, 3\), got shape \(0, 3, 3, 3\)",
    ),
    "filters of 5x5": (
        lambda: winograd_convolution(X, torch.zeros(5, 3, 5, 5)),
        ValueError,
        r"weight must be \(out, 3, 3, 3\), got shape \(5, 3, 5, 5\)",
    ),
    "filters for other channels": (
        lambda: winograd_convolution(X, FILTERS, transposed=True),
        ValueError,
        r"weight must be \(3, out, 3, 3\), as x has shape .*, got \(5, 3, 3, 3\)",
    ),
    "filters of another dtype": (
        lambda: winograd_convolution(X, FILTERS.double()),
        TypeError,
        "weight must have the dtype of x, torch.float32, got torch.float64",
    ),
    "a bias for other filters": (
        lambda: winograd_convolution(X, FILTERS, torch.zeros(3)),
        ValueError,
        r"bias must have shape \(5,\), got \(3,\)",
    ),
    "filters larger than x": (
        lambda: winograd_convolution(X[..., :2], FILTERS, padding=(1, 0)),
        ValueError,
        r"at least one row and one column, but with padding \[1, 0\] x of shape .* gives 8 by 0",
    ),
    "a padding that leaves nothing": (
        lambda: winograd_convolution(X[:, :, 2:3, :3], FILTERS[:3], padding=2, transposed=True),
        ValueError,
        "at least one row and one column, .* gives -1 by 1",
    ),
    "a negative padding": (
        lambda: winograd_convolution(X, FILTERS, padding=-1),
        ValueError,
        "padding must be an integer of at least 0, or 2 of them .*, got -1",
    ),
    "an infinite factor": (
        lambda: winograd_convolution(X, FILTERS, negative=float("-inf")),
        ValueError,
        "negative must be a finite number, got -inf",
    ),
    "filters of 3x3 as if of 1x1": (
        lambda: pointwise_convolution(X, FILTERS),
        ValueError,
        r"weight must be \(out, 3, 1, 1\), got shape \(5, 3, 3, 3\)",
    ),
    "another input of another size": (
        lambda: pointwise_convolution(X, FILTERS[..., :1, :1], other=X[..., :2]),
        ValueError,
        "other must have the shape of x",
    ),
    "a factor that is no number": (
        lambda: pointwise_convolution(X, FILTERS[..., :1, :1], other_positive=float("nan")),
        ValueError,
        "other_positive must be a finite number, got nan",
    ),
    "what no convolution gives": (
        lambda: few_channel_transpose(X, FILTERS[:3], input_size=(8, 9), padding=1),
        ValueError,
        r"s must have the rows and columns of the convolution's output, \(8, 9\) for input_size",
    ),
    "filters for other outputs": (
        lambda: few_channel_transpose(X, FILTERS, input_size=(8, 8), padding=1),
        ValueError,
        r"got shapes \(2, 3, 8, 8\) and \(5, 3, 3, 3\)",
    ),
    "what does not come of such an input": (
        lambda: fused_convolution(X, FILTERS[:3], input_size=(8, 9), padding=1),
        ValueError,
        r"x must have the shape of the convolution's output, \(2, 3, 8, 9\) for input_size",
    ),
    "a denominator of nothing": (
        lambda: fused_convolution(X, FILTERS, denominator=X),
        ValueError,
        "z must be given with a denominator, got None",
    ),
    "a next denominator of nothing": (
        lambda: fused_convolution(X, FILTERS, next_denominator=X),
        ValueError,
        "next_z must be given with next_denominator, got None",
    ),
    "a denominator of no other input": (
        lambda: fused_convolution(X, FILTERS, z=X, other_denominator=X),
        ValueError,
        "other must be given with other_denominator, got None",
    ),
    "what comes next for other images": (
        lambda: fused_convolution(X, FILTERS, next_z=X),
        ValueError,
        r"next_z must have shape \(2, 5, 6, 6\), got \(2, 3, 8, 8\)",
    ),
    "a stabilizer below zero of a convolution": (
        lambda: fused_convolution(X, FILTERS, epsilon=-1.0),
        ValueError,
        "epsilon must be 0 or more, got -1.0",
    ),
    "filters without images": (
        lambda: fused_convolution_pair(X[0], FILTERS),
        ValueError,
        r"got shapes \(3, 8, 8\) and \(5, 3, 3, 3\)",
    ),
    "a bias of other channels": (
        lambda: fused_convolution_pair(X, FILTERS, other_bias=X[0, 0, 0, :4]),
        ValueError,
        r"other_bias must have shape \(5,\), got \(4,\)",
    ),
    "an output size of zero": (
        lambda: adaptive_max_pool_shapley_parts(X, X, output_size=0),
        ValueError,
        "output_size must be an integer of at least 1, or 2 of them .*, got 0",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_met_by_what_was_expected_and_what_came(mistake: str) -> None:
    call, error, sentence = MISTAKES[mistake]
    with pytest.raises(error, match=sentence):
        call()


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("length", range(3, 12))
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1])
def test_pooled_size_is_the_one_of_torch(
    length: int, stride: int, padding: int, ceil_mode: bool
) -> None:
    x = torch.zeros(1, 1, length)
    y = torch.nn.functional.max_pool1d(x, 3, stride, padding, ceil_mode=ceil_mode)
    max_pool_winner(y, x, kernel_size=3, stride=stride, padding=padding, ceil_mode=ceil_mode)
