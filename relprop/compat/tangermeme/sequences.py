"""What is handed to `deep_lift_shap`, checked as tangermeme checks it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from relprop.attribution.arguments import first_parameter
from relprop.errors import InvalidInputError, InvalidTypeError


def check_sequences(X: object, only_warn: bool) -> Tensor:
    """X, if it is one-hot, of shape (N, A, L), without unknown letters."""
    if not isinstance(X, Tensor):
        raise InvalidTypeError(
            f"X must be a tensor; got {type(X).__name__} (X.to_one_hot() unpacks a PackedSequence)"
        )
    if X.dim() != 3 or 0 in X.shape:
        raise InvalidInputError(
            "X must hold one-hot sequences, at least one, with letters along dimension 1, shape "
            f"(N, A, L); got {tuple(X.shape)}"
        )
    check_one_hot(X, "X", only_warn, unknown=False)
    return X


def check_one_hot(sequences: Tensor, name: str, only_warn: bool, unknown: bool) -> None:
    """Raise, or only warn, unless columns are a 1 among zeros; or zeros alone, if `unknown`."""
    ones = sequences.sum(1)
    binary = ((sequences == 0) | (sequences == 1)).all()
    if binary and (ones <= 1 if unknown else ones == 1).all():
        return
    message = f"{name} must be one-hot" + (
        ", with zeros for unknown letters" if unknown else ", without unknown letters"
    )
    if not only_warn:
        raise InvalidInputError(f"{message}; some of its columns are not")
    warnings.warn(f"{message}; some of its columns are not", UserWarning, stacklevel=4)


def check_dtype(dtype: str | torch.dtype | None, model: nn.Module) -> torch.dtype:
    """The model's dtype, unless another is asked for: models are not run in mixed precision."""
    parameter = first_parameter(model)
    own = torch.float32 if parameter is None else parameter.dtype
    asked = getattr(torch, dtype, dtype) if isinstance(dtype, str) else dtype
    if asked is None or asked == own or (parameter is None and isinstance(asked, torch.dtype)):
        return own if asked is None else asked
    raise InvalidInputError(
        f"dtype must be the model's, {own}, or None; got {dtype}: convert the model, as in "
        "model.double()"
    )


def check_operators(additional: Mapping[Any, Callable[..., Any]] | None) -> None:
    """Raise if there are rules for modules that are not tangermeme's own."""
    for kind, rule in (additional or {}).items():
        if not str(getattr(rule, "__module__", "")).startswith("tangermeme."):
            raise InvalidInputError(
                f"additional_nonlinear_ops must hold rules of tangermeme, in place of which "
                f"relprop has its own; got {getattr(rule, '__name__', rule)!r} for "
                f"{getattr(kind, '__name__', kind)}: write others as rules of relprop.rules"
            )
