"""An explanation by tiles is the explanation, wherever the graph is cut into however many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from image_networks import NETWORKS, build, network
from torch import Tensor, nn

import relprop
from relprop.attribution import tiled
from relprop.attribution.tiled import Tiled
from relprop.attribution.tiling.in_memory import Division, tiling_of
from relprop.attribution.tiling.planner import Planner
from relprop.attribution.tiling.tiling import Tiling
from relprop.graph.cut import Cut
from relprop.rules import lrp

X = torch.randn(2, 3, 41, 35, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LOW = torch.full((3, 41, 35), -6.0, dtype=torch.float64)
LOW -= torch.arange(35.0, dtype=torch.float64)

Make = Callable[[nn.Module], Tiled]
RULES = lrp.Composite(
    [
        (lrp.first(), lrp.WSquare()),
        (lrp.depth(0, 0.5), lrp.AlphaBeta(alpha=2.0, beta=1.0)),
        ("convolution", lrp.Gamma(0.25)),
    ]
)
METHODS: dict[str, Make] = {
    "epsilon": lambda net: relprop.LRP(net, "epsilon"),
    "z+ and flat": relprop.LRP,
    "z+ and z^B, bounds for each pixel": lambda net: relprop.LRP(
        net, "epsilon_plus_box", low=LOW, high=6.0, max_pool="shared"
    ),
    "w^2, alpha-beta, gamma": lambda net: relprop.LRP(net, RULES, max_pool="proportional"),
    "biases handed down": lambda net: relprop.LRP(net, "epsilon_plus", bias="redistribute"),
    "deep Taylor": relprop.DeepTaylor,
    "gradient": relprop.Gradient,
    "input x gradient": relprop.InputXGradient,
    "Rescale": relprop.DeepLift,
    "Rescale, Shapley pools": lambda net: relprop.DeepLift(net, "rescale", "shapley"),
    "RevealCancel": lambda net: relprop.DeepLift(net, "reveal_cancel"),
    "RevealCancel, Shapley pools": lambda net: relprop.DeepLift(net, "reveal_cancel", "shapley"),
}


def explained(explainer: Tiled, x: Tensor, target: Any, **options: Any) -> tuple[Tensor, Tensor]:
    """What is attributed, and the delta of a method that has one."""
    if isinstance(explainer, relprop.Gradient):
        return explainer.attribute(x, target=target, **options), torch.zeros(())
    if isinstance(explainer, relprop.DeepLift):
        options["baselines"] = 0.3
    return explainer.attribute(x, target=target, return_convergence_delta=True, **options)


def a_target(name: str) -> Any:
    return [(1, 20, 17), (0, 40, 0)] if name.startswith("U-Net") else [1, 3]


def by_tiles(monkeypatch: pytest.MonkeyPatch, cut: int, parts: int) -> list[Tiling]:
    """Let explanations be cut at the cut of that number, into so many parts a side at least."""
    used: list[Tiling] = []

    def plan(planner: Planner, budget: int) -> tuple[Tiling, tuple[Cut, ...]]:
        cuts, _ = planner.cuts()
        chosen = (cuts[cut % len(cuts)],)
        used.append(in_parts(planner, chosen, parts, budget))
        return used[-1], chosen

    monkeypatch.setattr(tiled, "plan_tiles", plan)
    return used


def in_parts(planner: Planner, cuts: tuple[Cut, ...], parts: int, budget: int) -> Tiling:
    """A tiling by so many tiles a side of each cut, at least."""
    edges = tuple(-(-min(planner.space(cut)) // parts) for cut in cuts)
    return tiling_of(planner, Division(cuts, edges), budget)


def by_tiles_of_two_cuts(monkeypatch: pytest.MonkeyPatch, place: float) -> list[Tiling]:
    """Let explanations be cut twice, at the pair of cuts that lies there among all, from 0 to 1."""
    used: list[Tiling] = []

    def plan(planner: Planner, budget: int) -> tuple[Tiling, tuple[Cut, ...]]:
        cuts, _ = planner.cuts()
        pairs = [(cut, other) for cut in cuts for other in planner.cuts(cut.head)[0]]
        chosen = pairs[int(place * (len(pairs) - 1))]
        used.append(in_parts(planner, chosen, 3, budget))
        return used[-1], chosen

    monkeypatch.setattr(tiled, "plan_tiles", plan)
    return used


#: Interpolation is one node among others to every method, and slow in so many tiles.
SLOW = {"resized": ("biases handed down", "RevealCancel, Shapley pools")}


@pytest.mark.parametrize(
    ("name", "method"), [(name, m) for name in NETWORKS for m in SLOW.get(name, METHODS)]
)
def test_tiles_add_up_to_the_whole(name: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    explainer, target = METHODS[method](network(name)), a_target(name)
    R, delta = explained(explainer, X, target)
    for cut, parts in ((0, 2), (-1, 3), (len(method) + len(name), 3)):
        used = by_tiles(monkeypatch, cut, parts)
        by_parts, delta_by_parts = explained(explainer, X, target, memory_budget=1)
        assert len(used[0].boxes) >= parts**2
        # Bicubic weights have both signs: some denominators are small sums of large terms.
        rounding = 1e-10 if name == "resized" else 1e-11
        assert (by_parts - R).abs().max() <= rounding * R.abs().max()
        assert (delta_by_parts - delta).abs().max() <= rounding * R.abs().sum()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["VGG", "ResNet"])
def test_tiles_of_two_cuts_add_up_to_the_whole(
    name: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer = METHODS[method](network(name))
    R, delta = explained(explainer, X, [1, 3])
    for place in (0.1, 0.5):
        used = by_tiles_of_two_cuts(monkeypatch, place)
        by_parts, delta_by_parts = explained(explainer, X, [1, 3], memory_budget=1)
        assert all(len(part.boxes) >= 9 for part in used[0].parts) and len(used[0].parts) == 2
        assert (by_parts - R).abs().max() <= 1e-11 * R.abs().max()
        assert (delta_by_parts - delta).abs().max() <= 1e-11 * R.abs().sum()


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("VGG", "w^2, alpha-beta, gamma"),
        ("VGG", "RevealCancel"),
        ("ResNet", "biases handed down"),
        ("ResNet", "Rescale"),
        ("ResNet", "RevealCancel"),
        ("EfficientNet-Lite", "epsilon"),
    ],
)
def test_layers_have_what_they_have_in_the_whole(
    name: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer = METHODS[method](network(name))
    assert isinstance(explainer, (relprop.LRP, relprop.DeepLift))
    first = next(iter(explainer.layer_shapes(X)))
    layers = [*explainer.layer_shapes(X), f"{first}:input"]
    expected = explainer.attribute(X, target=[1, 3], layers=layers)[1]

    def check() -> None:
        found = explainer.attribute(X, target=[1, 3], layers=layers, memory_budget=1)[1]
        assert list(found) == layers
        for layer in layers:
            error = (found[layer] - expected[layer]).abs().max()
            assert error <= 1e-11 * expected[layer].abs().max(), layer

    for cut in (0, -1):
        by_tiles(monkeypatch, cut, 3)
        check()
    by_tiles_of_two_cuts(monkeypatch, 0.7)
    check()


def test_layers_of_many_targets_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    explainer, targets = relprop.LRP(network("ResNet")), [[0, 1, 3], [2, 2, 1]]
    layers = list(explainer.layer_shapes(X))[:4]
    whole, _, expected = explainer.attribute(X, targets, None, True, layers)
    by_tiles(monkeypatch, -1, 2)
    R, _, found = explainer.attribute(X, targets, None, True, layers, memory_budget=1)
    torch.testing.assert_close(R, whole, rtol=0, atol=1e-11 * whole.abs().max().item())
    for layer in layers:
        atol = 1e-11 * expected[layer].abs().max().item()
        torch.testing.assert_close(found[layer], expected[layer], rtol=0, atol=atol)


@pytest.mark.parametrize("method", ["z+ and flat", "gradient", "Rescale, Shapley pools"])
@pytest.mark.parametrize("name", ["VGG", "ResNet", "EfficientNet-Lite"])
def test_tiles_add_up_in_single_precision(
    name: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer, x = METHODS[method](build(name).float()), X.float()
    R, _ = explained(explainer, x, 1)
    for cut in (0, -1):
        used = by_tiles(monkeypatch, cut, 3)
        by_parts, _ = explained(explainer, x, 1, memory_budget=1)
        assert used and (by_parts - R).abs().max() <= 1e-5 * R.abs().max()


@pytest.mark.parametrize("shape", [(33, 64), (64, 97), (50, 33)])
def test_tiles_add_up_for_any_size(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(1, 3, *shape, dtype=torch.float64)
    for name in ("ResNet", "shuffled", "dilated"):
        explainer = relprop.LRP(network(name))
        R, _ = explained(explainer, x, 2)
        used = by_tiles(monkeypatch, -1, 4)
        by_parts, _ = explained(explainer, x, 2, memory_budget=1)
        assert used and (by_parts - R).abs().max() <= 1e-11 * R.abs().max()
        monkeypatch.undo()


@pytest.mark.parametrize("make", [relprop.LRP, relprop.Gradient, relprop.InputXGradient])
def test_many_targets_share_the_tiles(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    explainer, targets = make(network("ResNet")), [[0, 1, 3], [2, 2, 1]]
    R = explainer.attribute(X, target=targets)
    by_tiles(monkeypatch, -1, 2)
    by_parts = explainer.attribute(X, target=targets, memory_budget=1)
    assert by_parts.shape == (2, 3, *X.shape[1:])
    torch.testing.assert_close(by_parts, R, rtol=0, atol=1e-11 * R.abs().max().item())


def test_baselines_are_averaged_over_by_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = relprop.Distribution(torch.randn(3, 3, 41, 35, dtype=torch.float64))
    explainer = relprop.DeepLift(network("VGG"), "genomics", mean_normalized=True)
    options: dict[str, Any] = {
        "target": [[0, 1], [3, 2]],
        "return_convergence_delta": True,
        "custom_attribution_func": lambda m, x, x0: tuple(
            a * b.abs() - c for a, b, c in zip(m, x, x0, strict=True)
        ),
    }
    R, delta = explainer.attribute(X, samples, **options)
    by_tiles(monkeypatch, -1, 2)
    by_parts, delta_by_parts = explainer.attribute(X, samples, memory_budget=1, **options)
    torch.testing.assert_close(by_parts, R, rtol=1e-11, atol=1e-11)
    assert (delta_by_parts - delta).abs().max() <= 1e-12


class TwoImages(nn.Module):
    """Two images side by side, and numbers that only the end of the network reads."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(2, 4, 5, 2, 2)
        self.mixed, self.end = nn.Conv2d(4, 6, 3, padding=1), nn.Linear(8, 3)

    def forward(self, numbers: Tensor, a: Tensor, b: Tensor) -> Tensor:
        x = (self.left(a) * self.right(b).sigmoid()).relu()
        x = self.mixed(x).relu().mean((2, 3))
        return self.end(torch.cat([x, numbers], 1))


@pytest.mark.parametrize("method", ["z+ and flat", "input x gradient", "Rescale"])
def test_several_inputs_are_explained_by_tiles(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = ((2, 2), (2, 3, 30, 27), (2, 2, 30, 27))
    inputs = tuple(torch.rand(shape, dtype=torch.float64) for shape in shapes)
    explainer = METHODS[method](TwoImages().double())
    whole = explainer.attribute(inputs, target=1)
    by_tiles(monkeypatch, -1, 2)
    parts = explainer.attribute(inputs, target=1, memory_budget=1)
    for part, R in zip(parts, whole, strict=True):
        torch.testing.assert_close(part, R, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dims", [1, 3])
def test_sequences_and_volumes_are_explained_by_tiles(
    dims: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    convolution, pool = (getattr(nn, f"{kind}{dims}d") for kind in ("Conv", "MaxPool"))
    net = nn.Sequential(
        *(convolution(2, 4, 3, 2, 1), nn.ReLU(), pool(3, 2, 1), convolution(4, 4, 3, padding=1)),
        *(nn.ReLU(), getattr(nn, f"AdaptiveAvgPool{dims}d")(1), nn.Flatten(), nn.Linear(4, 2)),
    ).double()
    explainer = relprop.LRP(net, "epsilon_plus")
    x = torch.randn(1, 2, *[19 if dims == 3 else 203] * dims, dtype=torch.float64)
    R = explainer.attribute(x, target=0)

    def plan(planner: Planner, budget: int) -> tuple[Tiling, tuple[Cut, ...]]:
        cuts = tuple(planner.cuts()[0][-1:])
        return tiling_of(planner, Division(cuts, (3,)), budget), cuts

    monkeypatch.setattr(tiled, "plan_tiles", plan)
    by_parts = explainer.attribute(x, target=0, memory_budget=1)
    assert (by_parts - R).abs().max() <= 1e-12 * R.abs().max()
