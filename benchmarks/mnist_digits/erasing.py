"""Erase the pixels that speak most for one class against another, and see what it changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import relprop
from benchmarks.mnist_digits.digits import Digits
from benchmarks.mnist_digits.methods import Explain

PIXELS = 157
"""How many pixels are erased at most: 20 % of 28 x 28."""


@dataclass(frozen=True)
class Task:
    """A digit of class `source` is to become one of class `target`."""

    source: int
    target: int

    def __str__(self) -> str:
        return f"{self.source} → {self.target}"


TASKS = (Task(8, 3), Task(8, 6), Task(9, 1), Task(4, 1))


@dataclass(frozen=True)
class Outcome:
    """What erasing did to each digit of a task; or why the method failed.

    Attributes:
        change: shape (N,), the log-odds of source over target, before minus after.
        erased: shape (N,), how many pixels were erased.
        turned: shape (N,), whether target is likelier than source afterwards.
        failure: what the method said when it failed; empty if it did not.
    """

    change: Tensor
    erased: Tensor
    turned: Tensor
    failure: str = ""

    @classmethod
    def failed(cls, error: Exception) -> Outcome:
        none = torch.zeros(0)
        return cls(none, none, none, failure=f"{type(error).__name__}: {error}")

    @property
    def median(self) -> float:
        """Of the changes."""
        return self.change.quantile(0.5).item()

    @property
    def median_erased(self) -> float:
        """Of the numbers of pixels."""
        return self.erased.float().quantile(0.5).item()

    @property
    def share_turned(self) -> float:
        """Of the digits."""
        return self.turned.float().mean().item()


def erase(images: Tensor, difference: Tensor, pixels: int = PIXELS) -> Tensor:
    """Images with those pixels set to 0 where `difference` is largest, and positive.

    Args:
        images: shape (N, C, H, W).
        difference: in the shape of images, contribution to source minus contribution to target.
        pixels: how many to erase in each image, at most.
    """
    flat = difference.flatten(1)
    largest, where = flat.topk(min(pixels, flat.shape[1]), dim=1)
    keep = torch.ones_like(flat).scatter(1, where, (largest <= 0).to(flat.dtype))
    return torch.where(keep.view_as(images) > 0, images, 0)


def log_odds(model: nn.Module, images: Tensor, task: Task) -> Tensor:
    """log(p_source / p_target) = logit_source - logit_target, shape (N,)."""
    with torch.no_grad():
        logits = model(images)
    return logits[:, task.source] - logits[:, task.target]


def measure(model: nn.Module, explain: Explain, images: Tensor, task: Task) -> Outcome:
    """Explain, erase and compare."""
    difference = explain(images, task.source) - explain(images, task.target)
    erased = erase(images, difference.detach())
    before, after = log_odds(model, images, task), log_odds(model, erased, task)
    return Outcome(before - after, (erased != images).flatten(1).sum(1), after < 0)


def measure_all(
    model: nn.Module,
    methods: dict[str, Callable[[nn.Module], Explain]],
    digits: Digits,
    progress: Callable[[str], None] = print,
) -> dict[str, dict[Task, Outcome]]:
    """Every method on every task; a method that relprop refuses is there with what it says."""
    outcomes: dict[str, dict[Task, Outcome]] = {}
    for name, make in methods.items():
        try:
            explain = make(model)
            outcomes[name] = {
                task: measure(model, explain, digits.of(task.source), task) for task in TASKS
            }
            progress(f"{name}: done")
        except relprop.RelpropError as error:
            outcomes[name] = dict.fromkeys(TASKS, Outcome.failed(error))
            progress(f"{name}: FAILED: {error}")
    return outcomes
