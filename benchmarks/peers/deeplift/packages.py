"""Packages that compute DeepLIFT with the Rescale rule, each behind one function of one shape."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import relprop
from benchmarks.peers.deeplift.networks import Subject
from benchmarks.peers.outcome import Absent, Outcome, outcome

Explain = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""From a model with one output, inputs and their common baseline to contributions."""


@dataclass(frozen=True)
class Package:
    """A column of the table.

    Attributes:
        package: what has to be installed, by the name that Python and PyPI both know.
        explain: imports it only when called.
        dimensions: of the inputs that it takes; 0 for any.
    """

    title: str
    package: str
    explain: Explain
    dimensions: int = 0


def by_relprop(max_pool: str) -> Explain:
    def explain(model: nn.Module, x: Tensor, x0: Tensor) -> Tensor:
        found: Tensor = relprop.DeepLift(model, "rescale", max_pool).attribute(x, x0, target=0)
        return found

    return explain


def by_captum(model: nn.Module, x: Tensor, x0: Tensor) -> Tensor:
    from captum.attr import DeepLift

    found: Tensor = DeepLift(model).attribute(x, x0, target=0)
    return found


def by_shap(model: nn.Module, x: Tensor, x0: Tensor) -> Tensor:
    """Its own check of the sum is off, so that there is a sum to measure."""
    from shap import DeepExplainer

    values = DeepExplainer(model, x0).shap_values(x, check_additivity=False)
    return torch.from_numpy(values[..., 0])


def by_tangermeme(model: nn.Module, x: Tensor, x0: Tensor) -> Tensor:
    """From its multipliers: its attributions leave out what letters of the baseline bring."""
    from tangermeme.deep_lift_shap import deep_lift_shap

    references = x0.expand_as(x).unsqueeze(1)
    multipliers = deep_lift_shap(
        model, x, references=references, raw_outputs=True, dtype=x.dtype, device="cpu"
    )
    return multipliers[:, 0] * (x - x0)


OURS = Package("relprop", "relprop", by_relprop("winner"))
PACKAGES = (
    OURS,
    Package("relprop, Shapley max pools", "relprop", by_relprop("shapley")),
    Package("captum `DeepLift`", "captum", by_captum),
    Package("shap `DeepExplainer`", "shap", by_shap),
    Package("tangermeme `deep_lift_shap`", "tangermeme", by_tangermeme, dimensions=3),
)


def ask(package: Package, subject: Subject) -> Outcome:
    """What `package` makes of a copy of the model: most of them change what they explain."""

    def explain() -> Tensor:
        if package.dimensions not in (0, subject.x.dim()):
            raise Absent("takes sequences only")
        x, x0 = subject.x.clone(), subject.x0.clone()
        return package.explain(deepcopy(subject.model), x, x0)

    with torch.no_grad():
        difference = (subject.model(subject.x) - subject.model(subject.x0))[:, 0]
    return outcome(package.package, explain, difference)
