"""Each rule of LRP equal to zennit's, wherever zennit's is what the paper says."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.rules import lrp as ours

theirs = pytest.importorskip("zennit.rules")

pytestmark = pytest.mark.peers

STABILIZER = 1e-3
#: For zennit's rules that have a stabilizer where ours needs none.
NEXT_TO_NONE = 1e-14
LOW, HIGH = -3.0, 4.0

LAYERS: dict[str, tuple[Callable[[bool], nn.Module], tuple[int, ...]]] = {
    "dense": (lambda bias: nn.Linear(6, 5, bias=bias), (6,)),
    "conv1d": (lambda bias: nn.Conv1d(2, 3, 3, padding=1, stride=2, bias=bias), (2, 7)),
    "conv2d": (
        lambda bias: nn.Conv2d(2, 4, (3, 2), padding=(1, 0), groups=2, bias=bias),
        (2, 5, 4),
    ),
    "conv3d": (lambda bias: nn.Conv3d(1, 2, 2, padding=1, dilation=2, bias=bias), (1, 3, 3, 3)),
    "transposed 1d": (
        lambda bias: nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1, bias=bias),
        (2, 4),
    ),
    "transposed 2d": (
        lambda bias: nn.ConvTranspose2d(2, 4, 3, stride=2, output_padding=1, groups=2, bias=bias),
        (2, 3, 2),
    ),
    "transposed 3d": (lambda bias: nn.ConvTranspose3d(1, 2, 2, bias=bias), (1, 2, 2, 3)),
}

#: Our rule, and zennit's with further arguments.
SAME: dict[str, tuple[Any, Callable[[], Any]]] = {
    "epsilon": (ours.Epsilon(), lambda: theirs.Epsilon(STABILIZER)),
    "norm": (ours.Epsilon(), lambda: theirs.Norm(STABILIZER)),
    "zplus": (ours.ZPlus(), lambda: theirs.ZPlus(STABILIZER)),
    **{
        f"alpha{1 + beta:g}-beta{beta:g}": (
            ours.AlphaBeta(1 + beta, beta),
            functools.partial(theirs.AlphaBeta, 1 + beta, beta, stabilizer=STABILIZER),
        )
        for beta in (0.5, 1, 2)
    },
    **{
        f"gamma{gamma:g}": (
            ours.Gamma(gamma),
            functools.partial(theirs.Gamma, gamma, stabilizer=STABILIZER),
        )
        for gamma in (0.25, 3)
    },
    "zbox": (ours.ZBox(LOW, HIGH), lambda: theirs.ZBox(LOW, HIGH, STABILIZER)),
    "flat": (ours.Flat(), lambda: theirs.Flat(NEXT_TO_NONE)),
    "wsquare without bias": (
        ours.WSquare(),
        lambda: theirs.WSquare(NEXT_TO_NONE, zero_params="bias"),
    ),
}

#: With the bias policy "ignore", which zennit has as `zero_params="bias"`.
SAME_WITHOUT_BIAS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "epsilon": (ours.Epsilon(), lambda: theirs.Epsilon(STABILIZER, "bias")),
    "zplus": (ours.ZPlus(), lambda: theirs.ZPlus(STABILIZER, "bias")),
    "alpha3-beta2": (ours.AlphaBeta(3, 2), lambda: theirs.AlphaBeta(3, 2, STABILIZER, "bias")),
}


@functools.cache
def network(name: str, bias: bool, form: str) -> tuple[nn.Module, Tensor]:
    """A layer by itself, behind a ReLU, or below one and another layer; and an input."""
    make, shape = LAYERS[name]
    layer, x = make(bias), torch.randn(3, *shape)
    if form == "two layers":
        size = layer(x)[0].numel()
        model = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.Linear(size, 4, bias=bias))
    else:
        model = nn.Sequential(*[nn.ReLU()] * (form == "nonnegative"), layer, nn.Flatten())
    return model.double(), x.double()


def by_zennit(model: nn.Module, x: Tensor, rule: Callable[[], Any], targets: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    hooks = [
        (theirs.Pass() if isinstance(module, nn.ReLU) else rule()).register(module)
        for module in model
        if not isinstance(module, nn.Flatten)
    ]
    try:
        y = model(x)
        seed = torch.zeros_like(y).scatter_(1, targets[:, None], y.gather(1, targets[:, None]))
        return torch.autograd.grad(y, x, seed.detach())[0]
    finally:
        for hook in hooks:
            hook.remove()


def by_relprop(model: nn.Module, x: Tensor, rule: Any, targets: Tensor, bias: str) -> Tensor:
    composite = relprop.Composite([("dense", rule), ("convolution", rule)])
    settings = {"bias": bias, "epsilon": STABILIZER, "stabilizer": STABILIZER}
    return relprop.LRP(model, composite, **settings).attribute(x, target=targets)


def matrix(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer's w_ij, found by applying it to every unit vector."""
    units = torch.eye(x[0].numel(), dtype=x.dtype).reshape(-1, *x.shape[1:])
    with torch.no_grad():
        return (layer(units) - layer(units * 0)).flatten(1)


#: Every layer by itself, and some of them in the other forms.
FORMS = pytest.mark.parametrize(
    ("name", "form"),
    [(name, "signed") for name in LAYERS]
    + [(name, form) for name in ("dense", "conv2d") for form in ("nonnegative", "two layers")],
)


@FORMS
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_a_rule_is_as_in_zennit(name: str, bias: bool, form: str) -> None:
    model, x = network(name, bias, form)
    targets = torch.tensor([0, 2, 3])
    for rule, (own, other) in SAME.items():
        got = by_relprop(model, x, own, targets, "absorb")
        expected = by_zennit(model, x, other, targets)
        torch.testing.assert_close(
            got, expected, rtol=1e-8, atol=1e-10, msg=lambda m, rule=rule: f"{rule}: {m}"
        )


@FORMS
def test_a_rule_that_ignores_the_bias_is_as_in_zennit(name: str, form: str) -> None:
    model, x = network(name, True, form)
    targets = torch.tensor([1, 0, 2])
    for rule, (own, other) in SAME_WITHOUT_BIAS.items():
        got = by_relprop(model, x, own, targets, "ignore")
        expected = by_zennit(model, x, other, targets)
        torch.testing.assert_close(
            got, expected, rtol=1e-8, atol=1e-10, msg=lambda m, rule=rule: f"{rule}: {m}"
        )


@pytest.mark.parametrize("name", LAYERS)
def test_wsquare_leaves_the_bias_out_of_its_denominator_unlike_zennit(name: str) -> None:
    """Montavon et al. (2017), eq. 12, sums over inputs; zennit adds `b_j^2`, as for an input of 1.

    So its relevance falls short of the score, by as much as formula and bias say here.
    """
    model, x = network(name, True, "signed")
    targets = torch.tensor([0, 2, 3])
    w_squared = matrix(model[0], x).T[targets] ** 2  # of every example's neuron
    b = model(torch.zeros_like(x)).detach().gather(1, targets[:, None])
    R = model(x).detach().gather(1, targets[:, None])
    for got, extra in (
        (by_relprop(model, x, ours.WSquare(), targets, "absorb"), 0),
        (by_zennit(model, x, lambda: theirs.WSquare(NEXT_TO_NONE), targets), b**2),
    ):
        expected = w_squared / (w_squared.sum(1, keepdim=True) + extra) * R
        torch.testing.assert_close(got.flatten(1), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", LAYERS)
def test_gamma_without_bias_takes_the_sign_without_bias_unlike_zennit(name: str) -> None:
    """Andéol et al. (2021) tell the two cases apart by the sum that is divided by.

    zennit's goes by the sign of `z_j + b_j` even where the bias is left out of everything else, so
    that a denominator of the other sign, `z_j + gamma z+_j`, can come near zero.
    """
    model, x = network(name, True, "signed")
    targets = torch.tensor([1, 0, 2])
    z_ij = x.flatten(1) * matrix(model[0], x).T[targets]  # of every example's neuron
    R = model(x).detach().gather(1, targets[:, None])
    z = z_ij.sum(1, keepdim=True)
    for got, sign in (
        (by_relprop(model, x, ours.Gamma(0.5), targets, "ignore"), z),
        (by_zennit(model, x, lambda: theirs.Gamma(0.5, STABILIZER, "bias"), targets), R),
    ):
        larger = torch.where(sign >= 0, z_ij.clamp(min=0), z_ij.clamp(max=0))
        parts = z_ij + 0.5 * larger
        d = parts.sum(1, keepdim=True)
        expected = parts * R / (d + STABILIZER * d.sign())
        torch.testing.assert_close(got.flatten(1), expected, rtol=1e-8, atol=1e-10)


def test_a_clipped_denominator_is_as_in_zennit() -> None:
    """Its stabilizer by scale is not compared: it takes the root mean square, ours mean |z|."""
    core = pytest.importorskip("zennit.core")
    model, x = network("conv2d", True, "two layers")
    for size in (0.1, 1.0):
        clip = ours.Stabilizer(size, "clip")
        targets = torch.tensor([0, 2, 3])
        got = by_relprop(model, x, ours.Epsilon(clip), targets, "absorb")
        other = functools.partial(theirs.Epsilon, core.Stabilizer(size, clip=True))
        expected = by_zennit(model, x, other, targets)
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_an_average_pool_is_as_by_norm_in_zennit(d: int) -> None:
    conv, pool = getattr(nn, f"Conv{d}d"), getattr(nn, f"AvgPool{d}d")
    model = nn.Sequential(
        *(conv(1, 3, 2), pool(2, 1, padding=1), nn.Flatten()),
        nn.Linear(3 * 5**d, 4),
    ).double()
    x = torch.randn(3, 1, *(5,) * d, dtype=torch.float64)
    targets = torch.tensor([3, 0, 1])
    expected = by_zennit(model, x, lambda: theirs.Norm(STABILIZER), targets)
    got = by_relprop(model, x, ours.Epsilon(), targets, "absorb")
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("layer", [nn.Linear(6, 6), nn.Conv1d(2, 2, 3, padding=1)], ids=repr)
def test_a_layer_that_is_passed_is_as_in_zennit(layer: nn.Module) -> None:
    shape = (6,) if isinstance(layer, nn.Linear) else (2, 5)
    model = nn.Sequential(layer, nn.Flatten()).double()
    x = torch.randn(3, *shape, dtype=torch.float64)
    targets = torch.tensor([3, 0, 1])
    got = by_relprop(model, x, ours.Pass(), targets, "absorb")
    expected = by_zennit(model, x, theirs.Pass, targets)
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)
