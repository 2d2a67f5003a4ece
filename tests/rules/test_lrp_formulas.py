"""Each rule of LRP against its paper's formula, written with explicit sums over a matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.rules.lrp.weighted import Epsilon, Flat, ZBox, ZPlus

EPSILON = 0.01
LOW, HIGH = -3.0, 4.0


def as_matrix(layer: nn.Module, x: Tensor) -> np.ndarray:
    """The layer as a dense matrix w_ij, found by applying it to every unit vector."""
    units = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape)
    with torch.no_grad():
        zero = layer(torch.zeros_like(x)[None])
        return (layer(units) - zero).flatten(1).numpy()


def connections(layer: nn.Module, x: Tensor) -> np.ndarray:
    """Whether input i has a weight to neuron j at all."""
    weight = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.fill_(1.0)
        connected = as_matrix(layer, x) != 0
        layer.weight.copy_(weight)
    return connected


def stab(z: float) -> float:
    return z + (EPSILON if z >= 0 else -EPSILON)


def share(
    rule: str, i: int, j: int, x: np.ndarray, w: np.ndarray, linked: np.ndarray, b: float, bias: str
) -> float:
    """What input i gets of one unit of relevance of neuron j."""
    n = linked[:, j].sum()
    if rule == "flat":
        return linked[i, j] / n
    if rule == "epsilon":
        parts = x * w[:, j]
    elif rule == "zplus":
        parts = np.array([max(0.0, x[k] * w[k, j]) for k in range(len(x))])
        b = max(0.0, b)
    else:
        parts = np.array(
            [x[k] * w[k, j] - LOW * max(0, w[k, j]) - HIGH * min(0, w[k, j]) for k in range(len(x))]
        )
        b = 0.0
    z = parts.sum() + (0.0 if bias == "ignore" else b)
    extra = 0.0
    if bias == "redistribute" and linked[i, j]:
        extra = (b + stab(z) - z) / n
    return (parts[i] + extra) / stab(z)


LAYERS = {
    "dense": (lambda bias: nn.Linear(6, 5, bias=bias), (6,)),
    "conv1d": (lambda bias: nn.Conv1d(2, 3, 3, padding=1, stride=2, bias=bias), (2, 7)),
    "conv2d": (
        lambda bias: nn.Conv2d(2, 4, (3, 2), padding=(1, 0), groups=2, bias=bias),
        (2, 5, 4),
    ),
    "conv2d dilated": (lambda bias: nn.Conv2d(2, 3, 2, dilation=2, stride=2, bias=bias), (2, 6, 5)),
    "conv2d same": (
        lambda bias: nn.Conv2d(1, 2, 3, padding="same", dilation=2, bias=bias),
        (1, 3, 4),
    ),
    "conv3d": (lambda bias: nn.Conv3d(1, 2, 2, padding=1, bias=bias), (1, 2, 3, 2)),
    "transposed": (
        lambda bias: nn.ConvTranspose2d(2, 2, 3, stride=2, padding=1, output_padding=1, bias=bias),
        (2, 3, 2),
    ),
}
RULES = {"epsilon": Epsilon, "zplus": ZPlus, "zbox": ZBox, "flat": Flat}


@pytest.mark.parametrize("bias", ["absorb", "ignore", "redistribute"])
@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("name", LAYERS)
def test_rule_is_the_papers_formula(name: str, with_bias: bool, bias: str) -> None:
    make, shape = LAYERS[name]
    layer = make(with_bias).double()
    x = torch.randn(shape, dtype=torch.float64)
    z = layer(x[None]).detach()[0]
    w, linked = as_matrix(layer, x), connections(layer, x)
    b = np.zeros(z.shape)
    if with_bias:
        b += layer.bias.detach().numpy().reshape(-1, *[1] * (z.dim() - 1))
    target = tuple(size // 2 for size in z.shape)
    j = int(np.ravel_multi_index(target, z.shape))
    for rule, make_rule in RULES.items():
        # The composite's `first` entry is for the layer that reads the input: the only one here.
        composite = relprop.Composite(dense=Epsilon, convolution=Epsilon, first=make_rule)
        box = {"low": LOW, "high": HIGH} if rule == "zbox" else {}
        lrp = relprop.LRP(layer, composite, bias=bias, epsilon=EPSILON, stabilizer=EPSILON, **box)
        R = lrp.attribute(x[None], target=target)[0].flatten()
        flat_x = x.flatten().numpy()
        for i in range(len(R)):
            expected = z[target].item() * share(rule, i, j, flat_x, w, linked, b.flatten()[j], bias)
            assert R[i].item() == pytest.approx(expected, rel=1e-9, abs=1e-12), rule


def test_zplus_of_inputs_known_to_be_positive_is_the_same_rule() -> None:
    torch.manual_seed(1)
    layer = nn.Conv2d(2, 3, 3, padding=1).double()
    x = torch.rand(2, 2, 5, 5, dtype=torch.float64)
    composite = relprop.Composite(dense=ZPlus, convolution=ZPlus)
    signed = relprop.LRP(layer, composite).attribute(x, target=(1, 2, 3))
    known = relprop.LRP(nn.Sequential(nn.ReLU(), layer), composite).attribute(x, target=(1, 2, 3))
    torch.testing.assert_close(signed, known, rtol=1e-12, atol=1e-14)


def test_relevance_through_a_relu_network_is_the_papers_chain_of_matrices() -> None:
    """Bach et al. 2015: R^(l) from R^(l+1), layer by layer, with plain loops."""
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3))
    model.double()
    x = torch.randn(5, dtype=torch.float64)
    activations = [x]
    for module in model:
        activations.append(module(activations[-1]))
    R = np.zeros(3)
    R[1] = activations[-1][1].item()
    for layer, inputs, outputs in ((4, 4, 5), (2, 2, 3), (0, 0, 1)):
        a, z = activations[inputs].detach().numpy(), activations[outputs].detach().numpy()
        w = model[layer].weight.detach().numpy()
        below = np.zeros(len(a))
        for i in range(len(a)):
            for j in range(len(z)):
                below[i] += a[i] * w[j, i] / stab(z[j]) * R[j]
        R = below
    got = relprop.LRP(model, "epsilon", epsilon=EPSILON).attribute(x[None], target=1)[0]
    np.testing.assert_allclose(got.numpy(), R, rtol=1e-10)


def test_zbox_takes_bounds_by_channel() -> None:
    layer = nn.Conv2d(3, 2, 3).double()
    x = torch.rand(1, 3, 5, 5, dtype=torch.float64)
    low, high = torch.tensor([-1.0, -2, -3]), torch.tensor([1.0, 2, 3])
    lrp = relprop.LRP(
        layer, "epsilon_plus_box", low=low[:, None, None], high=high[:, None, None], stabilizer=0
    )
    R = lrp.attribute(x, target=(1, 1, 1))
    w = layer.weight[1].detach()
    patch = x[0, :, 1:4, 1:4]
    parts = patch * w - low[:, None, None] * w.clamp(min=0) - high[:, None, None] * w.clamp(max=0)
    expected = parts / parts.sum() * layer(x)[0, 1, 1, 1].item()
    torch.testing.assert_close(R[0, :, 1:4, 1:4], expected.detach(), rtol=1e-9, atol=1e-12)
