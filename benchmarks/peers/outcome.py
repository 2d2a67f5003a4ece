"""How a package did on a network: what it shared out, and whether that adds up."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

from torch import Tensor


@dataclass(frozen=True)
class Outcome:
    """How a package did on a network.

    Attributes:
        shares: in the shape of the inputs; None if there are none.
        error: `|sum(shares) - total| / |total|`; with several examples, the mean above over the
            mean below, lest one with a small total drown the others.
        failure: the type and the first line of what was raised.
        absence: why there is nothing to see.
    """

    shares: Tensor | None = None
    error: float = float("nan")
    failure: str = ""
    absence: str = ""


class Absent(Exception):
    """A package has nothing for a network, for the reason that it says."""


def outcome(package: str, explain: Callable[[], Tensor], total: Tensor) -> Outcome:
    """What `explain` shares out of `total`, shape (N,), if the package that it calls is there."""
    if find_spec(package) is None:
        return Outcome(absence="not installed")
    try:
        with quiet():
            shares = explain().detach().double()
    except Absent as absent:
        return Outcome(absence=str(absent))
    except Exception as raised:  # of whatever type: it is the finding
        message = str(raised).strip().split("\n")[0]
        return Outcome(failure=f"{type(raised).__name__}: {message}")
    error = (shares.flatten(1).sum(1) - total.double()).abs().mean() / total.double().abs().mean()
    return Outcome(shares, error.item())


@contextmanager
def quiet() -> Iterator[None]:
    """Packages warn of the hooks that they set, and of modules that they do not know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def deviation(found: Tensor, expected: Tensor) -> float:
    """The largest difference between shares, relative to the largest share."""
    return ((found - expected).abs().max() / expected.abs().max()).item()
