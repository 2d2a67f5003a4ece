"""What a budget of memory leads to: no tiles, tiles as large as fit, or a sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
import torch
from image_networks import NETWORKS, build, gated, network
from torch import Tensor, nn

import relprop
from relprop.attribution import attributor
from relprop.attribution.tiled import Tiled
from relprop.attribution.tiling import planner as plans
from relprop.attribution.tiling.in_memory import Division, peak_of, plan_tiles, work_of
from relprop.attribution.tiling.tiling import in_units
from relprop.graph.constants import Snapshot
from relprop.graph.sizes import Sizes
from relprop.graph.sweep import Sweep
from relprop.rules import lrp

X = torch.randn(1, 3, 97, 81, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
PLENTY = "1TiB"


def test_what_fits_is_not_taken_apart() -> None:
    explainer = relprop.LRP(network("ResNet"))
    whole = explainer.tiling(X, PLENTY)
    assert whole.boxes == () and whole.peak == whole.untiled
    assert str(whole).startswith("no tiles: all of it fits")
    assert explainer.tiling(X, whole.untiled).boxes == ()
    assert explainer.tiling(X, whole.untiled - 1).boxes


@pytest.mark.parametrize("make", [relprop.LRP, relprop.DeepLift, relprop.InputXGradient])
@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_cover_the_cut_once_and_fit(name: str, make: Callable[[nn.Module], Tiled]) -> None:
    explainer = make(network(name))
    untiled = explainer.tiling(X, PLENTY).untiled
    peaks = []
    for share in (0.95, 0.92, 0.9):
        tiling = explainer.tiling(X, int(share * untiled))
        assert tiling.untiled == untiled and tiling.peak <= tiling.budget
        for part in tiling.parts:
            covered = torch.zeros(part.space, dtype=torch.int)
            for (top, bottom), (left, right) in part.boxes:
                covered[top:bottom, left:right] += 1
            assert (covered == 1).all()
        peaks.append(tiling.peak)
    assert peaks[-1] < untiled


@pytest.mark.parametrize("name", NETWORKS)
def test_an_explanation_within_a_budget_is_the_same(name: str) -> None:
    explainer = relprop.LRP(network(name))
    budget = int(0.9 * explainer.tiling(X, PLENTY).untiled)
    target = (1, 50, 40) if name.startswith("U-Net") else 1
    assert explainer.tiling(X, budget).boxes
    whole = explainer.attribute(X, target=target)
    within = explainer.attribute(X, target=target, memory_budget=budget)
    assert (within - whole).abs().max() <= 1e-11 * whole.abs().max()


@pytest.mark.parametrize("edge", [4, 7, 30])
@pytest.mark.parametrize("name", ["VGG", "ResNet", "EfficientNet-Lite"])
def test_work_is_that_of_all_tiles(name: str, edge: int) -> None:
    explainer = relprop.LRP(network(name))
    with torch.no_grad():
        planner, _ = explainer.planner((X,), 1, 1.0)
    shapes = planner.sizes.shapes
    for cut in planner.cuts()[0]:
        tiles = list(plans.boxes(planner.space(cut), edge))
        work = sum(
            planner.products(node) * plans.share(wanted[node.output], shapes[node.output])
            for wanted in map(cut.body.wanted, tiles)
            for node in cut.body.nodes
        )
        # All between the first and the last are taken to be alike, which near the ends read less.
        assert planner.work_of_tiles(cut, edge) == pytest.approx(work, rel=0.1)


def test_a_plan_says_where_it_cuts_and_what_it_takes() -> None:
    explainer = relprop.LRP(network("VGG"))
    untiled = explainer.tiling(X, PLENTY).untiled
    text = str(explainer.tiling(X, untiled // 2))
    assert re.match(r"cut after '\w+' in module '\d+', which gives \d+ x \d+\n", text)
    assert f"untiled {in_units(untiled)}" in text
    assert re.search(r"\d+ x \d+ pixels, with \d+ x \d+ on each side", text)
    assert re.search(r"work: \d+\.\d\d times", text)


@pytest.mark.parametrize(
    ("size", "text"), [(1, "1 B"), (1536, "1.5 KiB"), (3 * 2**30, "3 GiB"), (2**20, "1 MiB")]
)
def test_bytes_are_written_in_units(size: int, text: str) -> None:
    assert in_units(size) == text


def refused(explainer: Tiled, share: float = 0.1) -> str:
    """What is said of a budget of a share of what the explanation takes."""
    untiled = explainer.tiling(X, PLENTY).untiled
    budget = int(share * untiled)
    with pytest.raises(relprop.InvalidInputError) as error:
        explainer.attribute(X, target=1, memory_budget=budget)
    assert f"untiled takes {in_units(untiled)}" in str(error.value)
    assert str(error.value).endswith(")") and f"got {in_units(budget)}" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("make", [relprop.LRP, relprop.DeepLift, relprop.Gradient])
def test_a_gate_that_reads_all_of_space_is_named(make: Callable[[nn.Module], Tiled]) -> None:
    text = refused(make(gated()), 0.5)
    assert "(no tiles beyond 'adaptive_avg_pool2d' in module 'squeeze'" in text
    assert text.endswith(": it reads all of space)")


def test_a_norm_over_all_of_space_is_named() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))
    net.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten()])
    assert "'mean' in module '1': it reads all of space" in refused(relprop.LRP(net.double()))


def test_a_stabilizer_that_reads_all_of_a_layer_is_named() -> None:
    relative = lrp.Stabilizer(1e-3, kind="relative")
    text = refused(relprop.LRP(network("VGG"), "epsilon", epsilon=relative))
    assert "'conv2d' in module '0': its rule's stabilizer is relative to the mean" in text


@pytest.mark.parametrize("make", [relprop.Deconvnet, relprop.GuidedBackprop])
def test_rules_that_are_not_linear_are_named(make: Callable[[nn.Module], Tiled]) -> None:
    text = refused(make(network("VGG")))
    assert "'relu' in module '1': its rule is not linear in what arrives" in text


def test_a_model_without_images_is_refused() -> None:
    explainer = relprop.LRP(nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 2)).double())
    x = torch.randn(2, 5, dtype=torch.float64)
    whole = explainer.attribute(x, target=1)
    assert torch.equal(explainer.attribute(x, target=1, memory_budget="1 MiB"), whole)
    with pytest.raises(relprop.InvalidInputError, match=r"by tiles no less.*it has no place|reads"):
        explainer.attribute(x, target=1, memory_budget=1)


def test_sizes_are_found_once_for_inputs_of_one_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    explainer, found = relprop.LRP(network("VGG")), attributor.find_sizes
    seen: list[torch.Size] = []

    def find_sizes(sweep: Sweep, constants: Snapshot, named: dict[str, Tensor]) -> Sizes:
        seen.extend(x.shape for x in named.values())
        return found(sweep, constants, named)

    monkeypatch.setattr(attributor, "find_sizes", find_sizes)
    small = X[..., :61]
    takes = [explainer.tiling(x, PLENTY).untiled for x in (X, X + 1, small, small, X)]
    assert seen == [X.shape, small.shape, X.shape]
    assert takes[0] == takes[1] == takes[4] > takes[2] == takes[3]


def test_layers_are_paid_for_by_the_budget() -> None:
    explainer = relprop.LRP(network("VGG"))
    with torch.no_grad():
        without, _ = explainer.planner((X,), 2, 1.0)
        planner, _ = explainer.planner((X,), 2, 1.0, ["0", "3"])
    elements = sum(math.prod(explainer.layer_shapes(X)[layer]) for layer in ("0", "3"))
    assert planner.of_layers == 2 * 8 * elements and without.of_layers == 0
    assert planner.untiled >= without.untiled + planner.of_layers
    least = int(0.8 * planner.untiled)
    assert plan_tiles(planner, least)[0].peak <= least
    sentence = r"for what is attributed to the layers, which takes .*; got 1 KiB: ask for fewer"
    with pytest.raises(relprop.InvalidInputError, match=sentence):
        explainer.attribute(X, target=1, layers=["0"], memory_budget="1KiB")


def deep() -> nn.Module:
    """Twelve convolutions between pools, whose halos are long."""
    layers: list[nn.Module] = []
    for given, made in ((3, 4), (4, 8), (8, 16), (16, 32)):
        for channels in (given, made, made):
            layers += [nn.Conv2d(channels, made, 3, padding=1), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4))


def test_a_second_cut_saves_work() -> None:
    explainer, x = relprop.LRP(deep().eval()), torch.zeros(()).expand(1, 3, 1024, 1024)
    with torch.no_grad():
        planner, _ = explainer.planner((x,), 1, 1.0)
    budget = planner.untiled // 8
    tiling = explainer.tiling(x, budget)
    assert len(tiling.parts) == 2 and tiling.peak <= budget
    assert str(tiling).count("elements of the cut before, with") == 1
    for cut in planner.worth_a_look(planner.cuts()[0]):
        for edge in plans.edges(max(planner.space(cut))):
            single = Division((cut,), (edge,))
            assert peak_of(planner, single) > budget or work_of(planner, single) > tiling.work


def test_deeplift_makes_no_tiles_of_sequences() -> None:
    net = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten())
    with pytest.raises(relprop.InvalidInputError, match="at least 4 dimensions"):
        relprop.DeepLift(net).tiling(torch.randn(1, 2, 30), "1GiB")


def test_a_large_image_is_checked_by_its_corner() -> None:
    net = build("EfficientNet-Lite").float()
    seen: list[tuple[int, ...]] = []

    def note(module: nn.Module, given: tuple[Tensor], made: Tensor) -> None:
        if type(given[0]) is Tensor:  # and none that it is captured with
            seen.append(tuple(given[0].shape))

    net.register_forward_hook(note)
    x = torch.randn(1, 3, 741, 330)
    relprop.Gradient(net).attribute(x, target=1, memory_budget="64MiB")
    assert seen == [(1, 3, 256 + 741 % 64, 256 + 330 % 64)]


def test_a_model_for_one_size_is_checked_by_a_corner_of_its_own() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(7), nn.Flatten())
    seen: list[tuple[int, ...]] = []

    def note(module: nn.Module, given: tuple[Tensor], made: Tensor) -> None:
        if type(given[0]) is Tensor:
            seen.append(tuple(given[0].shape))

    net.register_forward_hook(note)
    x = torch.randn(1, 3, 402, 380)
    assert relprop.Gradient(net).tiling(x, "8MiB").boxes
    seen.clear()
    R = relprop.Gradient(net).attribute(x, target=1, memory_budget="8MiB")
    assert seen == [(1, 3, 256 + 402 % 64, 256 + 380 % 64)]
    whole = relprop.Gradient(net).attribute(x, target=1)
    assert (R - whole).abs().max() <= 1e-6 * whole.abs().max()
