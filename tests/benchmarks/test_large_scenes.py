"""What `make large` writes is what was measured, and all ways explain the same pixels."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

pytest.importorskip("zarr")

from benchmarks.large import results
from benchmarks.large.cases import FILES, HEAVY, MEMORY, SCALED, WHOLE, chosen
from benchmarks.large.explaining import WAYS
from benchmarks.large.measuring import PLACE, Measured, points
from benchmarks.large.photograph import Photograph
from benchmarks.large.scene import Scene
from relprop import LRP

GIB = 2**30
FACTS = {"memory_budget": "2GiB", "Python": "3"}


@pytest.fixture
def photograph(tmp_path: Path) -> Photograph:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return Photograph(tmp_path / "photo.png")


def test_windows_of_a_scene_are_parts_of_it() -> None:
    scene = Scene(300)
    whole = scene.window(((0, 300), (0, 300)))
    assert whole.shape == scene.shape and whole.min() < 50 and whole.max() > 200
    assert np.array_equal(scene.window(((17, 81), (203, 300))), whole[:, 17:81, 203:])


def test_windows_of_a_photograph_are_parts_of_it(photograph: Photograph) -> None:
    pixels = np.asarray(Image.open(photograph.path)).transpose(2, 0, 1)
    assert photograph.shape == (3, 40, 60) and photograph.name == "photo.png, 60 x 40 pixels"
    assert np.array_equal(photograph.window(((3, 9), (50, 60))), pixels[:, 3:9, 50:])
    piece = pickle.loads(pickle.dumps(Photograph(photograph.path, 20)))
    assert piece.shape == (3, 20, 20)
    assert np.array_equal(piece.window(((0, 20), (5, 20))), pixels[:, 10:30, 25:40])


def test_small_images_come_first_and_the_largest_scene_last(photograph: Photograph) -> None:
    cases = chosen((), photograph)
    sizes = [case.megapixels for case in cases]
    assert sizes == sorted(sizes) and cases[-1].image == Scene(16384)
    assert {case.network for case in cases if case.image == photograph} == {SCALED, HEAVY}
    assert [case.image for case in chosen((64, 512), None)] == [Scene(64), Scene(512)]


def test_all_ways_lead_to_the_same_relevance(photograph: Photograph, tmp_path: Path) -> None:
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3)]
    end = [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 300)]
    method = LRP(nn.Sequential(*layers, *end).eval().requires_grad_(False))
    made = {
        way: explain(method, photograph, 200_000, tmp_path / str(i), lambda _: None)
        for i, (way, explain) in enumerate(WAYS.items())
    }
    assert [made[way].plan() is not None for way in (WHOLE, MEMORY, FILES)] == [False, True, True]
    whole = points(made[WHOLE].relevance)
    assert whole.shape == (3, 40, 60)
    for way in (MEMORY, FILES):
        other = points(made[way].relevance)
        np.testing.assert_allclose(other, whole, rtol=0, atol=1e-5 * abs(whole).max())


def test_plans_say_nothing_of_where_files_are() -> None:
    plan = "to 'conv2d' in module '0' (/home/me/net.py:7) by tiles\nwork: 1.40 times (about)"
    assert PLACE.sub("", plan) == "to 'conv2d' in module '0' by tiles\nwork: 1.40 times (about)"


def measured() -> list[Measured]:
    """One size as a whole, three by tiles, and a photograph."""
    scenes = [
        Measured(SCALED, Scene(side).name, side**2 / 1e6, FILES, [side**2 / 1e6 * rate], rise)
        for side, rate, rise in ((1000, 1.1, GIB), (2000, 1.2, GIB), (4000, 1.5, 3 * GIB))
    ]
    whole = Measured(SCALED, Scene(1000).name, 1.0, WHOLE, [0.9, 1.0, 8.0], 4 * GIB)
    photo = Measured(HEAVY, "photo.jpg", 16.0, MEMORY, [32.0], GIB, plan="by tiles", work=1.4)
    return [whole, *scenes, photo]


def test_goals_are_judged_by_what_was_measured() -> None:
    found = [(goal.found, goal.met) for goal in results.goals(measured(), 2 * GIB)]
    assert found == [
        ("1024 MiB", True),  # the photograph
        ("3072 MiB", False),  # the largest scene
        ("1.50 times, at most", True),  # 1.5 of the whole's median of 1
        ("within 25%", False),  # 1.5 where the median is 1.2
    ]
    assert [goal.text for goal in results.goals(measured()[1:2], 2 * GIB)] == [
        f"{SCALED} explains waves, 1000 pixels a side, {FILES}, in at most 2048 MiB"
    ]


def test_what_is_written_is_read_again_under_the_same_facts_alone(tmp_path: Path) -> None:
    failed = Measured(HEAVY, "photo.jpg", 16.0, FILES, failure="killed")
    files = results.write([*measured(), failed], FACTS, tmp_path)
    text = files[0].read_text()
    assert "| 4000 pixels" not in text and "| waves, 4000 pixels a side | 16.0 |" in text
    assert "| 24.0 | 1.50 | 1.50 |  | 3072 |" in text
    assert "| photo.jpg | 16.0 | by tiles in files | killed |" in text
    assert text.count("```") == 2 and "\nby tiles\n" in text
    assert json.loads(files[1].read_text())["facts"] == FACTS
    assert files[2].stat().st_size > 1000
    assert results.read(tmp_path, FACTS) == [*measured(), failed]
    assert results.read(tmp_path, {**FACTS, "Python": "4"}) == []
    assert results.read(tmp_path / "nowhere", FACTS) == []
