"""Memory depends on the budget, and not on the size of the image."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import relprop
from relprop.attribution.tiling.chain import Chain
from relprop.graph.intervals import Box, lengths
from relprop.large import large_tiling
from tests.large.budgets import in_stages
from tests.large.conftest import Image
from tests.tiling.image_networks import gated, network


@dataclass(frozen=True)
class Dark:
    """An image of any size, which is black."""

    side: int
    dtype = np.dtype(np.float64)
    name = "black"

    @property
    def shape(self) -> tuple[int, int, int]:
        return 3, self.side, self.side

    def window(self, box: Box) -> NDArray[Any]:
        return np.zeros((3, *lengths(box)))


def plan(net: nn.Module, side: int, budget: str) -> Chain:
    return large_tiling(relprop.LRP(net), Dark(side), memory_budget=budget)


@pytest.mark.parametrize("name", ["EfficientNet-Lite", "ResNet"])
def test_an_image_of_any_size_fits(name: str) -> None:
    chains = [plan(network(name), side, "64MiB") for side in (512, 2048, 8192, 65536)]
    assert all(chain.peak <= 2**26 for chain in chains)
    assert all(chain.pooled for chain in chains[1:])
    tiles = [len(chain.stages[0].boxes) for chain in chains]
    assert tiles[3] == pytest.approx(64 * tiles[2], rel=0.2)
    assert max(chain.work for chain in chains) < 1.8


def test_every_stage_covers_its_cut_once(scene: Image) -> None:
    chain = in_stages(relprop.DeepLift(network("ResNet")), scene)
    for stage in chain.stages:
        space = [max(box[dim][1] for box in stage.boxes) for dim in range(2)]
        covered = torch.zeros(space, dtype=torch.int)
        for (top, bottom), (left, right) in stage.boxes:
            covered[top:bottom, left:right] += 1
        assert (covered == 1).all()


def test_stages_follow_one_another(scene: Image) -> None:
    chain = in_stages(relprop.LRP(network("EfficientNet-Lite")), scene)
    for stage, following in itertools.pairwise(chain.stages):
        assert following.source == stage.cut.body.cut
    last = chain.stages[-1].cut.body.cut
    assert chain.head.inputs == ((chain.pooled.mean.output if chain.pooled else last),)


def test_a_plan_can_be_read(scene: Image) -> None:
    chain = in_stages(relprop.LRP(network("EfficientNet-Lite")), scene)
    lines = str(chain).splitlines()
    assert len(lines) == len(chain.stages) + 3
    assert lines[0].startswith("to '") and "tiles: " in lines[0]
    assert lines[-3].startswith("then all at once")


def test_several_stages_save_work() -> None:
    one = relprop.LRP(network("EfficientNet-Lite")).tiling(
        torch.zeros((), dtype=torch.float64).expand(1, 3, 1024, 1024), "48MiB"
    )
    assert plan(network("EfficientNet-Lite"), 1024, "48MiB").work < one.work


def test_too_small_a_budget_says_how_much_it_takes() -> None:
    with pytest.raises(relprop.InvalidInputError, match=r"by tiles at least .* got 2 KiB"):
        plan(network("ResNet"), 512, "2KiB")


def test_a_gate_that_reads_all_of_space_is_named() -> None:
    text = r"no tiles beyond 'adaptive_avg_pool2d' in module 'squeeze'.*: it reads all of space"
    with pytest.raises(relprop.InvalidInputError, match=text):
        plan(gated(), 2048, "16MiB")
