"""What `make throughput` writes is what was measured, and contestants do the same work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("zarr")
pytest.importorskip("skimage")

import zarr

from benchmarks.throughput import loops, measure, results
from benchmarks.throughput.fleet import Costs, rate, table
from benchmarks.throughput.measure import ALONE, BATCH, COMMAND, PROCESSOR, Measured
from benchmarks.throughput.pictures import make_pictures
from relprop import LRP
from relprop.batch import LocalEngine
from relprop.cli.images import Decoder, Preprocessing

COUNT = 3


@pytest.fixture
def model() -> nn.Module:
    layers = [nn.Conv2d(3, 4, 16, 16), nn.ReLU(), nn.Flatten(), nn.Linear(784, 5)]
    return nn.Sequential(*layers).eval().requires_grad_(False)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return make_pictures(tmp_path / "pictures", COUNT)


DECODE = Decoder(Preprocessing(224), torch.float32)


def test_pictures_are_the_same_every_time(paths: list[Path], tmp_path: Path) -> None:
    again = make_pictures(tmp_path / "again", COUNT)
    assert [one.read_bytes() for one in again] == [one.read_bytes() for one in paths]
    assert len({one.read_bytes() for one in paths}) == COUNT


def test_loop_by_hand_leaves_the_same_relevance(
    model: nn.Module, paths: list[Path], tmp_path: Path
) -> None:
    composites = pytest.importorskip("zennit.composites")
    engine = LocalEngine(LRP(model), batch_size=2)
    spent = measure._batch(engine, paths[0].parent, DECODE, tmp_path / "ours.zarr")
    explain = loops.by_zennit(model, composites.EpsilonPlusFlat())
    loop = loops.run(explain, paths, DECODE, batch=2, workers=0, folder=tmp_path / "theirs")
    ours = zarr.open_group(tmp_path / "ours.zarr", mode="r")["relevance"]
    for i in range(COUNT):
        theirs = np.load(tmp_path / "theirs" / f"{i}.npy")
        np.testing.assert_allclose(ours[i], theirs, rtol=0, atol=1e-4 * abs(theirs).max())
    for found in (spent, loop):
        assert all(seconds > 0 for seconds in found.values())
        assert found["attribution"] < found["all"]


def measured() -> Measured:
    """Four pictures, three rounds."""
    one = Measured("a network, a method", pictures=4, batch=2, peer="peer")
    for alone, batch in ((2.0, 2.2), (1.0, 1.2), (4.0, 4.2)):
        one.add(ALONE, {"all": alone, PROCESSOR: 2.0})
        parts = {"reading": 0.4, "relevance to disk": 0.2, "journal": 0.1}
        one.add(BATCH, {"all": batch, "attribution": alone, PROCESSOR: 2.1, **parts})
        one.add(COMMAND, {"all": 8.0})
        loop = {"attribution": 5.0, "reading": 0.6, "writing": 0.4}
        one.add("peer", {"all": 6.0, PROCESSOR: 8.4, **loop})
    return one


def test_overheads_are_paired_by_rounds(tmp_path: Path) -> None:
    clock, work = results.overheads(measured())
    assert clock == pytest.approx([0.05, 0.1, 0.2])
    assert work == pytest.approx([0.05, 0.05, 0.05])
    costs = Costs("a network", 0.5, 0.05, 0.001, 3e4, 6e5)
    files = results.write([measured()], costs, {"Python": "3"}, tmp_path)
    text = files[0].read_text()
    assert "| 2 | 1.82 | 10.0% (5.0% to 20.0%) | 5.0% (5.0% to 5.0%) | 0.5 |" in text
    assert "| 0.5 | 0.667 (peer) | 2.73 | 4.00 |" in text
    assert "| 500.0 | 50.0 (9.1%) | 100.00 | 50.00 | 25.00 | 1250.00 | 150.00 | 100.00 |" in text
    assert json.loads(files[1].read_text())["works"][0]["pictures"] == 4
    assert files[2].stat().st_size > 1000


def test_cores_or_the_driver_set_the_pace() -> None:
    assert rate(10, core=0.5, driver=0.01) == pytest.approx(20.0)
    assert rate(1000, core=0.5, driver=0.01) == pytest.approx(100.0)
    lines = table(Costs("a network", 0.5, 0.01, 0.001, 1e5, 9e5))
    assert "| 10 | 320 | 100 | 320 | 320 |" in lines
    assert "| 100 | 3,200 | 100 | 1,000 | 3,200 |" in lines
    assert "keeps up with 50 cores where it writes, and with 500 where" in lines[-1]
