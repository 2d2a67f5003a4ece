"""Many targets and many baselines: what is timed, what is counted, and how it is shown."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import nn

import relprop
from benchmarks.cost import many, methods, rounds
from benchmarks.cost.forecast import NOT_RUN
from benchmarks.cost.many import Task
from benchmarks.cost.many_table import many_table
from benchmarks.cost.methods import BY_NAME
from benchmarks.cost.networks import NETWORKS
from benchmarks.cost.peers import Peer
from benchmarks.cost.rounds import Budget
from benchmarks.cost.tables import Footnotes

RESCALE = many.RESCALE


def toy() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)),
    )


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    monkeypatch.setitem(NETWORKS, "toy", toy)
    return toy().eval().requires_grad_(False)


def silent(_: str) -> None:
    pass


def test_tasks_are_of_networks_and_methods_that_there_are() -> None:
    for task in (*many.QUICK, *many.FULL):
        assert task.network in NETWORKS and task.method in BY_NAME
        assert task.baselines == 0 or task.method == RESCALE
    assert len(set(many.FULL)) == len(many.FULL) and len(set(many.QUICK)) == len(many.QUICK)
    assert set(many.QUICK) <= set(many.FULL)


def test_goals_are_half_a_gradient_for_every_way_that_cannot_be_shared() -> None:
    assert [Task("toy", "", targets=t).goal for t in (1, 4, 10)] == [1, 2.5, 5.5]
    # 2 examples and 6 baselines forward, 12 pairs back, where a gradient of the 2 takes 2 and 2.
    assert Task("toy", "", examples=2, baselines=6).goal == (2 + 6 + 12) / (2 + 2)


def test_what_is_explained_are_the_likeliest_classes(model: nn.Module) -> None:
    subject = many.subject_of(Task("toy", "LRP epsilon", examples=2, targets=3), model)
    scores = model(subject.x)
    assert subject.target.shape == (2, 3)
    assert subject.target[:, 0].equal(scores.argmax(1))
    assert scores.gather(1, subject.target).diff(dim=1).le(0).all()


@pytest.mark.parametrize("method", ["LRP epsilon", RESCALE])
def test_many_targets_take_one_sweep_and_peers_one_for_each(
    model: nn.Module, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer("theirs", "package", method, BY_NAME[method].prepare)
    monkeypatch.setattr(many, "PEERS", (peer,))
    task = Task("toy", method, examples=2, targets=3)
    subject = many.subject_of(task, model)
    ours, theirs = many.contestants(task)
    assert many.swept(ours, subject) == 2 == task.least
    assert many.swept(theirs, subject) == 3 * 2
    expected = ours.prepare(model)(subject.x, subject.target)
    torch.testing.assert_close(theirs.prepare(model)(subject.x, subject.target), expected)


@pytest.mark.parametrize("budget", [15 * 2**20, 2**30])
def test_many_baselines_are_swept_once_each_whatever_the_budget(
    model: nn.Module, budget: int
) -> None:
    task = Task("toy", RESCALE, examples=2, baselines=3, budget=budget)
    subject = many.subject_of(task, model)
    ours = next(iter(many.contestants(task)))
    assert many.swept(ours, subject) == 5 == task.least
    found = ours.prepare(model)(subject.x, subject.target)
    attributor = relprop.DeepLift(model, "rescale")
    each = [
        attributor.attribute(subject.x, baseline[None], subject.target)
        for baseline in many.samples(task, subject.x)
    ]
    torch.testing.assert_close(found, sum(each) / 3)


def test_captum_explains_every_pair(model: nn.Module) -> None:
    pytest.importorskip("captum")
    task = Task("toy", RESCALE, examples=2, baselines=3)
    subject = many.subject_of(task, model)
    ours, theirs = (one.prepare(model) for one in many.contestants(task))
    with pytest.warns(UserWarning):
        found = theirs(subject.x, subject.target)
    torch.testing.assert_close(found, ours(subject.x, subject.target), rtol=1e-3, atol=1e-5)


def test_the_gradient_is_that_of_the_first_target(model: nn.Module) -> None:
    subject = many.subject_of(Task("toy", "LRP epsilon", examples=2, targets=3), model)
    explain = methods.gradient(model)
    assert explain(subject.x, subject.target).equal(explain(subject.x, subject.target[:, 0]))


def found(task: Task, **fields: Any) -> dict[str, Any]:
    entries = [
        rounds.Entry(rounds.GRADIENT, rounds.GRADIENT, [1.0, 1.0]),
        rounds.Entry(task.method, task.method, [2.0, 2.0]),
        rounds.Entry("theirs", task.method, [8.0, 8.0], deviation=0.0),
        rounds.Entry("slow", task.method, failure=NOT_RUN + "it took 99 s once"),
    ]
    counts = {task.method: 5, "theirs": 6}
    whole = many.Found(asdict(task), entries, counts)
    return replace(whole, **fields).as_dict()


def test_a_row_says_time_sweeps_and_memory() -> None:
    task = Task("VGG16", RESCALE, examples=2, baselines=3, budget=2**20)
    notes = Footnotes()
    rows = many_table(
        [
            found(task, peak=2**19),
            found(Task("VGG16", RESCALE, targets=4), failure=""),
            found(task, entries=[], failure="killed"),
        ],
        notes,
    )
    assert rows[2] == (
        f"| VGG16, {RESCALE}: 2 examples against 3 baselines | **2.00 [2.00, 2.00]** | <= 2.75 "
        "| **5** | **4.0** | theirs 8.00 [8.00, 8.00], slow not run [^1] | theirs 6 "
        "| **0** | 1 |"
    )
    assert "4 targets of 1 example" in rows[3] and rows[3].endswith(
        "| 5 | **4.0** | theirs 8.00 [8.00, 8.00], slow not run [^1] | theirs 6 | - | - |"
    )
    assert "failed [^2]" in rows[4] and notes.lines()[1].endswith("`killed`")


def test_a_task_is_timed_and_its_sweeps_are_counted(
    model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "PEERS", ())
    task = Task("toy", "LRP epsilon", targets=2)
    measured = many.time_task(task, Budget(math.inf, 2), True, silent)
    assert [len(e["seconds"]) for e in measured["entries"]] == [2, 2]
    assert measured["swept"] == {"LRP epsilon": 1} and not measured["failure"]
