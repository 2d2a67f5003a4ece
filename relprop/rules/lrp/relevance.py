"""What the rules of LRP hand on, and to whom they account for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from relprop.graph.node import Node, Run, Value
from relprop.graph.nonlinear import Activation


@dataclass(frozen=True)
class Relevance:
    """The relevance of an activation `v`: `R = multiplier * f(v) + amount`, elementwise.

    Most rules give relevance in proportion to `v`, and what travels is the ratio; so nothing is
    multiplied and divided again between two layers. `activation` is the function f still to be
    applied: an activation function hands its relevance down unchanged, and its multiplier then
    belongs to `f(v)`. Without one, f is the identity.
    """

    multiplier: Tensor | None = None
    amount: Tensor | None = None
    activation: Activation | None = None

    def __add__(self, other: Relevance) -> Relevance:
        """What flows together from two readers of one activation."""
        assert self.activation is None and other.activation is None
        return Relevance(_add(self.multiplier, other.multiplier), _add(self.amount, other.amount))

    def below(self, activation: Activation) -> Relevance:
        """The same relevance, seen from the activation function's input."""
        assert self.activation is None
        return replace(self, activation=activation)

    def total(self, run: Run, v: Tensor) -> Tensor:
        """R itself, for the activation's value `v`."""
        if self.multiplier is None:
            assert self.amount is not None
            return self.amount
        value = v if self.activation is None else self.activation.compute(run, v)
        product = self.multiplier * value
        return product if self.amount is None else product + self.amount


def _add(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


def booked(R: Tensor, v: Tensor) -> Tensor:
    """The relevance of a value for the books: what a mask made infinite has none."""
    return torch.where(v.isinf(), 0, R)


@dataclass
class Account:
    """What one node did with the relevance that it received, summed over the batch."""

    node: Node
    rule: str
    received: float = 0.0
    passed: float = 0.0
    bias: float = 0.0
    stabilizer: float = 0.0
    dropped: float = 0.0


@dataclass
class Denominators:
    """What rules sum up for the neurons of a layer, for the relevances of many targets.

    It depends on activations alone. As much is kept as fits into `limit` bytes.
    """

    limit: int
    _kept: dict[object, Tensor] = field(default_factory=dict)
    _held: int = 0

    def get(self, key: object, make: Callable[[], Tensor]) -> Tensor:
        """What was made for the key."""
        if key in self._kept:
            return self._kept[key]
        made = make()
        if self._held + made.nbytes <= self.limit:
            self._kept[key] = made
            self._held += made.nbytes
        return made


@dataclass
class LrpContext:
    """What the rules of LRP read while relevance goes back; and a ledger, for a report.

    `denominators` are there where more than one relevance crosses the same activations.
    """

    run: Run
    nonnegative: set[Value]
    stand_in: dict[Value, Value] = field(default_factory=dict)
    ledger: dict[Value, Account] | None = None
    denominators: Denominators | None = None

    def __getitem__(self, value: Value) -> Tensor:
        """The value of an activation, or what stands in for it."""
        return self.run.values[self.stand_in.get(value, value)]

    def exactly(self) -> LrpContext:
        """The same, with convolutions that round by the element."""
        return replace(self, run=self.run.exactly())

    def denominator(self, node: Node, what: object, make: Callable[[], Tensor]) -> Tensor:
        """What a rule sums up for the node's neurons, made once; it is not to be changed."""
        kept = self.denominators
        return make() if kept is None else kept.get((node.output, what), make)

    def charge(self, node: Node, **shares: Tensor) -> None:
        """Enter shares of `bias`, `stabilizer`, or what was `dropped`, in the ledger."""
        if self.ledger is not None:
            account = self.ledger[node.output]
            for name, share in shares.items():
                setattr(account, name, getattr(account, name) + share.double().sum().item())
