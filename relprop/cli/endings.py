"""How a command ends that could not do what was asked: one sentence, and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from relprop.errors import CaptureError, RelpropError, StorageError, UnsupportedOperatorError

MODEL_LIMITS = (CaptureError, UnsupportedOperatorError)
"""Raised for models that relprop cannot explain."""


class Refusal(click.ClickException):
    """Wrong usage, in one sentence."""

    exit_code = 2


class Failure(click.ClickException):
    """What was asked for could not be done, in one sentence."""

    exit_code = 1


@contextmanager
def one_sentence() -> Iterator[None]:
    """Ends the command with one sentence where relprop raises one."""
    try:
        yield
    except (*MODEL_LIMITS, StorageError) as fault:
        raise Failure(str(fault)) from fault
    except RelpropError as fault:
        raise Refusal(str(fault)) from fault
