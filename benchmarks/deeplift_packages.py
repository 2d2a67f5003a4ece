"""Packages that compute DeepLIFT with the Rescale rule, each behind one function of one shape."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from deeplift_networks import Subject
from torch import Tensor, nn

import relprop

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


@dataclass(frozen=True)
class Outcome:
    """How a package did on a subject.

    Attributes:
        contributions: in the shape of the inputs; None if there are none.
        error: `|sum(contributions) - d| / |d|`, `d = f(x) - f(x0)`; with several examples, the mean
            above over the mean below, lest one with a small d drown the others.
        failure: the type and the first line of what was raised.
        absence: why the package was not asked at all.
    """

    contributions: Tensor | None = None
    error: float = float("nan")
    failure: str = ""
    absence: str = ""


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


@contextmanager
def quiet() -> Iterator[None]:
    """Packages warn of the hooks that they set, and of modules that they do not know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def outcome(package: Package, subject: Subject) -> Outcome:
    """What `package` makes of a copy of the model: most of them change what they explain."""
    if find_spec(package.package) is None:
        return Outcome(absence="not installed")
    if package.dimensions not in (0, subject.x.dim()):
        return Outcome(absence="takes sequences only")
    x, x0 = subject.x.clone(), subject.x0.clone()
    try:
        with quiet():
            found = package.explain(deepcopy(subject.model), x, x0).detach().double()
    except Exception as raised:  # of whatever type: it is the finding
        message = str(raised).strip().split("\n")[0]
        return Outcome(failure=f"{type(raised).__name__}: {message}")
    with torch.no_grad():
        difference = (subject.model(subject.x) - subject.model(subject.x0)).double()[:, 0]
    error = (found.flatten(1).sum(1) - difference).abs().mean() / difference.abs().mean()
    return Outcome(found, error.item())


def deviation(found: Tensor, expected: Tensor) -> float:
    """The largest difference between contributions, relative to the largest contribution."""
    return ((found - expected).abs().max() / expected.abs().max()).item()
