"""Two products of one convolution are the same, whichever way makes them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input
from torch.utils._python_dispatch import TorchDispatchMode

import relprop
from relprop.graph import two_products
from relprop.graph.two_products import KERNEL, ONE_BY_ONE, SIDE_BY_SIDE, TwoProducts
from relprop.graph.weights import BySign
from relprop.ops import tensor_cores

FUSED = {"relprop::fused_convolution", "relprop::fused_convolution_pair"}


class Asked(TorchDispatchMode):
    """Notes which operators of ours are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        self.operators.add(function._schema.name)
        return function(*args, **(kwargs or {}))


class OnGpu:
    """Stands for images on a GPU."""

    device = torch.device("cuda", 0)

    def dim(self) -> int:
        return 4


def take(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU where this way was measured to be the fastest."""

    def suits(x: Tensor, *, groups: int) -> bool:
        return x.dim() == 4 and groups == 1

    def kernel_suits(x: Tensor, weight: Tensor, *, dilation: list[int]) -> bool:
        return set(dilation) == {1}

    monkeypatch.setattr(two_products, "suits", suits)
    monkeypatch.setattr(two_products, "is_worth_measuring", lambda *shapes: True)
    monkeypatch.setattr(tensor_cores, "suits", kernel_suits)
    monkeypatch.setattr(
        two_products, "fastest", lambda x, key, ways: way if way in ways else ONE_BY_ONE
    )


def model() -> nn.Module:
    torch.manual_seed(0)
    layers = (
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(8, 6, 1, stride=2, bias=False), nn.ReLU()),
        *(nn.Conv2d(6, 6, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(6, 6, 2, padding=1, dilation=2), nn.ReLU()),
        *(nn.Conv2d(6, 5, (2, 3), stride=(2, 1), padding=(0, 1)), nn.ReLU()),
        *(nn.Flatten(), nn.LazyLinear(4)),
    )
    made = nn.Sequential(*layers).double()
    with torch.no_grad():
        made(pictures())
    return made.eval().requires_grad_(False)


def pictures() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(2, 3, 17, 14, dtype=torch.float64)


@pytest.mark.parametrize("way", [KERNEL, SIDE_BY_SIDE, ONE_BY_ONE])
@pytest.mark.parametrize("bias", ["absorb", "ignore", "redistribute"])
@pytest.mark.parametrize("target", [1, [[0, 3], [1, 2]]], ids=["one target", "two each"])
def test_relevance_is_the_same_whichever_way_convolves(
    target: Any, bias: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lrp, x = relprop.LRP(model(), "epsilon_alpha2_beta1", bias=bias), pictures()
    plain = lrp.attribute(x, target=target)
    take(way, monkeypatch)
    with Asked() as asked:
        found = lrp.attribute(x, target=target)
    fused = way == KERNEL and bias != "redistribute"
    assert asked.operators & FUSED == (FUSED if fused else set())
    torch.testing.assert_close(found, plain, rtol=1e-9, atol=1e-9 * plain.abs().max().item())


@pytest.mark.parametrize("way", [KERNEL, SIDE_BY_SIDE, ONE_BY_ONE])
def test_ways_that_are_timed_compute_the_same(way: str) -> None:
    torch.manual_seed(2)
    weight = torch.randn(6, 4, 3, 3, dtype=torch.float64)
    two = TwoProducts(weight, lambda part: part(weight), [2, 1], [1, 0], [1, 1])
    x, s, t = (torch.randn(2, c, 7, 8).double() for c in (4, 6, 6))
    s, t, b = s[..., :4, :6], t[..., :4, :6], torch.randn(2, 6).double()
    parts = weight.clamp(min=0), weight.clamp(max=0)
    for one, w, bias in zip(two.forward(way, x, (b[0], b[1])), parts, b, strict=True):
        torch.testing.assert_close(one, F.conv2d(x, w, bias, (2, 1), (1, 0)))
    back = two.back(way, (s, t), (BySign(2, 0), BySign(0, -1)), (7, 8))
    above, below = (
        conv2d_input(x.shape, w, one, (2, 1), (1, 0)) for w, one in zip(parts, (s, t), strict=True)
    )
    torch.testing.assert_close(back, 2 * above - below)


def test_a_budget_of_memory_leaves_one_product_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spared: list[bool] = []

    def suits(x: Tensor, *, groups: int) -> bool:
        spared.append(two_products._sparing.get())
        return False

    monkeypatch.setattr(two_products, "suits", suits)
    lrp, x = relprop.LRP(model(), "epsilon_alpha2_beta1"), pictures()
    lrp.attribute(x, target=1, memory_budget="1GiB")
    assert spared and all(spared)
    spared.clear()
    lrp.attribute(x, target=1)
    assert spared and not any(spared)


def test_no_clock_chooses_where_results_are_to_be_the_same_in_every_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with torch.no_grad():
        assert two_products.suits(OnGpu(), groups=1)
        monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
        assert not two_products.suits(OnGpu(), groups=1)


def test_images_on_a_gpu_may_have_other_ways_unless_memory_is_spared() -> None:
    x = OnGpu()
    with torch.no_grad():
        assert two_products.suits(x, groups=1) and not two_products.suits(x, groups=2)
        with two_products.sparing(True):
            assert not two_products.suits(x, groups=1)
        assert two_products.suits(x, groups=1)
    assert not two_products.suits(x, groups=1)  # as gradients are recorded
    assert not two_products.suits(torch.zeros(1, 1, 1, 1), groups=1)


def test_torch_convolves_where_nothing_was_measured() -> None:
    with Asked() as asked:
        relprop.LRP(model(), "epsilon_alpha2_beta1").attribute(pictures(), target=1)
    assert asked.operators.isdisjoint(FUSED)
