"""Explanations under torch's autocast: they are made in the model's own type.

Relevance is made of ratios whose denominators may be small differences of large numbers, and what
is sent back meets what was computed on the way there: one type for all of it, and not another one
for some of the steps.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")
#: Devices that autocast may be on for.
DEVICES = ("cpu", "cuda")


def is_on(device: str) -> bool:
    """Whether autocast is on for this kind of device."""
    return device in DEVICES and torch.is_autocast_enabled(device)


def without_autocast(function: Callable[P, T]) -> Callable[P, T]:
    """The function, run without autocast even where the caller has it on."""

    @wraps(function)
    def plain(*args: P.args, **kwargs: P.kwargs) -> T:
        on = list(filter(is_on, DEVICES))
        if not on:
            return function(*args, **kwargs)
        with ExitStack() as modes:
            for device in on:
                modes.enter_context(torch.autocast(device, enabled=False))
            return function(*args, **kwargs)

    return plain
