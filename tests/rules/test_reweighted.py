"""Rules with other weights in place of a layer's own, in matrix form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.rules import lrp

EPSILON = 1e-9
#: The factors of the positive and the negative part of the weight.
FACTORS = [(1.0, 0.0), (1.25, 1.0), (0.0, 1.0), (2.0, -1.0)]


def formula(x: Tensor, W: Tensor, b: Tensor, R: Tensor) -> Tensor:
    """`R_i = x_i sum_j w_ij R_j / stab(sum_i x_i w_ij + b_j)`."""
    z = x @ W.T + b
    sign = torch.where(z < 0, -1.0, 1.0)
    return x * ((R / (z + EPSILON * sign)) @ W)


@pytest.mark.parametrize(("positive", "negative"), FACTORS)
@pytest.mark.parametrize("bias", ["absorb", "ignore"])
def test_relevance_is_that_of_the_formula_for_signed_inputs(
    positive: float, negative: float, bias: str
) -> None:
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    x = torch.randn(4, 5).double()
    rule = lrp.Reweighted(positive=positive, negative=negative, bias=bias)
    composite = lrp.Composite([("dense", rule)])
    got = relprop.LRP(model, composite, stabilizer=EPSILON).attribute(x, target=2)
    with torch.no_grad():
        a = model[1](model[0](x))
        R = torch.zeros(4, 3).double()
        R[:, 2] = model(x)[:, 2]
        for layer, v in ((model[2], a), (model[0], x)):
            W = positive * layer.weight.clamp(min=0) + negative * layer.weight.clamp(max=0)
            R = formula(v, W, layer.bias if bias == "absorb" else torch.zeros_like(layer.bias), R)
    torch.testing.assert_close(got, R, rtol=1e-9, atol=1e-11)


def test_on_a_convolution_of_inputs_above_zero_it_is_z_plus_without_biases() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False), nn.Flatten())
    model = model.append(nn.Linear(27, 2, bias=False)).double()
    x = torch.rand(2, 2, 6, 6).double()

    def relevance(rule: object) -> Tensor:
        found: Tensor = relprop.LRP(
            model, lrp.Composite([("convolution", rule)]), stabilizer=EPSILON
        ).attribute(x, target=1)
        return found

    expected = relevance(lrp.ZPlus())
    got = relevance(lrp.Reweighted(positive=1, negative=0))
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-11)


def test_factors_must_be_finite() -> None:
    with pytest.raises(relprop.InvalidInputError, match="finite numbers; got inf"):
        lrp.Reweighted(positive=math.inf)
