"""Two products of a convolution at once are those of two convolutions, whichever way is taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import relprop
from relprop.graph import convolution
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


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a GPU where the kernel was measured to be faster."""

    def suits(x: Tensor, weight: Tensor, *, dilation: list[int], groups: int) -> bool:
        return x.dim() == 4 and groups == 1 and set(dilation) == {1}

    monkeypatch.setattr(tensor_cores, "suits", suits)
    monkeypatch.setattr(convolution, "kernel_is_faster", lambda *given: True)
    yield


def model() -> nn.Module:
    torch.manual_seed(0)
    layers = (
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(8, 6, 1, stride=2, bias=False), nn.ReLU()),
        *(nn.Conv2d(6, 6, 3, padding=1, groups=2), nn.ReLU()),
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


@pytest.mark.parametrize("bias", ["absorb", "ignore", "redistribute"])
@pytest.mark.parametrize("target", [1, [[0, 3], [1, 2]]], ids=["one target", "two each"])
def test_relevance_is_the_same_whichever_way_convolves(
    target: Any, bias: str, request: pytest.FixtureRequest
) -> None:
    lrp, x = relprop.LRP(model(), "epsilon_alpha2_beta1", bias=bias), pictures()
    plain = lrp.attribute(x, target=target)
    request.getfixturevalue("fused")
    with Asked() as asked:
        found = lrp.attribute(x, target=target)
    assert asked.operators >= FUSED or bias == "redistribute"
    torch.testing.assert_close(found, plain, rtol=1e-9, atol=1e-9 * plain.abs().max().item())


def test_torch_convolves_where_nothing_was_measured() -> None:
    with Asked() as asked:
        relprop.LRP(model(), "epsilon_alpha2_beta1").attribute(pictures(), target=1)
    assert asked.operators.isdisjoint(FUSED)
