"""The signed parts of a large dense weight are taken a few outputs at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from relprop.graph import linear
from relprop.graph.constants import Constants, Root, Store
from relprop.graph.linear import Dense
from relprop.graph.node import Run
from relprop.graph.weights import MAGNITUDE, NEGATIVE, POSITIVE, BySign

W = torch.randn(7, 5, dtype=torch.float64)
B = torch.randn(7, dtype=torch.float64)
TAKES = {
    POSITIVE: W.clamp(min=0),
    NEGATIVE: W.clamp(max=0),
    MAGNITUDE: W.abs(),
    BySign(1.25, 1): W + 0.25 * W.clamp(min=0),
}


def dense(weight: Tensor, input_major: bool) -> tuple[Dense, Run]:
    constants = Constants({"w": Root("w", lambda: weight)}, Store())
    node = Dense(inputs=("x",), output="z", weight="w", input_major=input_major)
    return node, Run(constants.now())


@pytest.mark.parametrize("block", [1, 11, 1000], ids=lambda n: f"{n}-elements")
@pytest.mark.parametrize("input_major", [False, True])
@pytest.mark.parametrize("lead", [(3,), (2, 4)], ids=["matrix", "batch"])
@pytest.mark.parametrize("take", TAKES, ids=str)
def test_products_are_those_of_the_whole_part(
    take: BySign, lead: tuple[int, ...], input_major: bool, block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(linear, "BLOCK", block)
    node, run = dense(W.t().contiguous() if input_major else W, input_major)
    x, s = torch.randn(*lead, 5).double(), torch.randn(*lead, 7).double()
    torch.testing.assert_close(node.affine(run, x, take, B), x @ TAKES[take].t() + B)
    torch.testing.assert_close(node.transpose(run, s, x.shape, take), s @ TAKES[take])


def test_no_copy_of_a_large_weight_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "BLOCK", 10)
    constants = Constants({"w": Root("w", lambda: W)}, Store())
    node = Dense(inputs=("x",), output="z", weight="w")
    node.apply(Run(constants.now()), torch.randn(2, 5).double(), POSITIVE)
    assert not constants.store.made


@pytest.mark.parametrize(("device", "count"), [("cpu", 7), ("meta", 1)])
def test_blocks_are_larger_off_the_cpu(
    device: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "BLOCK", 5)
    node, run = dense(W.to(device), input_major=False)
    assert len(list(node._blocks(run, POSITIVE))) == count
