"""What relprop raises: each error is one sentence that says what was expected and what came."""

from __future__ import annotations

import torch


class RelpropError(Exception):
    """Base of every error that relprop raises on purpose."""


class InvalidInputError(RelpropError, ValueError):
    """A value cannot be used: wrong shape, class out of range, NaN, unknown name."""


class InvalidTypeError(RelpropError, TypeError):
    """A value is of the wrong kind: not a tensor, an integer image, a model that is no module."""


class NumericalError(RelpropError, ArithmeticError):
    """The explanation left the range of the floating-point type."""


class InexactWarning(UserWarning):
    """Rounding has eaten more of an explanation than it should."""


class UnsupportedOperatorError(RelpropError, NotImplementedError):
    """The model contains an operator that no rule covers."""


class CaptureError(RelpropError, RuntimeError):
    """The model could not be turned into a graph, or the graph does not compute what it does."""


class OutOfMemoryError(RelpropError, torch.OutOfMemoryError):
    """The GPU has too little memory for the explanation."""


class MissingPackageError(RelpropError, ImportError):
    """What was asked for takes a package that is not installed."""


class StorageError(RelpropError, OSError):
    """What was found out cannot be written, as where a disk is full."""
