"""Recordings of explanations: what they hold for, and that they give what the sweeps give.

A tape stands for CUDA's graphs, so that everything but these is tested on every machine.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tape import TapeRecorder
from torch import Tensor, nn

import relprop
from relprop.attribution import cuda_graphs
from relprop.attribution.cuda_graphs import CudaRecorder, Recordings
from relprop.errors import CaptureError, InvalidInputError
from relprop.rules.lrp import COMPOSITES

Method = relprop.LRP | relprop.DeepLift | relprop.Gradient | relprop.InputXGradient


class Network(nn.Module):
    """With a reused activation, a sum of branches, an overlapping pool and a folded batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.branch = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.act = nn.ReLU()
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.stem(x)))
        x = self.pool(self.act(self.branch(x)) + x)
        return self.head(x.mean((2, 3)))


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return Network().double().eval()


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> TapeRecorder:
    """In place of the one that takes a GPU, from now on."""
    tape = TapeRecorder()
    monkeypatch.setattr(cuda_graphs, "CudaRecorder", lambda: tape)
    monkeypatch.setattr("relprop.attribution.attributor.Recordings", lambda: Recordings(tape))
    for module in ("lrp", "deeplift", "gradient"):
        monkeypatch.setattr(f"relprop.attribution.{module}.require_cuda", lambda *given: None)
    return tape


def pictures(batch: int = 2, pixels: int = 12) -> Tensor:
    return torch.randn(batch, 3, pixels, pixels, dtype=torch.float64)


def methods(model: nn.Module) -> Iterator[tuple[str, Method]]:
    for name, composite in COMPOSITES.items():
        bounds = {"low": -4.0, "high": 4.0} if composite.needs_bounds else {}
        yield name, relprop.LRP(model, name, **bounds)
    for max_pool in ("shared", "proportional"):
        yield max_pool, relprop.LRP(model, "epsilon", max_pool=max_pool)
    yield "redistribute", relprop.LRP(model, "epsilon_plus", bias="redistribute")
    yield "relative", relprop.LRP(model, epsilon=relprop.rules.lrp.Stabilizer(0.1, "relative"))
    yield "deep Taylor", relprop.DeepTaylor(model, -4.0, 4.0)
    for rule in ("rescale", "reveal_cancel", "genomics"):
        for max_pool in ("winner", "shapley"):
            yield f"{rule}, {max_pool}", relprop.DeepLift(model, rule, max_pool)
    for kind in (
        relprop.Gradient,
        relprop.InputXGradient,
        relprop.Deconvnet,
        relprop.GuidedBackprop,
    ):
        yield kind.__name__, kind(model)


def test_replays_are_what_the_sweeps_give_bit_by_bit(
    model: nn.Module, recorder: TapeRecorder
) -> None:
    for count, (name, method) in enumerate(methods(model), 1):
        for target in (1, [2, 0]):
            x = pictures()
            expected = method.attribute(x, target=target)
            assert torch.equal(method.attribute(x, target=target, cuda_graph=True), expected), name
        assert recorder.count == count


def test_many_targets_deltas_and_layers_are_replayed(
    model: nn.Module, recorder: TapeRecorder
) -> None:
    for method in (relprop.LRP(model), relprop.DeepLift(model)):
        options: dict[str, Any] = {"return_convergence_delta": True, "layers": ["branch", "pool"]}
        for targets in ([[0, 1, 3], [2, 2, 1]], [[3, 1, 0], [0, 2, 1]]):
            x = pictures()
            expected = method.attribute(x, target=targets, **options)
            found = method.attribute(x, target=targets, **options, cuda_graph=True)
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert recorder.count == 2


def test_gradients_for_many_targets_and_their_deltas_are_replayed(
    model: nn.Module, recorder: TapeRecorder
) -> None:
    x, targets = pictures(), [[0, 1, 3], [2, 2, 1]]
    gradient, product = relprop.Gradient(model), relprop.InputXGradient(model)
    expected = gradient.attribute(x, target=targets)
    assert torch.equal(gradient.attribute(x, target=targets, cuda_graph=True), expected)
    options: dict[str, Any] = {"target": targets, "return_convergence_delta": True}
    both = product.attribute(x, **options, cuda_graph=True)
    torch.testing.assert_close(both, product.attribute(x, **options), rtol=0, atol=0)


def test_baselines_are_copied_to_the_recording(model: nn.Module, recorder: TapeRecorder) -> None:
    deeplift = relprop.DeepLift(model, "reveal_cancel")
    x = pictures()
    for x0 in (pictures(1), pictures(1), pictures(2)):
        expected = deeplift.attribute(x, x0, target=1)
        assert torch.equal(deeplift.attribute(x, x0, target=1, cuda_graph=True), expected)
    assert recorder.count == 2  # one for all examples, and one for each


def test_what_changes_the_steps_is_recorded_anew(model: nn.Module, recorder: TapeRecorder) -> None:
    lrp = relprop.LRP(model)
    last = pictures().contiguous(memory_format=torch.channels_last)
    for x, options in (
        (pictures(), {}),
        (pictures(3), {}),
        (pictures(2, 14), {}),
        (last, {}),
        (pictures(), {"layers": ["pool"]}),
    ):
        before = recorder.count
        for _ in range(2):
            lrp.attribute(x, target=1, cuda_graph=True, **options)
        assert recorder.count == before + 1


def test_switches_of_torch_are_followed(
    model: nn.Module, recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    lrp = relprop.LRP(model)
    lrp.attribute(pictures(), target=1, cuda_graph=True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    lrp.attribute(pictures(), target=1, cuda_graph=True)
    assert recorder.count == 2


def test_changed_weights_are_recorded_anew(model: nn.Module, recorder: TapeRecorder) -> None:
    lrp, x = relprop.LRP(model), pictures()
    before = lrp.attribute(x, target=1, cuda_graph=True)
    with torch.no_grad():
        model.branch.weight.mul_(-1.5)
    after = lrp.attribute(x, target=1, cuda_graph=True)
    assert recorder.count == 2
    assert not torch.equal(before, after)
    assert torch.equal(after, relprop.LRP(model).attribute(x, target=1))


def test_results_outlive_the_next_replay(model: nn.Module, recorder: TapeRecorder) -> None:
    lrp = relprop.LRP(model)
    first = lrp.attribute(pictures(), target=1, cuda_graph=True)
    kept = first.clone()
    lrp.attribute(pictures(), target=2, cuda_graph=True)
    assert torch.equal(first, kept)


def test_the_recording_that_has_waited_longest_goes(
    model: nn.Module, recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_graphs, "MOST", 2)
    lrp = relprop.LRP(model)
    for batch in (2, 3, 2, 4, 2, 3):  # 4 takes the place of 3, and 3 that of 4
        lrp.attribute(pictures(batch), target=1, cuda_graph=True)
    assert recorder.count == 4


def test_numbers_are_looked_at_after_the_replay(recorder: TapeRecorder) -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    lrp = relprop.LRP(model, "epsilon", epsilon=0.0)
    x = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    assert torch.equal(lrp.attribute(x, target=0, cuda_graph=True), x)
    with pytest.raises(InvalidInputError, match="output for the target must be finite"):
        lrp.attribute(1e308 * torch.ones_like(x), target=0, cuda_graph=True)
    cancelling = torch.tensor([[1.0, -1.0 + 1e-15]], dtype=torch.float64)
    with pytest.warns(relprop.InexactWarning, match="more than torch.float64 has digits for"):
        lrp.attribute(cancelling, target=0, cuda_graph=True)


def test_a_graph_takes_inputs_on_a_gpu(model: nn.Module) -> None:
    sentence = "cuda_graph needs CUDA inputs, got cpu: leave it out, or move model and inputs to"
    for method in (relprop.LRP(model), relprop.DeepLift(model), relprop.Gradient(model)):
        with pytest.raises(InvalidInputError, match=sentence):
            method.attribute(pictures(), target=1, cuda_graph=True)


def test_recordings_have_no_gradients(model: nn.Module) -> None:
    sentence = "cuda_graph must be False with create_graph=True, as a recording has no gradients"
    for method in (relprop.LRP(model), relprop.DeepLift(model), relprop.Gradient(model)):
        with pytest.raises(InvalidInputError, match=sentence):
            method.attribute(pictures(), target=1, cuda_graph=True, create_graph=True)


def test_a_copy_makes_recordings_of_its_own(model: nn.Module, recorder: TapeRecorder) -> None:
    lrp, x = relprop.LRP(model), pictures()
    expected = lrp.attribute(x, target=1, cuda_graph=True)
    twin = copy.deepcopy(lrp)
    with torch.no_grad():
        lrp.model.head.weight.zero_()
    assert torch.equal(twin.attribute(x, target=1, cuda_graph=True), expected)


class ExamplesLast(nn.Module):
    """With examples along the last dimension on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).t().relu().t())


def test_a_common_baseline_is_repeated_where_examples_do_not_come_first(
    recorder: TapeRecorder,
) -> None:
    torch.manual_seed(0)
    deeplift = relprop.DeepLift(ExamplesLast().double())
    for _ in range(2):
        x = torch.randn(3, 4, dtype=torch.float64)
        expected = relprop.DeepLift(deeplift.model).attribute(x, 0.5, target=1)
        found = deeplift.attribute(x, 0.5, target=1, cuda_graph=True)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert recorder.count == 1


def test_tiles_are_not_recorded(model: nn.Module, recorder: TapeRecorder) -> None:
    lrp, x = relprop.LRP(model), pictures(1, 64)
    budget = lrp.tiling(x, "1GiB", target=1).untiled // 2
    with pytest.raises(InvalidInputError, match=r"leave out cuda_graph where .* by tiles"):
        lrp.attribute(x, target=1, memory_budget=budget, cuda_graph=True)


@pytest.mark.parametrize("per_example", [True, False])
def test_one_recording_is_replayed_for_each_of_several_baselines(
    model: nn.Module, recorder: TapeRecorder, per_example: bool
) -> None:
    samples = torch.stack([pictures(3), pictures(3)]) if per_example else pictures(3)
    baselines = relprop.Distribution(samples, per_example=per_example)
    deeplift, x = relprop.DeepLift(model, "reveal_cancel"), pictures()
    options: dict[str, Any] = {"return_convergence_delta": True, "layers": ["pool"]}
    for target in (1, [[0, 2], [3, 1]]):
        expected = deeplift.attribute(x, baselines, target=target, **options)
        found = deeplift.attribute(x, baselines, target=target, **options, cuda_graph=True)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    assert recorder.count == 2  # one for one target, one for two


@contextmanager
def refusing(graph: object) -> Iterator[None]:
    yield
    raise RuntimeError("operation not permitted when stream is capturing\nand more")


class Stream:
    def wait_stream(self, other: object) -> None:
        pass


def test_what_cannot_be_recorded_is_an_error_that_says_why(
    model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, stub in {
        "Stream": Stream,
        "current_stream": Stream,
        "stream": lambda stream: contextmanager(lambda: iter([None]))(),
        "CUDAGraph": object,
        "graph": refusing,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stub)
    with pytest.raises(CaptureError, match=r"as a CUDA graph: operation not .* capturing; leave"):
        CudaRecorder().record(list)
