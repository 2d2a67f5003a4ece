"""Many threads, one method, one model: each gets what it would get alone, to the last bit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relprop

METHODS: dict[str, Callable[[nn.Module], Any]] = {
    "LRP": lambda m: relprop.LRP(m, "epsilon_alpha2_beta1"),
    "DeepLIFT": lambda m: relprop.DeepLift(m, "reveal_cancel", "shapley"),
    "gradient": relprop.Gradient,
}
#: Graphs hold for a number of dimensions, and for sizes from two on: there are several to capture.
SHAPES = [(2, 3, 12, 12), (1, 3, 12, 12), (3, 3, 16, 20), (2, 3, 20, 16)] * 2


class Network(nn.Module):
    """A network in training mode, which captures put into evaluation mode and back."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Dropout(),
        )  # fmt: skip
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


@pytest.mark.parametrize("name", METHODS)
def test_threads_that_start_together_get_what_each_gets_alone(name: str) -> None:
    model = Network()
    inputs = [torch.randn(shape) for shape in SHAPES]
    shared = METHODS[name](model)
    together = threading.Barrier(len(inputs))

    def explain(k: int) -> list[Tensor]:
        together.wait()
        return [shared.attribute(inputs[k], target=target % 4) for target in range(k, k + 3)]

    with ThreadPoolExecutor(len(inputs)) as pool:
        found = list(pool.map(explain, range(len(inputs))))
    assert model.training and all(module.training for module in model.modules())
    alone = METHODS[name](model)
    for k, x in enumerate(inputs):
        for target, R in zip(range(k, k + 3), found[k], strict=True):
            assert torch.equal(R, alone.attribute(x, target=target % 4))


class Meeting(nn.Module):
    """A network that lets another thread go on when it is captured for signals, and waits for it.

    Not for ever: for that thread may be waiting in its turn, until the capture is done.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.captured, self.explained = threading.Event(), threading.Event()

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 3:
            self.captured.set()
            self.explained.wait(0.2)
            x = x.mean(1)
        return self.layer(x)


def test_weights_are_not_read_while_another_thread_captures_the_model() -> None:
    """For while it does, torch.export has others in their place."""
    model, flat, deep = Meeting(), torch.randn(2, 6), torch.randn(2, 4, 6)
    method = relprop.LRP(model, "epsilon")
    method.attribute(flat, target=0)
    expected = method.attribute(flat, target=0)  # by what is known of such inputs

    def explain() -> Tensor:
        model.captured.wait()
        try:
            found: Tensor = method.attribute(flat, target=0)
        finally:
            model.explained.set()
        return found

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(explain)
        method.attribute(deep, target=0)
        assert torch.equal(waiting.result(), expected)


def test_a_baseline_that_is_kept_serves_all_threads() -> None:
    model, x0 = Network().eval(), torch.randn(1, 3, 12, 12)
    method, inputs = relprop.DeepLift(model), torch.randn(8, 2, 3, 12, 12)
    expected = [relprop.DeepLift(model).attribute(x, x0, target=1) for x in inputs]
    method.attribute(inputs[0], x0, target=1)
    together = threading.Barrier(len(inputs))

    def explain(x: Tensor) -> Tensor:
        together.wait()
        found: Tensor = method.attribute(x, x0, target=1)
        return found

    with ThreadPoolExecutor(len(inputs)) as pool:
        assert all(map(torch.equal, pool.map(explain, inputs), expected))
