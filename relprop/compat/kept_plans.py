"""Methods for interfaces that are functions, called anew with the same model over and over.

What an attributor learns of a model at its first call (the graph, rules on it, a baseline's forward
sweep) is kept as long as the model lives, and must not be what keeps it: an attributor holds its
model, so that only its plans are kept. They notice themselves when weights or modules have changed.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from relprop.attribution.attributor import Attributor, Plan

Method = TypeVar("Method", bound=Attributor)
Settings = Mapping[str, Any]

#: How many settings are remembered for a model: those used last.
LIMIT = 16


@dataclass(frozen=True)
class _Kept:
    """The plans of a method with some settings; tensors among these are copies."""

    kind: Callable[..., Attributor]
    settings: Settings
    plans: list[Plan] = field(default_factory=list)

    def serves(self, kind: Callable[..., Attributor], settings: Settings) -> bool:
        """Whether this is the method, set alike."""
        return (
            self.kind is kind
            and self.settings.keys() == settings.keys()
            and all(_same(self.settings[name], value) for name, value in settings.items())
        )


_kept: weakref.WeakKeyDictionary[nn.Module, list[_Kept]] = weakref.WeakKeyDictionary()


def with_kept_plans(kind: Callable[..., Method], model: nn.Module, settings: Settings) -> Method:
    """`kind(model, **settings)`, with the plans that such a method has made for the model before.

    Raises what `kind` raises.
    """
    method = kind(model, **settings)
    known = _kept.setdefault(model, [])
    found = next((one for one in known if one.serves(kind, settings)), None)
    if found is None:
        found = _Kept(kind, {name: _own(value) for name, value in settings.items()})
    _kept[model] = [*(one for one in known if one is not found), found][-LIMIT:]
    return method.sharing(found.plans)


def _own(value: Any) -> Any:
    """A copy of what a caller may write to."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    return dict(value) if isinstance(value, Mapping) else value


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        alike = isinstance(b, Tensor) and (a.shape, a.dtype, a.device) == (
            b.shape,
            b.dtype,
            b.device,
        )
        return alike and torch.equal(a, b)
    return a is b or (type(a) is type(b) and bool(a == b))
