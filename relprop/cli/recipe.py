"""How a data set's engine is made from options: here, and in workers, which get no more."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from relprop import LRP, DeepLift
from relprop.batch import Item, LocalEngine
from relprop.cli.choosing import choose_plan, make_subject
from relprop.cli.classes import Classes, UnknownClassError
from relprop.cli.explaining import Plan, Subject, make_deep_lift, make_lrp
from relprop.cli.loading import Model, ModelError
from relprop.errors import InvalidInputError, RelpropError
from relprop.storage.provenance import digest_of


@dataclass(frozen=True)
class BatchMethod:
    """How to make a method, which of the plan's settings it heeds, and what `attribute` takes."""

    make: Callable[[Subject, Plan], LRP | DeepLift]
    settings: tuple[str, ...]
    arguments: Callable[[Plan], Mapping[str, Any]]


BATCH_METHODS = {
    "lrp": BatchMethod(make_lrp, ("composite", "bias", "unsupported"), lambda plan: {}),
    "deep-lift": BatchMethod(
        make_deep_lift,
        ("rule", "max_pool", "unsupported"),
        lambda plan: {"baselines": plan.baseline},
    ),
}


@dataclass(frozen=True)
class Recipe:
    """What the options say of a data set's engine.

    Attributes:
        model, weights, classes, size, mean, std, device: of the model.
        plan: of the method, as `choose_plan` takes it.
        target: the class to explain where an item has none of its own: "auto" for the likeliest,
            a number, or a name.
        batch_size: how many items go together; None for as many as fit `memory_budget`.
        memory_budget: bytes, as "2GiB".
    """

    model: str
    weights: Path | None
    classes: Path | None
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device
    plan: Mapping[str, Any]
    target: str
    batch_size: int | None
    memory_budget: str

    def subject(self) -> Subject:
        """The model, loaded."""
        return make_subject(
            self.model, self.weights, self.classes, self.size, self.mean, self.std, self.device
        )

    def planned(self, subject: Subject) -> Plan:
        """The method, and how."""
        return choose_plan(subject, **self.plan)

    def engine(
        self, subject: Subject, plan: Plan, fatal: tuple[type[RelpropError], ...] = ()
    ) -> LocalEngine:
        """What explains the subject's pictures by the plan."""
        method = BATCH_METHODS[plan.methods[0]]
        return LocalEngine(
            method.make(subject, plan),
            method.arguments(plan),
            target_of=_Targets(subject.classes, self.target),
            device=subject.device,
            fatal=fatal,
            batch_size=self.batch_size,
            memory_budget=self.memory_budget,
        )


@dataclass(frozen=True)
class Remake:
    """Makes the engine of a recipe in a worker, if the weights there are the same."""

    recipe: Recipe
    weights_sha256: str

    def __call__(self) -> LocalEngine:
        """The engine.

        Raises:
            ModelError: the model has other weights here.
        """
        subject = self.recipe.subject()
        if weights_digest(subject.model) != self.weights_sha256:
            raise ModelError(
                f"{self.recipe.model}: has other weights when it is built on "
                f"{socket.gethostname()}; name --weights, or build it from a fixed seed"
            )
        return self.recipe.engine(subject, self.recipe.planned(subject))


@dataclass(frozen=True)
class _Targets:
    """The class to explain for an item: its own target, or else the common one."""

    classes: Classes
    common: str

    def __call__(self, item: Item, outputs: Tensor) -> int:
        wanted = item.target or self.common
        if wanted == "auto":
            return int(outputs.argmax())
        try:
            return self.classes.find(wanted, len(outputs))
        except UnknownClassError as fault:
            if item.target is None:
                raise
            raise InvalidInputError(str(fault)) from fault


def weights_digest(model: Model) -> str:
    """Tells weights from others."""
    return digest_of(model.state_dict if isinstance(model, ExportedProgram) else model.state_dict())
