"""The runner for a GPU, on a CPU: parts run in their time, and what fails is shown failing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.cost.operators import OPERATORS
from benchmarks.gpu import __main__ as command_line
from benchmarks.gpu import (
    architectures,
    convolutions,
    exercise,
    networks,
    operators,
    parts,
    plots,
    report,
)
from benchmarks.gpu.clock import Clock
from benchmarks.gpu.networks import Case, Entry, Method
from benchmarks.gpu.parts import FAILED, NOT_RUN, PARTS, PASSED, Outcome, Part, python, run_all
from benchmarks.gpu.precision import PRECISIONS
from relprop.ops import backends

CPU = torch.device("cpu")


def part(name: str, code: str, seconds: float = 60, **options: tuple[str, ...]) -> Part:
    return Part(name, python("-c", code), seconds, **options)


def outcomes(given: tuple[Part, ...], folder: Path, seconds: float = 60) -> dict[str, Outcome]:
    found = run_all(given, seconds, folder, "cpu", lambda text: None)
    return {one.name: one for one in found}


def test_a_failing_part_stops_none_but_those_that_come_after_it(tmp_path: Path) -> None:
    found = outcomes(
        (
            part("build", "raise SystemExit('no compiler')"),
            part("tests", "print('never')", after=("build",)),
            part("machine", "print('a machine'); print('4 cores')"),
            part("watched", "print('never')", programs=("no-such-program",)),
            part("properties", "print('never')", modules=("no_such_module",)),
        ),
        tmp_path,
    )
    assert (found["build"].status, found["build"].said) == (FAILED, "exit code 1; no compiler")
    assert found["tests"].status == NOT_RUN
    assert found["tests"].said == "it comes after build, which did not pass"
    assert (found["machine"].status, found["machine"].said) == (PASSED, "4 cores")
    assert (found["watched"].status, found["watched"].said) == (
        NOT_RUN, "no-such-program not found",
    )  # fmt: skip
    assert found["properties"].said == "no_such_module not found"
    assert "no compiler" in (tmp_path / "log.txt").read_text()


def test_a_part_is_stopped_at_its_limit_and_the_next_one_runs(tmp_path: Path) -> None:
    forever = part("slow", "import time\nwhile True: time.sleep(1)", seconds=0)
    found = outcomes((forever, part("next", "print('on')")), tmp_path)
    assert found["slow"].status == FAILED
    assert found["slow"].said.startswith("stopped after 0 s")
    assert found["next"].status == PASSED


def test_nothing_is_begun_when_no_time_is_left(tmp_path: Path) -> None:
    found = outcomes((part("late", "print('never')"),), tmp_path, seconds=0)
    assert (found["late"].status, found["late"].said) == (NOT_RUN, "no time was left")


def test_every_part_comes_after_parts_that_are_there() -> None:
    names = [one.name for one in PARTS]
    assert len(set(names)) == len(names)
    for k, one in enumerate(PARTS):
        assert set(one.after) <= set(names[:k])


def test_without_a_gpu_the_machine_fails_and_nothing_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    given = ["--part", "machine", "--part", "operators", "--output", str(tmp_path)]
    assert command_line.main(given) == 1
    page = (tmp_path / "results.md").read_text()
    assert "torch finds no GPU here: torch.cuda.is_available() is False" in page
    assert "it comes after machine, which did not pass" in page
    assert capsys.readouterr().out.endswith("failed: machine\n")


@pytest.mark.slow
def test_everything_that_is_measured_can_be_measured_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ("machine", "operators", "networks")
    given = ["--seconds", "7200", *(word for name in chosen for word in ("--part", name))]
    patient = [replace(part, seconds=7200) for part in PARTS]  # whatever else the machine does
    monkeypatch.setattr(command_line, "PARTS", patient)
    assert command_line.main([*given, "--device", "cpu", "--output", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "results.json").read_text())
    assert {one["status"] for one in found["parts"]} == {PASSED}
    assert found["machine"]["copy"] > 0 and set(found["machine"]["matrix"]) == set(PRECISIONS)
    page = (tmp_path / "results.md").read_text()
    assert "### small, 2 x 32², float32, channels-last" in page
    assert "| lrp_ratio, relu | float32 |" in page


def toy_case(monkeypatch: pytest.MonkeyPatch, *methods: Method) -> list[Entry]:
    def toy() -> torch.nn.Module:
        return torch.nn.Sequential(
            *(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU()),
            *(torch.nn.Flatten(), torch.nn.Linear(144, 3)),
        )

    monkeypatch.setattr(architectures, "build", lambda name: toy().eval())
    monkeypatch.setattr(networks, "METHODS", methods)
    monkeypatch.setattr(networks, "peers", lambda: ())
    return networks.measure(Case("toy", 2, "float32", pixels=8), CPU, 0.0)


class Failing:
    def attribute(self, x: Tensor, target: Tensor) -> Tensor:
        raise MemoryError("no more")


def test_a_failing_method_is_shown_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = toy_case(monkeypatch, networks.METHODS[0], Method("broken", lambda model: Failing()))
    assert [entry.name for entry in entries] == ["gradient", "LRP epsilon", "broken"]
    assert entries[2].failure == "MemoryError: no more" and not entries[2].seconds
    assert len(entries[0].seconds) == len(entries[1].seconds) == 1
    case = {"case": "toy", "failure": "", "entries": [asdict(entry) for entry in entries]}
    page = report.markdown({"networks": [case]})
    assert "| broken | failed: MemoryError: no more | - | - | - |" in page
    assert "of 1 rounds" in page


def test_a_failing_operator_is_shown_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    row = next(row for row in OPERATORS if row.name == "rescale")
    monkeypatch.setattr(type(row), "call", lambda row, arguments: 1 / 0)
    timing = operators.time_one(row, torch.float32, Clock(CPU))
    assert timing.failures == {"relprop": "ZeroDivisionError: division by zero"}
    page = report.markdown({"operators": [asdict(timing) | {"rate": timing.rate}]})
    assert "| rescale, relu | float32 | failed: ZeroDivisionError: division by zero |" in page


def test_operands_take_turns_where_a_cache_would_hold_them() -> None:
    x = torch.zeros(256)  # a KiB
    assert len(operators.copies((x, 3), cache=0)) == 1
    sets = operators.copies((x, 3), cache=2048)
    assert len(sets) == 5 and len({one[0].data_ptr() for one in sets}) == 5
    used: list[int] = []
    call = operators.rotating(lambda one: used.append(one[0].data_ptr()), sets)
    for _ in range(10):
        call()
    assert len(set(used[:5])) == 5 and used[:5] == used[5:]


def test_a_wrong_kernel_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    row = next(row for row in OPERATORS if row.name == "max_pool_winner")
    arguments, _ = next(exercise.cases(row))
    assert exercise.deviation(row, arguments, CPU) <= 1
    call = type(row).call
    for wrong in (1e-3, float("nan")):
        monkeypatch.setattr(type(row), "call", lambda r, a, by=wrong: (call(r, a)[0] + by,))
        assert exercise.deviation(row, arguments, CPU) > 1


def test_all_with_a_kernel_are_exercised() -> None:
    native = {row.operator for row in backends().rows if row.serves == "native"}
    assert {row.name for row in exercise.rows("cpu")} == native


@pytest.mark.parametrize("form", convolutions.FORMS, ids=lambda form: form[1])
def test_cudnn_is_given_the_same_convolutions(form: convolutions.Form) -> None:
    """By the results that have no steps around them."""
    small = [row for row in convolutions.CONVOLUTIONS if row.make is form[2]]
    assert {row.small for row in small} == set(convolutions.SMALL)
    for row in small[: len(convolutions.SMALL)]:
        arguments = row.arguments(row.small)
        results = row.reference(arguments)
        by_torch = convolutions.LIMITS[row.limit](arguments, results)()
        if row.name == "fused_convolution_pair":
            torch.testing.assert_close(tuple(by_torch), results)
        elif form[1] == "R to R":
            assert all(one.shape == results[0].shape for one in by_torch)
        else:
            s, weight, t = arguments[0], arguments[1], arguments[8]
            below = convolutions.LIMITS[row.limit]((t, *arguments[1:]), results)()[1]
            torch.testing.assert_close(2 * by_torch[0] - below, results[0])
            assert s.shape[1] == weight.shape[0]


@pytest.mark.parametrize("name", architectures.PLAIN)
def test_plain_networks_have_the_layers_of_torchvision(name: str) -> None:
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        plain, theirs = architectures.PLAIN[name](), getattr(models, name.lower())(weights=None)
    shapes = {key: tensor.shape for key, tensor in theirs.state_dict().items()}
    assert {key: tensor.shape for key, tensor in plain.state_dict().items()} == shapes


def test_plain_resnet_computes_what_torchvision_does() -> None:
    models = pytest.importorskip("torchvision.models")
    theirs, plain = models.resnet50(weights=None).eval(), architectures.ResNet().eval()
    plain.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(plain(x), theirs(x))


def test_plots_show_what_was_measured(tmp_path: Path) -> None:
    entries = [asdict(Entry(name, name, [0.1, 0.2, 0.3])) for name in ("gradient", "LRP epsilon")]
    timing = {"operator": "rescale", "dtype": "float32", "rate": 1e9}
    found = {
        "networks": [{"case": "a case", "failure": "", "entries": entries}],
        "operators": [timing],
        "machine": {"copy": 2e9},
    }
    assert [file.name for file in plots.draw(found, tmp_path)] == ["networks.png", "operators.png"]
    assert plots.draw({"networks": [], "operators": []}, tmp_path) == []


def test_switches_of_precision_are_put_back() -> None:
    switch = torch.backends.cudnn.conv
    before = switch.fp32_precision
    with PRECISIONS["float32"].switched():
        assert switch.fp32_precision == "ieee"
    assert switch.fp32_precision == before


def test_the_tests_for_a_gpu_import_nothing_but_torch_and_pytest() -> None:
    """What is on every machine with a GPU; here hypothesis, click and pillow cannot be imported."""
    hidden = ("hypothesis", "click", "rich", "PIL", "mpmath", "matplotlib", "torchvision")
    code = (
        "import sys, pytest\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {hidden!r}: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hide())\n"
        "sys.exit(pytest.main(['tests/gpu', '--collect-only', '-q', '-p', 'no:cacheprovider']))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=parts.ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "test_replays_are_bitwise" in answer.stdout
