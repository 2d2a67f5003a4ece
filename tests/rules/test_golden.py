"""Maps that other packages computed, from networks rebuilt here."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.rules.lrp import AlphaBeta, Epsilon, Flat, WSquare, ZPlus

DATA = Path(__file__).parents[1] / "data"
DEEPLIFT = np.load(DATA / "deeplift.npz")
INNVESTIGATE = np.load(DATA / "innvestigate.npz")


def cases(archive: Any) -> list[dict[str, Any]]:
    index: list[dict[str, Any]] = json.loads(str(archive["index"]))
    return index


def channels_first(x: np.ndarray) -> Tensor:
    """(N, *spatial, C) to (N, C, *spatial)."""
    return (
        torch.from_numpy(np.moveaxis(x, -1, 1).copy()).double()
        if x.ndim > 2
        else torch.from_numpy(x).double()
    )


def weights(layer: nn.Module, kernel: np.ndarray, bias: np.ndarray | None) -> nn.Module:
    """A layer with a Keras kernel (*window, in, out) as its weight."""
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.moveaxis(kernel, (-1, -2), (0, 1)).copy()))
        if bias is not None:
            layer.bias.copy_(torch.from_numpy(bias))
    return layer.double()


class ChannelsLastFlatten(nn.Module):
    """Flatten as Keras does: channels vary fastest."""

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(1, -1).flatten(1)


def convolution(kernel: np.ndarray, **settings: Any) -> nn.Module:
    make = (nn.Conv1d, nn.Conv2d)[kernel.ndim - 3]
    return make(kernel.shape[-2], kernel.shape[-1], kernel.shape[:-2], **settings)


def deeplift_network(case: dict[str, Any]) -> nn.Module:
    modules: list[nn.Module] = []
    for number, (kind, *settings) in enumerate(case["layers"]):
        name = f"{case['key']}/w{number}"
        if kind == "relu":
            modules.append(nn.ReLU())
        elif kind == "flatten":
            modules.append(ChannelsLastFlatten())
        else:
            kernel, bias = DEEPLIFT[f"{name}_0"], DEEPLIFT[f"{name}_1"]
            layer = (
                nn.Linear(*kernel.shape)
                if kind == "dense"
                else convolution(kernel, stride=settings[0])
            )
            modules.append(weights(layer, kernel, bias))
    return nn.Sequential(*modules)


def without_limits(
    positive: Tensor, negative: Tensor, P: Tensor, N: Tensor, x0: Tensor, x: Tensor, **_: Any
) -> tuple[Tensor, Tensor]:
    """RevealCancel of a ReLU with multipliers of 0 for parts that are 0."""
    f, r = torch.relu, x0
    rise = (f(r + P) - f(r) + f(r + N + P) - f(r + N)) / 2
    fall = (f(r + N) - f(r) + f(r + P + N) - f(r + P)) / 2
    return (
        positive * torch.where(P > 0, rise / P, 0),
        negative * torch.where(N < 0, fall / N, 0),
    )


@functools.cache
def both_ways(key: str) -> tuple[Tensor, Tensor]:
    """Our contributions for a case, with the limits for parts that are 0, and without them."""
    case = next(c for c in cases(DEEPLIFT) if c["key"] == key)
    model = deeplift_network(case)
    x, x0 = (channels_first(DEEPLIFT[f"{key}/{name}"]) for name in "xr")
    np.testing.assert_allclose(model(x).detach(), DEEPLIFT[f"{key}/y"], rtol=1e-4, atol=1e-5)
    method = relprop.DeepLift(model, case["mode"])
    got = method.attribute(x, baselines=x0, target=case["task"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relprop.ops, "reveal_cancel", without_limits)
        return got, method.attribute(x, baselines=x0, target=case["task"])


def comparable(key: str) -> Tensor:
    """The examples of a case for which the limits do not matter."""
    got, other = both_ways(key)
    return (got - other).flatten(1).abs().amax(1) < 1e-9


@pytest.mark.parametrize(
    "case", cases(DEEPLIFT), ids=lambda c: f"{c['key']} {c['kind']} {c['mode']}"
)
def test_deeplift_equals_the_original(case: dict[str, Any]) -> None:
    """Wherever the multiplier of a part that is 0 does not matter.

    There the original evaluates f at a distance of 1e-7, which float32 rounds to almost anything.
    It matters where a unit is unchanged as a whole while its parts are not; see which examples
    these are by leaving the limit out.
    """
    got, _ = both_ways(case["key"])
    expected = channels_first(DEEPLIFT[f"{case['key']}/contrib"])
    error = (got - expected).flatten(1).abs().amax(1)
    assert (error[comparable(case["key"])] <= 2e-5 * expected.abs().max()).all()
    assert (got.flatten(1).sum(1) - expected.flatten(1).sum(1)).abs().max() <= 1e-4


def test_most_of_the_original_examples_are_comparable() -> None:
    """All of Rescale and of the genomics default, and most of RevealCancel everywhere."""
    by_mode: dict[str, list[Tensor]] = {}
    for case in cases(DEEPLIFT):
        by_mode.setdefault(case["mode"], []).append(comparable(case["key"]))
    shares = {mode: torch.cat(found).float().mean().item() for mode, found in by_mode.items()}
    assert shares["rescale"] == shares["genomics"] == 1
    assert shares["reveal_cancel"] > 0.5, shares


def innvestigate_network(case: dict[str, Any]) -> nn.Module:
    key, step = case["key"], 2 if case["bias"] else 1
    kernels = [
        INNVESTIGATE[f"{key}/w{i}"] for i in range(0, 12, step) if f"{key}/w{i}" in INNVESTIGATE
    ]
    biases = [
        INNVESTIGATE[f"{key}/w{i}"] if case["bias"] else None for i in range(1, 2 * len(kernels), 2)
    ]

    def layer(i: int, **settings: Any) -> nn.Module:
        kernel, bias = kernels[i], biases[i]
        make = nn.Linear if kernel.ndim == 2 else None
        built = (
            make(*kernel.shape, bias=case["bias"])
            if make
            else convolution(kernel, bias=case["bias"], **settings)
        )
        return weights(built, kernel, bias)

    if case["kind"] == "mlp":
        return nn.Sequential(layer(0), nn.ReLU(), layer(1), nn.ReLU(), layer(2))
    if case["kind"] == "cnn":
        return nn.Sequential(
            *(layer(0), nn.ReLU(), layer(1, padding="same"), nn.ReLU(), nn.MaxPool2d(2)),
            *(ChannelsLastFlatten(), layer(2), nn.ReLU(), layer(3)),
        )
    return nn.Sequential(
        *(layer(0, stride=2), nn.ReLU(), nn.AvgPool2d(2), layer(1), nn.ReLU()),
        *(ChannelsLastFlatten(), layer(2)),
    )


def everywhere(rule: Any) -> relprop.Composite:
    return relprop.Composite([("dense", rule), ("convolution", rule)])


#: Composite, epsilon and bias policy for each analyzer. Left out is `alpha_1_beta_0` of networks
#: with biases: there iNNvestigate divides by `W+ x+ + W- x- + b` (equal to 1e-8 by hand), where
#: Bach et al. (2015), eq. 62, have the bias's positive part only.
ANALYZERS = {
    "lrp.z": (everywhere(Epsilon()), 1e-7, "absorb"),
    "lrp.epsilon": (everywhere(Epsilon()), 0.01, "absorb"),
    "lrp.z_plus": (everywhere(ZPlus()), 0, "ignore"),
    "lrp.alpha_1_beta_0_IB": (everywhere(ZPlus()), 0, "ignore"),
    "lrp.alpha_2_beta_1_IB": (everywhere(AlphaBeta(2, 1)), 0, "ignore"),
    "lrp.flat": (everywhere(Flat()), 0, "absorb"),
    "lrp.w_square": (everywhere(WSquare()), 0, "absorb"),
}


@pytest.mark.parametrize("analyzer", ANALYZERS)
@pytest.mark.parametrize("case", cases(INNVESTIGATE), ids=lambda c: f"{c['kind']} bias={c['bias']}")
def test_lrp_equals_innvestigate(case: dict[str, Any], analyzer: str) -> None:
    composite, epsilon, bias = ANALYZERS[analyzer]
    model, key = innvestigate_network(case), case["key"]
    x = channels_first(INNVESTIGATE[f"{key}/x"])
    np.testing.assert_allclose(model(x).detach(), INNVESTIGATE[f"{key}/y"], rtol=1e-4, atol=1e-5)
    lrp = relprop.LRP(model, composite, epsilon=epsilon, stabilizer=1e-7, bias=bias)
    got = lrp.attribute(x, target=1)
    expected = channels_first(INNVESTIGATE[f"{key}/{analyzer}"])
    assert (got - expected).abs().max() <= 1e-4 * expected.abs().max()
