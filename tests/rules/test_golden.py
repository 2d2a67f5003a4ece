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
from relprop.rules.lrp import AlphaBeta, Epsilon, Flat, WSquare, ZBox, ZPlus, first

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
#: (equal to 1e-8 by hand), where Bach et al. (2015), eq. 62, have the bias's positive part only:
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
def rebuilt(key: str) -> tuple[nn.Module, Tensor]:
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
    got = lrp.attribute(x, target=1)
    expected = channels_first(INNVESTIGATE[f"{case['key']}/{analyzer}"])
    assert (got - expected).abs().max() <= 1e-4 * expected.abs().max()


def with_a_layer_for_its_pool(model: nn.Sequential) -> nn.Sequential:
    """The same network with a convolution in place of its average pool, so that it has a weight."""
    channels = model[0].out_channels
    pool = nn.Conv2d(channels, channels, 2, stride=2, groups=channels, bias=False).double()
    nn.init.constant_(pool.weight, 0.25)
    return nn.Sequential(*model[:2], pool, *model[3:])


@pytest.mark.parametrize("analyzer", ["deep_taylor", "deep_taylor.bounded"])
@pytest.mark.parametrize("case", cases(INNVESTIGATE), ids=lambda c: f"{c['kind']} bias={c['bias']}")
def test_deep_taylor_equals_innvestigate(case: dict[str, Any], analyzer: str) -> None:
    """Where the explained output is positive: elsewhere iNNvestigate's maps are 0.

    It explains `relu(output)`. Without bounds it has the z+ rule on the first layer too, where
    `DeepTaylor` has w^2 (Montavon et al. 2017, eq. 12), which is therefore not compared; and an
    average pool hands relevance to its inputs in equal parts, whatever their values.
    """
    model, x = rebuilt(case["key"])
    positive = model(x)[:, 1] > 0
    expected = channels_first(INNVESTIGATE[f"{case['key']}/{analyzer}"])
    assert not expected[~positive].any()
    bounded = analyzer.endswith("bounded")
    if case["kind"] == "cnn_avg":
        model = with_a_layer_for_its_pool(model)
        at_first = [(first(), ZBox(-3, 3))] if bounded else []
        pairs = [("2", Flat()), *at_first, ("convolution", ZPlus()), ("dense", ZPlus())]
        method = relprop.LRP(model, relprop.Composite(pairs), bias="ignore")
    elif bounded:
        method = relprop.DeepTaylor(model, low=-3, high=3)
    else:
        method = relprop.LRP(model, "excitation_backprop", bias="ignore")
    error = (method.attribute(x, target=1) - expected)[positive].abs()
    assert (error <= 1e-4 * expected.abs().max()).all()
