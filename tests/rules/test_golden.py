"""Maps that other packages computed, from networks rebuilt here."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import relprop
from benchmarks.peers.keras_networks import (
    INNVESTIGATE,
    TARGET,
    cases,
    channels_first,
    channels_last_flatten,
    innvestigate_maps,
    innvestigate_network,
    weighted,
)
from benchmarks.peers.networks import Chain, Step
from relprop.rules.lrp import AlphaBeta, Epsilon, Flat, WSquare, ZPlus

DATA = Path(__file__).parents[1] / "data"
DEEPLIFT = np.load(DATA / "deeplift.npz")


def deeplift_network(case: dict[str, Any]) -> nn.Module:
    steps: list[Step] = []
    for number, (kind, *settings) in enumerate(case["layers"]):
        name = f"{case['key']}/w{number}"
        if kind == "relu":
            steps.append(nn.ReLU())
        elif kind == "flatten":
            steps.append(channels_last_flatten)
        else:
            stride = {"stride": settings[0]} if settings else {}
            steps.append(weighted(DEEPLIFT[f"{name}_0"], DEEPLIFT[f"{name}_1"], **stride))
    return Chain(*steps)


def without_limits(
    positive: Tensor, negative: Tensor, P: Tensor, N: Tensor, x0: Tensor, **_: Any
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
    got = lrp.attribute(x, target=TARGET)
    expected = innvestigate_maps(case)[analyzer]
    assert (got - expected).abs().max() <= 1e-4 * expected.abs().max()
