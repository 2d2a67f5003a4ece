"""Arguments in the forms that captum takes them, brought into the forms of relprop."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any, TypeVar

import torch
from torch import Tensor

from relprop.attribution.explanation import Tensors
from relprop.attribution.references import Baseline, Distribution
from relprop.compat.captum.errors import MisuseError

TensorOrTensors = TypeVar("TensorOrTensors", Tensor, tuple[Tensor, ...])
Target = int | tuple[int, ...] | Tensor | list[int] | list[tuple[int, ...]] | None
Baselines = Tensor | float | tuple[Tensor | float, ...] | None
BaselineSamples = Tensor | Tensors | Callable[..., Tensor | Tensors]
CustomAttribution = Callable[..., Tensors]


def as_tensors(inputs: object) -> Tensors:
    """The inputs as a tuple."""
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    for one in given:
        if not isinstance(one, Tensor):
            raise MisuseError(
                f"inputs must be a tensor or a tuple of tensors; got {type(one).__name__}"
            )
    return given


def as_baselines(baselines: object, inputs: Tensors) -> tuple[Baseline, ...]:
    """A baseline for each input: a number, or a tensor for one example or all."""
    given = _one_each(0 if baselines is None else baselines, inputs, baselines is None)
    return tuple(_matched(baseline, x) for baseline, x in zip(given, inputs, strict=True))


def _matched(baseline: Tensor | float, x: Tensor) -> Tensor | float:
    if not isinstance(baseline, Tensor):
        return baseline
    if baseline.shape != x.shape and baseline.shape != (1, *x.shape[1:]):
        raise MisuseError(
            f"a baseline must have the shape of its input {tuple(x.shape)}, or be one example of "
            f"it; got {tuple(baseline.shape)}"
        )
    return baseline.to(x)


def as_samples(
    baselines: object, inputs: Tensor | Tensors, tensors: Tensors
) -> tuple[Distribution, ...]:
    """A distribution of baselines for each input, from tensors or a function that makes them.

    A function is handed `inputs` if it takes an argument.
    """
    if callable(baselines):
        baselines = baselines(inputs) if signature(baselines).parameters else baselines()
    given = _one_each(baselines, tensors)
    return tuple(_distribution(sample, x) for sample, x in zip(given, tensors, strict=True))


def _distribution(samples: Tensor | float, x: Tensor) -> Distribution:
    if not isinstance(samples, Tensor) or len(samples) < 2:
        what = tuple(samples.shape) if isinstance(samples, Tensor) else samples
        raise MisuseError(
            "a distribution of baselines must be a tensor of more than one; for a single baseline, "
            f"use the class without Shap; got {what}"
        )
    if samples.shape[1:] != x.shape[1:]:
        raise MisuseError(
            f"a distribution of baselines must have shape (K, {', '.join(map(str, x.shape[1:]))}) "
            f"for an input of shape {tuple(x.shape)}; got {tuple(samples.shape)}"
        )
    return Distribution(samples.to(x))


def _one_each(
    baselines: object, inputs: Tensors, for_all: bool = False
) -> tuple[Tensor | float, ...]:
    """The baselines as a tuple, as many as inputs; a single one may be `for_all` of them."""
    given: Any = baselines if isinstance(baselines, tuple) else (baselines,)
    for one in given:
        if not isinstance(one, (Tensor, int, float)):
            raise MisuseError(f"a baseline must be a tensor or a number; got {type(one).__name__}")
    given = given * len(inputs) if for_all else given
    if len(given) != len(inputs):
        raise MisuseError(
            f"baselines must be one for each of {len(inputs)} inputs; got {len(given)}"
        )
    made: tuple[Tensor | float, ...] = given
    return made


def as_others(additional_forward_args: object) -> tuple[Any, ...]:
    """The model's further arguments."""
    if additional_forward_args is None:
        return ()
    more = additional_forward_args
    return more if isinstance(more, tuple) else (more,)


def call_custom(
    function: CustomAttribution, multipliers: Tensors, inputs: Tensors, baselines: Tensors
) -> Tensors:
    """What a user's function makes of multipliers, and of as much else as it takes."""
    if not callable(function):
        raise MisuseError(
            f"custom_attribution_func must be a function; got {type(function).__name__}"
        )
    count = len(signature(function).parameters)
    if not 1 <= count <= 3:
        raise MisuseError(
            "custom_attribution_func must take multipliers, inputs and baselines, or the first one "
            f"or two of them; it takes {count} arguments"
        )
    made: Tensors = function(*(multipliers, inputs, baselines)[:count])
    return made


def formatted(found: Tensors, as_tuple: bool) -> Tensor | Tensors:
    """A tuple, or the one tensor in it."""
    if not as_tuple and len(found) != 1:
        raise MisuseError(f"there must be one attribution for a single input; got {len(found)}")
    return found if as_tuple else found[0]


def sum_of(found: Tensors) -> Tensor:
    """For each example the sum of all its attributions."""
    return torch.stack([t.reshape(len(t), -1).sum(1) for t in found]).sum(0)
