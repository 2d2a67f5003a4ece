"""From a picture to its explanations: what a model sees and answers, and which pixels were why."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from PIL.Image import Image
from torch import Tensor
from torch.export import ExportedProgram

from relprop import LRP, DeepLift
from relprop.cli.classes import Classes
from relprop.cli.images import Preprocessing
from relprop.cli.inner_layers import layers_to_show, maps_of
from relprop.cli.loading import Model, ModelError, first_line
from relprop.errors import InvalidInputError
from relprop.report import Report
from relprop.rules.lrp.presets import COMPOSITES


@dataclass(frozen=True)
class Plan:
    """Which methods explain, and how.

    `baseline` is a name out of `BASELINES`, or a tensor. `layers` are inner layers to explain as
    well: none at all for None, and where no name is given, some of different resolutions.
    """

    methods: tuple[str, ...] = ("lrp", "deep-lift")
    composite: str = "epsilon_plus_flat"
    bias: str = "absorb"
    rule: str = "rescale"
    max_pool: str = "winner"
    baseline: str | Tensor = "blur"
    unsupported: str = "error"
    layers: tuple[str, ...] | None = None
    memory_budget: str | None = None


@dataclass(frozen=True)
class Sums:
    """Where the explained quantity went: `explained = pixels + biases + other + shortfall`.

    `explained` is f(x) under LRP and f(x) - f(x0) under DeepLIFT; `other` is what stabilizers took
    and rules dropped, and what biases took where a memory budget has no room for a report;
    `shortfall` is what nobody can account for.
    """

    explained: float
    pixels: float
    biases: float
    other: float
    shortfall: float


@dataclass(frozen=True)
class Attribution:
    """One method's explanation of one picture: relevance (C, H, W), its sums, how long it took.

    What a model costs once, to be read as a graph, is not among the seconds. `settings` says how
    the method was set, `layers` has relevance (C, h, w) at inner layers by name, and `books` is
    what `Report.as_dict` gives, where the method keeps books.
    """

    method: str
    quantity: str
    relevance: Tensor
    sums: Sums
    seconds: float
    settings: Mapping[str, str]
    layers: Mapping[str, Tensor] = field(default_factory=dict)
    books: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class View:
    """A picture as the model sees it: the crop, the tensor (1, C, H, W), and the outputs (K,)."""

    crop: Image
    inputs: Tensor
    outputs: Tensor

    def probabilities(self) -> Tensor:
        """Shape (K,): the outputs, through a softmax unless they are probabilities already."""
        outputs = self.outputs.double()
        already = bool((outputs >= 0).all()) and abs(float(outputs.sum()) - 1) < 1e-4
        return outputs if already else outputs.softmax(0)


class Subject:
    """A model together with what it expects and what its outputs are called."""

    def __init__(
        self, model: Model, preprocessing: Preprocessing, classes: Classes, device: torch.device
    ) -> None:
        self.model = model
        self.classes = classes
        self.preprocessing = preprocessing
        self.device = device
        self._forward: Callable[[Tensor], object] = (
            model.module() if isinstance(model, ExportedProgram) else model
        )

    def inputs(self, picture: Image) -> Tensor:
        """The picture as an input of the model, shape (1, C, H, W)."""
        return self.preprocessing.tensor(self.preprocessing.crop(picture)).to(self.device)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """The least and the greatest input that a picture can give, shapes (1, C, 1, 1)."""
        low, high = self.preprocessing.bounds()
        return low.to(self.device), high.to(self.device)

    def view(self, picture: Image) -> View:
        """What the model sees in a picture, and what it answers.

        Raises:
            ModelError: the model fails on such an input, or its answer is not one score a class.
        """
        inputs = self.inputs(picture)
        try:
            with torch.no_grad():
                outputs = self._forward(inputs)
        except Exception as fault:  # a user's model may raise anything
            raise ModelError(
                f"the model failed on an input of shape {tuple(inputs.shape)}: {first_line(fault)}"
            ) from fault
        if not isinstance(outputs, Tensor) or outputs.dim() != 2 or len(outputs) != 1:
            came = (
                f"shape {tuple(outputs.shape)}"
                if isinstance(outputs, Tensor)
                else type(outputs).__name__
            )
            raise ModelError(
                f"the model's output must be one score a class, shape (1, classes), not {came}"
            )
        return View(self.preprocessing.crop(picture), inputs, outputs[0].cpu())


def make_lrp(subject: Subject, plan: Plan) -> LRP:
    """LRP of the subject's model, by the plan."""
    # Pixels have bounds, so the rule that wants to know them can be told.
    bounded = COMPOSITES[plan.composite].needs_bounds
    low, high = subject.bounds() if bounded else (None, None)
    return LRP(
        subject.model,
        plan.composite,
        bias=plan.bias,
        low=low,
        high=high,
        unsupported=plan.unsupported,
    )


def make_deep_lift(subject: Subject, plan: Plan) -> DeepLift:
    """DeepLIFT of the subject's model, by the plan."""
    return DeepLift(subject.model, plan.rule, plan.max_pool, unsupported=plan.unsupported)


class _Found(NamedTuple):
    """Relevance (C, H, W) of one picture, what is missing from its sum, and inner layers."""

    relevance: Tensor
    delta: float
    layers: dict[str, Tensor]
    seconds: float


def _attributed(method: LRP | DeepLift, inputs: Tensor, plan: Plan, **arguments: Any) -> _Found:
    """What a method gives; within a budget, with inner layers that are named alone."""
    if plan.memory_budget is None:
        method.prepare(inputs)
    left_out = plan.memory_budget is not None and not plan.layers
    chosen = None if left_out else layers_to_show(method, inputs, plan.layers)
    arguments |= {"layers": chosen, "memory_budget": plan.memory_budget}
    start = time.perf_counter()
    found = method.attribute(inputs, return_convergence_delta=True, **arguments)
    relevance = found[0][0].cpu()
    seconds = time.perf_counter() - start
    return _Found(relevance, float(found[1][0]), {} if chosen is None else found[2], seconds)


class _LayerWiseRelevance:
    def __init__(self, subject: Subject, plan: Plan) -> None:
        self._lrp, self._plan = make_lrp(subject, plan), plan
        self._title = f"LRP {plan.composite}" + (
            f", bias {plan.bias}" if plan.bias != "absorb" else ""
        )

    def __call__(self, inputs: Tensor, target: int) -> Attribution:
        found = _attributed(self._lrp, inputs, self._plan, target=target)
        settings = {"composite": self._plan.composite, "bias": self._plan.bias}
        report = self._report(inputs, target)
        return Attribution(
            self._title,
            "f(x)",
            found.relevance,
            _sums(found, report),
            found.seconds,
            settings,
            maps_of(found.layers),
            report.as_dict() if report else None,
        )

    def _report(self, inputs: Tensor, target: int) -> Report | None:
        """Where the score went; None where that takes more than the budget."""
        budget = self._plan.memory_budget
        try:
            return self._lrp.report(inputs, target, memory_budget=budget)
        except InvalidInputError:
            if budget is None:
                raise
            return None


def _sums(found: _Found, report: Report | None) -> Sums:
    """Where f(x) went; without a report, biases are with all other."""
    if report is None:
        pixels = float(found.relevance.double().sum())
        return Sums(pixels + found.delta, pixels, biases=0.0, other=found.delta, shortfall=0.0)
    other = report.stabilizer + report.dropped
    return Sums(report.score, report.relevance, report.bias, other, report.shortfall)


class _DifferenceFromBaseline:
    def __init__(self, subject: Subject, plan: Plan) -> None:
        self._deep_lift, self._plan = make_deep_lift(subject, plan), plan
        name = plan.baseline if isinstance(plan.baseline, str) else "picture"
        self._settings = {"rule": plan.rule, "max pools": plan.max_pool, "baseline": name}
        pools = f", {plan.max_pool} pools" if plan.max_pool != "winner" else ""
        self._title = f"DeepLIFT {plan.rule}{pools}, {name} baseline"

    def __call__(self, inputs: Tensor, target: int) -> Attribution:
        found = _attributed(
            self._deep_lift, inputs, self._plan, baselines=self._plan.baseline, target=target
        )
        relevance, excess = found.relevance, found.delta
        pixels = float(relevance.double().sum())
        sums = Sums(
            explained=pixels - excess, pixels=pixels, biases=0.0, other=0.0, shortfall=-excess
        )
        return Attribution(
            self._title,
            "f(x) - f(x0)",
            relevance,
            sums,
            found.seconds,
            self._settings,
            maps_of(found.layers),
        )


Method = Callable[[Tensor, int], Attribution]
"""Explains one class of an input of shape (1, C, H, W)."""
METHODS: dict[str, Callable[[Subject, Plan], Method]] = {
    "lrp": _LayerWiseRelevance,
    "deep-lift": _DifferenceFromBaseline,
}
"""The methods that `--method` names, one line each; what they make serves all pictures."""
