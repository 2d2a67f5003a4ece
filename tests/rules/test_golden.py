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
from relprop.rules.lrp import AlphaBeta, Epsilon, Flat, WSquare, ZBox, ZPlus, first

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


def signed_without_limits(
    positive: Tensor, negative: Tensor | None, x: Tensor, x0: Tensor, size: Tensor, **function: Any
) -> tuple[Tensor, Tensor]:
    """The same between two convolutions, where a part that is 0 may have been left by rounding."""
    P, N = (x - x0 + size) / 2, (x - x0 - size) / 2
    P, N = torch.where(P > 1e-12, P, 0), torch.where(N < -1e-12, N, 0)
    other = positive if negative is None else negative
    rising, falling = without_limits(positive, other, P, N, x0, x, **function)
    return (rising + falling) / 2, (rising - falling) / 2


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
        patch.setattr(relprop.ops, "signed_reveal_cancel", signed_without_limits)
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


#: Composite, epsilon and bias policy for each analyzer, of all networks.
ANALYZERS: dict[str, tuple[str | relprop.Composite, float, str]] = {
    "lrp.z": (everywhere(Epsilon()), 1e-7, "absorb"),
    "lrp.epsilon": (everywhere(Epsilon()), 0.01, "absorb"),
    "lrp.z_plus": (everywhere(ZPlus()), 0, "ignore"),
    "lrp.alpha_1_beta_0_IB": (everywhere(ZPlus()), 0, "ignore"),
    "lrp.alpha_2_beta_1_IB": (everywhere(AlphaBeta(2, 1)), 0, "ignore"),
    "lrp.flat": (everywhere(Flat()), 0, "absorb"),
    "lrp.w_square": (everywhere(WSquare()), 0, "absorb"),
}
#: Those with alpha-beta rules that keep the bias. iNNvestigate divides by `W+ x+ + W- x- + b`
#: (equal to 1e-8 by hand), where Bach et al. (2015), eq. 60, have the bias's positive part only:
#: so they can be compared on networks without biases, and the presets, which put the epsilon rule
#: on dense layers, on dense networks. Not compared is `z_plus_fast`, which is `W+ x` for x of
#: either sign.
ALPHA_BETA: dict[str, tuple[str | relprop.Composite, float, str]] = {
    "lrp.alpha_1_beta_0": (everywhere(AlphaBeta(1, 0)), 0, "absorb"),
    "lrp.alpha_2_beta_1": (everywhere(AlphaBeta(2, 1)), 0, "absorb"),
    **{
        f"lrp.sequential_preset_{name}": (f"sequential_preset_{name}", 0.1, "absorb")
        for name in ("a", "b", "a_flat", "b_flat")
    },
}
COMPARED = [(case, name, ANALYZERS[name]) for case in cases(INNVESTIGATE) for name in ANALYZERS] + [
    (case, name, ALPHA_BETA[name])
    for case in cases(INNVESTIGATE)
    for name in ALPHA_BETA
    if not case["bias"] or (case["kind"] == "mlp" and "preset" in name)
]


@functools.cache
def rebuilt(key: str) -> tuple[Chain, Tensor]:
    """The network of a case, which gives what it gave there, and the case's input."""
    case = next(c for c in cases(INNVESTIGATE) if c["key"] == key)
    model, x = innvestigate_network(case), channels_first(INNVESTIGATE[f"{key}/x"])
    np.testing.assert_allclose(model(x).detach(), INNVESTIGATE[f"{key}/y"], rtol=1e-4, atol=1e-5)
    return model, x


@pytest.mark.parametrize(
    ("case", "analyzer", "ours"),
    COMPARED,
    ids=[f"{case['kind']} bias={case['bias']} {name}" for case, name, _ in COMPARED],
)
def test_lrp_equals_innvestigate(case: dict[str, Any], analyzer: str, ours: Any) -> None:
    composite, epsilon, bias = ours
    model, x = rebuilt(case["key"])
    lrp = relprop.LRP(model, composite, epsilon=epsilon, stabilizer=1e-7, bias=bias)
    got = lrp.attribute(x, target=TARGET)
    expected = innvestigate_maps(case)[analyzer]
    assert (got - expected).abs().max() <= 1e-4 * expected.abs().max()


def with_a_layer_for_its_pool(model: Chain) -> Chain:
    """The same network with a convolution in place of its average pool, so that it has a weight."""
    layers = list(model.layers)
    channels = layers[0].out_channels
    pool = nn.Conv2d(channels, channels, 2, stride=2, groups=channels, bias=False).double()
    nn.init.constant_(pool.weight, 0.25)
    return Chain(*layers[:2], pool, *layers[3:-1], channels_last_flatten, layers[-1])


@pytest.mark.parametrize("analyzer", ["deep_taylor", "deep_taylor.bounded"])
@pytest.mark.parametrize("case", cases(INNVESTIGATE), ids=lambda c: f"{c['kind']} bias={c['bias']}")
def test_deep_taylor_equals_innvestigate(case: dict[str, Any], analyzer: str) -> None:
    """Where the explained output is positive: elsewhere iNNvestigate's maps are 0.

    It explains `relu(output)`. Without bounds it has the z+ rule on the first layer too, where
    `DeepTaylor` has w^2 (Montavon et al. 2017, eq. 12), which is therefore not compared; and an
    average pool hands relevance to its inputs in equal parts, whatever their values.
    """
    model, x = rebuilt(case["key"])
    positive = model(x)[:, TARGET] > 0
    expected = channels_first(INNVESTIGATE[f"{case['key']}/{analyzer}"])
    assert not expected[~positive].any()
    bounded = analyzer.endswith("bounded")
    if case["kind"] == "cnn_avg":
        model = with_a_layer_for_its_pool(model)
        at_first = [(first(), ZBox(-3, 3))] if bounded else []
        pairs = [("layers.2", Flat()), *at_first, ("convolution", ZPlus()), ("dense", ZPlus())]
        method = relprop.LRP(model, relprop.Composite(pairs), bias="ignore")
    elif bounded:
        method = relprop.DeepTaylor(model, low=-3, high=3)
    else:
        method = relprop.LRP(model, "excitation_backprop", bias="ignore")
    error = (method.attribute(x, target=TARGET) - expected)[positive].abs()
    assert (error <= 1e-4 * expected.abs().max()).all()
