"""The runner times what works, shows what fails, and refuses to time what is wrong."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import relprop
from benchmarks.cost import __main__ as command_line
from benchmarks.cost import (
    correctness,
    kernel_loop,
    memory,
    networks,
    operator_timing,
    results,
    rounds,
    scaling,
    timing,
)
from benchmarks.cost.fresh import Ended, in_fresh_process
from benchmarks.cost.kernel_loop import KernelLoop
from benchmarks.cost.memory import Memory
from benchmarks.cost.methods import BY_NAME, METHODS
from benchmarks.cost.networks import NETWORKS, Case, Subject
from benchmarks.cost.operators import OPERATORS
from benchmarks.cost.peers import Peer
from benchmarks.cost.rounds import Budget
from benchmarks.cost.tables import Footnotes, memory_table, methods_table, operators_table, table
from relprop.ops import reference

OURS = "LRP epsilon"


def silent(_: str) -> None:
    pass


def toy() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)),
    )


@pytest.fixture
def subject() -> Subject:
    return networks.subject(toy().eval().requires_grad_(False), 2, 16)


def failing(_: nn.Module) -> Any:
    raise RuntimeError("no rule for this")


def failing_later(_: nn.Module) -> Any:
    calls: list[int] = []

    def explain(x: Tensor, target: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) > 2:
            raise MemoryError("no more")
        return x

    return explain


def timed(subject: Subject, *peers: Peer) -> dict[str, Any]:
    entries = rounds.run(subject, [BY_NAME[OURS], *peers], Budget(math.inf, 3), silent)
    return timing.Timing(Case("toy").as_dict(), entries, {OURS: 0.001}).as_dict()


def test_all_take_part_in_every_round(subject: Subject) -> None:
    peer = Peer("theirs", "package", OURS, BY_NAME[OURS].prepare)
    entries = {
        e.name: e for e in rounds.run(subject, [BY_NAME[OURS], peer], Budget(math.inf, 4), silent)
    }
    assert list(entries) == [rounds.GRADIENT, OURS, "theirs"]
    assert [len(e.seconds) for e in entries.values()] == [4, 4, 4]
    assert entries["theirs"].deviation == 0 and entries[OURS].deviation is None


def test_peers_take_part_for_half_of_the_time(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(rounds, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    peer = Peer("theirs", "package", OURS, BY_NAME[OURS].prepare)
    found = rounds.run(subject, [BY_NAME[OURS], peer], Budget(100), silent)
    unit, ours, theirs = (len(entry.seconds) for entry in found)
    assert 1 < theirs < ours == unit < Budget(100).most
    case = timing.Timing(Case("toy").as_dict(), found, {OURS: 0.001}).as_dict()
    said = f"of {unit} rounds, of which {theirs} with peers."
    assert said in "\n".join(methods_table(case, Footnotes()))


def test_there_is_a_round_however_little_time_there_is(subject: Subject) -> None:
    (unit, ours) = rounds.run(subject, [BY_NAME[OURS]], Budget(0), silent)
    assert len(unit.seconds) == len(ours.seconds) == 1


def test_peers_for_which_there_is_no_time_are_not_run_and_said_to_be(subject: Subject) -> None:
    forecast = Peer("forecast", "package", OURS, failing)
    known = Peer("known", "package", OURS, BY_NAME[OURS].prepare)
    budget = Budget(60, 2, expected={"forecast": 100.0, "known": 0.1, OURS: 100.0})
    found = rounds.run(subject, [BY_NAME[OURS], forecast, known], budget, silent)
    entries = {entry.name: entry for entry in found}
    assert list(entries) == [rounds.GRADIENT, OURS, "forecast", "known"]
    said = "not run: a call was forecast to take 100.0 s or more, and the case may take 60 s in all"
    assert entries["forecast"].failure == said and not entries["forecast"].seconds
    assert len(entries[OURS].seconds) == len(entries["known"].seconds) == 2
    case = timing.Timing(Case("toy").as_dict(), found, {OURS: 0.001}).as_dict()
    assert "forecast not run [^" in "\n".join(methods_table(case, Footnotes()))


def test_a_peer_of_which_nothing_is_known_is_not_run_once_time_is_up(subject: Subject) -> None:
    peer = Peer("theirs", "package", OURS, failing)
    *ours, theirs = rounds.run(subject, [BY_NAME[OURS], peer], Budget(0), silent)
    assert all(len(entry.seconds) == 1 for entry in ours)
    assert theirs.failure.startswith("not run: ")


def test_slow_gradients_leave_no_time_for_calls_that_are_not_timed(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def counted(_: nn.Module) -> Any:
        return lambda x, target: (calls.append(1), x)[1]

    for least, count in ((0.0, 1 + 3), (math.inf, 1 + 2 * 3)):  # 1 on a tiny crop
        calls.clear()
        monkeypatch.setattr(rounds, "LONG", least)
        rounds.run(subject, [Peer(OURS, "", OURS, counted)], Budget(math.inf, 3), silent)
        assert len(calls) == count


@pytest.mark.parametrize(
    "prepare, said",
    [(failing, "RuntimeError: no rule for this"), (failing_later, "MemoryError: no more")],
)
def test_a_failing_peer_is_shown_with_its_message(
    subject: Subject, prepare: Any, said: str
) -> None:
    found, notes = timed(subject, Peer("theirs", "package", OURS, prepare)), Footnotes()
    page = "\n".join(methods_table(found, notes))
    assert "theirs failed [^1]" in page
    assert notes.lines() == [f"[^1]: theirs: `{said}`"]


def test_a_peer_whose_result_is_another_is_out_of_the_race(subject: Subject) -> None:
    wrong = Peer("theirs", "package", OURS, lambda model: lambda x, target: 9 * x)
    found, notes = timed(subject, wrong), Footnotes()
    row = next(line for line in methods_table(found, notes) if line.startswith(f"| {OURS}"))
    assert row.split("|")[5].strip() == "-" and "out of the race" in notes.lines()[0]


def test_ratios_are_paired_by_round() -> None:
    found = timing.ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0])
    assert (found.low, found.median, found.high) == (2.5, 3.0, 3.5)
    with pytest.raises(ValueError, match="at least one round"):
        timing.ratio([], [])


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_sums_of_all_methods_are_green_on_a_toy(method: Any) -> None:
    check = correctness.sum_check(toy().double().eval(), method, "toy", pixels=12)
    assert check.green, str(check)


def test_a_wrong_sum_is_red() -> None:
    class Leaking(relprop.DeepLift):
        def attribute(self, *args: Any, **options: Any) -> Any:
            found, delta = super().attribute(*args, **options)
            return found, delta + found.abs().sum() / 100

    leaking = replace(BY_NAME["DeepLIFT Rescale"], make=Leaking)
    check = correctness.sum_check(toy().double().eval(), leaking, "toy", pixels=12)
    assert not check.green and "off by" in str(check)


def test_nothing_is_timed_while_an_operator_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    right = reference.rescale
    monkeypatch.setattr(reference, "rescale", lambda *a: 1.01 * right(*a))
    monkeypatch.setattr(command_line, "in_fresh_process", failing)
    monkeypatch.setattr(correctness, "OPERATORS", [row for row in OPERATORS if "resc" in row.name])
    ended = CliRunner().invoke(command_line.program, ["operators"])
    assert ended.exit_code == 1
    assert "nothing is timed while results are wrong: the operator rescale, relu" in ended.output


def answer(number: int, say: Any) -> int:
    say("thinking")
    return number + 1


def complain(_: Any) -> None:
    raise ValueError("not like this\nand a second line")


def die(_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_fresh_process_answers_and_says_what_it_is_at() -> None:
    said: list[str] = []
    assert in_fresh_process(answer, 41, say=said.append, environment={"A_": "1"}) == 42
    assert said == ["thinking"] and "A_" not in os.environ


def test_how_a_fresh_process_ended_is_said() -> None:
    with pytest.raises(Ended, match=r"^ValueError: not like this$"):
        in_fresh_process(complain)
    with pytest.raises(Ended, match="killed by the system, as it does when memory runs out"):
        in_fresh_process(die)


def greedy(model: nn.Module) -> Any:
    def explain(x: Tensor, target: Tensor) -> Tensor:
        torch.ones(len(x) * x.shape[-1] * 2**18)  # 1 MiB for each pixel of a line
        return x

    return explain


def explain_greedily(say: Any) -> dict[str, Any]:
    NETWORKS["toy"] = toy
    memory.PEERS = (Peer("theirs", "package", OURS, greedy),)
    return memory.explain_once(Case("toy", 2, 128), "theirs", say)


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
def test_memory_counts_what_is_taken_and_given_back() -> None:
    found = in_fresh_process(explain_greedily)
    assert found["how"] == memory.PEAK_OF_RUSAGE or 200 <= found["rise"] / 2**20 <= 300


def test_a_killed_process_is_a_row_of_the_table() -> None:
    case = Case("toy").as_dict()
    found = [
        Memory(case, rounds.GRADIENT, rounds.GRADIENT, rise=2**20),
        Memory(case, OURS, OURS, rise=2**21),
        Memory(case, "theirs", OURS, failure="killed by the system"),
    ]
    notes = Footnotes()
    page = "\n".join(memory_table([one.as_dict() for one in found], notes))
    assert f"| {OURS} | 2.00 | <= 1.0 | 2 |" in page and "theirs failed [^1]" in page
    assert notes.lines() == ["[^1]: theirs: `killed by the system`"]


@pytest.mark.parametrize("p", [0.5, 1.0, 1.7])
def test_the_exponent_of_a_power_law_is_found(p: float) -> None:
    x = [0.05, 0.2, 0.8, 3.2]
    assert scaling.exponent(x, [7 * a**p for a in x]) == pytest.approx(p)


def test_an_exponent_takes_two_sizes() -> None:
    with pytest.raises(ValueError, match="two different sizes or more"):
        scaling.exponent([1.0, 1.0], [1.0, 2.0])


def test_what_would_not_fit_is_left_out_and_said() -> None:
    outlook = scaling.Outlook()
    small, large = Case("toy", 1, 100, 1), Case("toy", 1, 1000, 1)
    rise = Memory(small.as_dict(), OURS, OURS, rise=2**27)
    entry = rounds.Entry(OURS, OURS, [0.1, 0.5, 0.2])
    timed = timing.Timing(small.as_dict(), [entry]).as_dict()
    outlook.learn({"timing": timed, "memory": [rise.as_dict()]})
    assert not outlook.obstacle(large, OURS, 20 * 2**30)
    assert not outlook.obstacle(large, "another", 2**30)
    said = outlook.obstacle(large, OURS, 10 * 2**30)
    assert said == (
        "not run: it was forecast to take 12.5 GiB, where 10.0 GiB are available and 16 allowed"
    )
    assert outlook.obstacle(Case("toy", 2, 1000, 2), OURS, 100 * 2**30)
    assert not outlook.too_long(large, [OURS, "another"], 41)
    said = outlook.too_long(large, [OURS], 39)
    assert said == ("not run: its explanations were forecast to take 40 s, where 39 s are allowed")


def test_a_case_for_which_there_is_no_time_has_neither_time_nor_memory() -> None:
    outlook = scaling.Outlook()
    outlook.time.learn(Case("toy", 1, 100, 2), OURS, 1.0)
    scale = scaling.Scale((), (OURS,), seconds=10)
    found = scaling.measure(Case("toy", 1, 1000, 2), scale, outlook, silent)
    assert found["timing"]["failure"].startswith("not run: its explanations were forecast")
    assert [one["failure"] for one in found["memory"]] == [found["timing"]["failure"]] * 2


def scaled(pixels: int) -> dict[str, Any]:
    case = Case("toy", 1, pixels, 1).as_dict()
    entries = [rounds.Entry(rounds.GRADIENT, rounds.GRADIENT, [pixels**2 / 1e6])]
    rise = Memory(case, OURS, OURS, rise=pixels**3)
    lost = Memory(case, "DeepLIFT Rescale", "DeepLIFT Rescale", failure="left out: too large")
    return {
        "timing": timing.Timing(case, entries).as_dict(),
        "memory": [rise.as_dict(), lost.as_dict()],
    }


def test_parts_are_written_beside_each_other_as_one_page(subject: Subject, tmp_path: Path) -> None:
    results.write("methods", [timed(subject)], tmp_path)
    results.write("scaling", [scaled(100), scaled(200)], tmp_path)
    page = (tmp_path / results.PAGE).read_text()
    assert "### toy, 1 x 224²" in page and "## Growth" in page
    assert "| toy, gradient | 1 | time | megapixels of a picture |" in page
    assert "seconds | 1.00 |" in page and "MiB at the peak | 1.50 |" in page
    assert "memory of DeepLIFT Rescale: left out: too large" in page
    assert {p.name for p in tmp_path.iterdir()} == set(
        ["methods.json", "methods.png", "scaling.json", "scaling.png", "results.md"]
    )


def test_an_operator_is_timed_against_its_reference_and_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "compile", lambda _, dynamic: failing)
    row = next(row for row in OPERATORS if row.name == "rescale")
    found = operator_timing.time_operator(row, row.small, 2)
    assert {who: len(s) for who, s in found.seconds.items()} == dict.fromkeys(
        ("limit", "relprop", "reference"), 2
    )
    assert list(found.failures) == ["compiled"]
    assert found.times_of_limit("limit") == 1.0
    assert found.alone is None or len(found.alone.seconds) == len(found.alone.limit) == 2


def test_without_the_loop_in_cpp_no_kernel_is_timed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    without = replace(relprop.backends(), build={})
    monkeypatch.setattr(kernel_loop, "backends", lambda: without)
    assert kernel_loop.time_alone(OPERATORS[0], (), 1) is None


def test_the_operators_table_shows_the_loop_in_cpp_where_a_kernel_serves() -> None:
    seconds = {who: [0.004] for who in ("limit", "relprop", "reference", "compiled")}
    alone = KernelLoop(seconds=(0.002, 0.004, 0.006), limit=(0.003,), work=0.1, unit="GB/s")
    found = operator_timing.OperatorTiming("rescale", "native", "copy", 1.25, 100, seconds)
    rows = [asdict(replace(found, alone=one)) for one in (alone, None)]
    page = operators_table(json.loads(json.dumps(rows)), Footnotes())
    assert page[2].endswith("| 1.0 | 1.0 | 4.000 | 25.0 GB/s | 75% |")
    assert page[3].endswith("| 1.0 | 1.0 | - | - | - |")


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert table(("layer", "ms"), [("|W| back", "1")])[-1] == r"| \|W\| back | 1 |"


def test_operations_of_a_convolution_are_those_of_its_sums() -> None:
    x, weight = torch.zeros(2, 5, 9, 10), torch.zeros(7, 5, 3, 3)
    z = torch.nn.functional.conv2d(x, weight, padding=1)
    assert kernel_loop.operations((x, weight)) == 2 * z.numel() * (5 * 3 * 3)
    both = (x, weight, None, x.flip(3))
    assert kernel_loop.operations(both) == 2 * 2 * z.numel() * (5 * 3 * 3)
