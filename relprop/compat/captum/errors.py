"""relprop's errors, which are captum's types of error as well, so that `except` clauses hold."""

from __future__ import annotations

from relprop.errors import InvalidInputError, UnsupportedOperatorError


class MisuseError(InvalidInputError, AssertionError):
    """An argument that captum asserts against."""


class OutOfRangeError(InvalidInputError, IndexError, RuntimeError):
    """A target or neuron that does not exist; captum's type depends on how it was given."""


class UnsupportedLayerError(UnsupportedOperatorError, TypeError):
    """The model has an operator that no rule covers."""
