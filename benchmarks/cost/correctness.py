"""Nothing is timed that is not right: sums hold, and the operators do what their references do."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import relprop
from benchmarks.cost import networks
from benchmarks.cost.fresh import Say
from benchmarks.cost.methods import Method
from benchmarks.cost.operators import OPERATORS, Operator
from relprop.cli.loading import first_line

PIXELS = 64
SUMS = 1e-10
"""By how much a sum may be off in float64, relative to the largest that enters it."""
AGREEMENT = 1e-4
"""By how much a kernel may be off its reference in float32, relative to the largest value."""


class Red(Exception):
    """Something is wrong, and what."""


@dataclass(frozen=True)
class Check:
    """What was checked, how far off it is and may be; or what was raised."""

    name: str
    error: float = float("inf")
    allowed: float = 0.0
    failure: str = ""

    @property
    def green(self) -> bool:
        """Whether it holds; a number that is none does not."""
        return not self.failure and self.error <= self.allowed

    def __str__(self) -> str:
        found = self.failure or f"off by {self.error:.1e}, where {self.allowed:.0e} is allowed"
        return f"{self.name}: {found}"


def require(names: Sequence[str], methods: Sequence[Method], say: Say) -> None:
    """Check operators, and methods on networks of these names.

    Raises:
        Red: with one sentence, if anything is off.
    """
    red = []
    for check in (*operators(OPERATORS, say), *sums(names, methods, say)):
        if not check.green:
            red.append(str(check))
    if red:
        raise Red(f"nothing is timed while results are wrong: {'; '.join(red)}")


def sums(names: Sequence[str], methods: Sequence[Method], say: Say) -> Iterator[Check]:
    """Whether every method's sums hold on every network, on small pictures in float64."""
    for name in names:
        model = networks.build(name).double()
        for method in methods:
            say(f"checking {method.name} on {name}")
            yield sum_check(model, method, name)


def sum_check(model: nn.Module, method: Method, name: str, pixels: int = PIXELS) -> Check:
    """Whether the relevance, with what the books say of the rest, sums to the score."""
    title = f"the sum of {method.name} on {name}"
    torch.manual_seed(2)
    x = networks.pictures(2, pixels).double()
    try:
        with torch.no_grad():
            target = model(x).argmax(1)
        return Check(title, _shortfall(method.make(model), method, x, target), SUMS)
    except Exception as fault:
        return Check(title, failure=first_line(fault))


def _shortfall(attributor: object, method: Method, x: Tensor, target: Tensor) -> float:
    """What is missing from the sum, relative to the largest amount that went through a node."""
    if isinstance(attributor, relprop.LRP):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", relprop.InexactWarning)
            books = attributor.report(x, target)
        largest = max(abs(account.received) for account in books.accounts)
        return abs(books.shortfall) / max(abs(books.score), largest)
    assert isinstance(attributor, relprop.DeepLift)
    found, delta = attributor.attribute(
        x, torch.zeros_like(x[:1]), target, return_convergence_delta=True
    )
    return float((delta.abs() / found.abs().flatten(1).sum(1)).max())


def operators(table: Sequence[Operator], say: Say) -> Iterator[Check]:
    """Whether what serves each operator here computes what its reference does."""
    for operator in table:
        say(f"checking {operator}")
        title = f"the operator {operator}"
        try:
            arguments = operator.arguments(operator.small)
            got, expected = operator.call(arguments), operator.reference(arguments)
            yield Check(title, max(map(_error, got, expected)), AGREEMENT)
        except Exception as fault:
            yield Check(title, failure=first_line(fault))


def _error(got: Tensor, expected: Tensor) -> float:
    if got.shape != expected.shape:
        return float("inf")
    return float((got - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
