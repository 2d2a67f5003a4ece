"""Each rule of LRP against its paper's formula, written with explicit sums over a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.rules.lrp import AlphaBeta, Epsilon, Flat, Gamma, Stabilizer, WSquare, ZBox, ZPlus

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
    n, inputs = linked[:, j].sum(), range(len(x))
    z = x * w[:, j]
    used = 0.0 if bias == "ignore" else b

    def part(parts: np.ndarray, b: float) -> float:
        extra = 0.0
        if bias == "redistribute" and linked[i, j]:
            extra = (b + stab(parts.sum() + b) - parts.sum() - b) / n
        return (parts[i] + extra) / stab(parts.sum() + b)

    plus = np.array([max(0.0, z[k]) for k in inputs]), max(0.0, used)
    minus = np.array([min(0.0, z[k]) for k in inputs]), min(0.0, used)
    if rule == "flat":
        return linked[i, j] / n
    if rule == "wsquare":
        return w[i, j] ** 2 / (w[:, j] ** 2).sum()
    if rule == "zbox":
        low, high = np.minimum(w[:, j], 0), np.maximum(w[:, j], 0)
        return part(z - LOW * high - HIGH * low, 0.0)
    if rule == "alphabeta":
        return 2 * part(*plus) - part(*minus)
    if rule == "zplus":
        return part(*plus)
    if rule == "gamma":
        larger = plus if z.sum() + used >= 0 else minus
        return part(z + 0.3 * larger[0], used + 0.3 * larger[1])
    return part(z, used)


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
    "transposed 1d": (
        lambda bias: nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1, bias=bias),
        (2, 4),
    ),
    "transposed 3d": (lambda bias: nn.ConvTranspose3d(1, 2, 2, bias=bias), (1, 2, 2, 3)),
    "transposed": (
        lambda bias: nn.ConvTranspose2d(2, 2, 3, stride=2, padding=1, output_padding=1, bias=bias),
        (2, 3, 2),
    ),
}
RULES = {
    "epsilon": Epsilon(),
    "zplus": ZPlus(),
    "alphabeta": AlphaBeta(2, 1),
    "gamma": Gamma(0.3),
    "zbox": ZBox(LOW, HIGH),
    "flat": Flat(),
    "wsquare": WSquare(),
}


def everywhere(rule: Any) -> relprop.Composite:
    return relprop.Composite([("dense", rule), ("convolution", rule)])


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
    for rule, declared in RULES.items():
        settings = {"bias": bias, "epsilon": EPSILON, "stabilizer": EPSILON}
        lrp = relprop.LRP(layer, everywhere(declared), **settings)
        assert lrp.report(x[None], target=target).shortfall == pytest.approx(0, abs=1e-10), rule
        R = lrp.attribute(x[None], target=target)[0].flatten()
        flat_x = x.flatten().numpy()
        for i in range(len(R)):
            expected = z[target].item() * share(rule, i, j, flat_x, w, linked, b.flatten()[j], bias)
            assert R[i].item() == pytest.approx(expected, rel=1e-9, abs=1e-12), rule


def test_rules_of_inputs_known_to_be_positive_are_the_same_rules() -> None:
    torch.manual_seed(1)
    layer = nn.Conv2d(2, 3, 3, padding=1).double()
    x = torch.rand(2, 2, 5, 5, dtype=torch.float64)
    behind = nn.Sequential(nn.ReLU(), layer)
    for rule in (ZPlus(), AlphaBeta(2, 1), Gamma(0.5)):
        signed = relprop.LRP(layer, everywhere(rule)).attribute(x, target=(1, 2, 3))
        known = relprop.LRP(behind, everywhere(rule)).attribute(x, target=(1, 2, 3))
        torch.testing.assert_close(signed, known, rtol=1e-12, atol=1e-14)


def test_gamma_gives_back_what_reaches_a_neuron_that_only_its_ignored_bias_has_turned_on() -> None:
    """There z is negative without the bias, so that the negative contributions count for more."""
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 1, bias=False)).double()
    x = torch.randn(3, 6, dtype=torch.float64)
    w, b, v = (p.detach() for p in model.parameters())
    with torch.no_grad():
        b.uniform_(0.5, 2)
    parts = x[:, None] * w
    z, hidden = parts.sum(2), (parts.sum(2) + b).clamp(min=0)
    assert ((z < 0) & (hidden > 0)).any()
    tilted = parts + 0.3 * torch.where(z[..., None] >= 0, parts.clamp(min=0), parts.clamp(max=0))
    expected = (tilted * (hidden * v / tilted.sum(2))[..., None]).sum(1)
    rules = relprop.Composite([("0", Gamma(0.3)), ("2", Epsilon())])
    lrp = relprop.LRP(model, rules, bias="ignore", epsilon=0, stabilizer=0)
    torch.testing.assert_close(lrp.attribute(x, target=0), expected, rtol=1e-9, atol=1e-12)
    assert lrp.report(x, target=0).shortfall == pytest.approx(0, abs=1e-10)


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


def test_gamma_without_bias_has_both_cases_below_a_relu() -> None:
    """A ReLU that its bias turns on may lie above contributions that sum to less than 0."""
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1, bias=False)).double()
    nn.init.constant_(model[0].bias, 0.5)
    x = torch.randn(3, 6, dtype=torch.float64)
    R = model[1](model[0](x)) * model[2].weight
    z_ij = x[:, :, None] * model[0].weight.T
    z = z_ij.sum(1, keepdim=True)
    assert ((z[:, 0] < 0) & (R != 0)).any()
    z_ij = z_ij + 0.3 * torch.where(z >= 0, z_ij.clamp(min=0), z_ij.clamp(max=0))
    expected = (z_ij / z_ij.sum(1, keepdim=True) * R[:, None]).sum(2).detach()
    gamma = relprop.Composite([("0", Gamma(0.3))])
    lrp = relprop.LRP(model, gamma, bias="ignore", epsilon=0, stabilizer=0)
    torch.testing.assert_close(lrp.attribute(x, target=0), expected, rtol=1e-9, atol=1e-12)


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


STABILIZERS = {
    "absolute": lambda z: z + 0.3 * z.sign(),
    "relative": lambda z: z + 0.3 * z.abs().mean(1, keepdim=True) * z.sign(),
    "clip": lambda z: torch.where(z.abs() < 0.3, 0.3 * z.sign(), z),
}


@pytest.mark.parametrize("kind", STABILIZERS)
@pytest.mark.parametrize("bias", ["absorb", "ignore", "redistribute"])
def test_a_stabilizer_is_its_formula(kind: str, bias: str) -> None:
    """Under a ReLU, where the layer's own output would not be kept: the mean needs all of it."""
    model = nn.Sequential(nn.Linear(5, 8, bias=False), nn.ReLU(), nn.Linear(8, 1, bias=False))
    model.double()
    x = torch.randn(3, 5, dtype=torch.float64)
    z = model[0](x).detach()
    hidden = z.clamp(min=0) * model[2].weight.detach()
    s = hidden / STABILIZERS[kind](z)
    expected = x * (s @ model[0].weight.detach())
    if bias == "redistribute":
        expected = expected + ((STABILIZERS[kind](z) - z) * s).sum(1, keepdim=True) / 5
    soft = Epsilon(Stabilizer(0.3, kind))
    lrp = relprop.LRP(model, relprop.Composite([("0", soft)]), epsilon=0, bias=bias)
    torch.testing.assert_close(lrp.attribute(x, target=0), expected, rtol=1e-10, atol=1e-12)
    assert lrp.report(x, target=0).shortfall == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_stabilized_by_more(dtype: torch.dtype) -> None:
    assert Stabilizer().added(torch.zeros(1, 1, dtype=dtype)).item() >= 1e-3 * (1 - 1e-3)
    assert Stabilizer(1e-6).size(dtype) == 1e-6 and Stabilizer().size(torch.float32) == 1e-6
