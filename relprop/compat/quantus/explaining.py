"""The function that Quantus' metrics call for explanations, time and again with the same model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from relprop.attribution.arguments import check_model
from relprop.compat.arrays import Array, like_model
from relprop.compat.devices import require_on
from relprop.compat.kept_plans import with_kept_plans
from relprop.compat.quantus.methods import METHODS
from relprop.errors import InvalidInputError
from relprop.rules.support import choose

#: What Quantus takes as `explain_func`.
ExplainFunc = Callable[..., Array]


def explain_func(
    model: nn.Module,
    inputs: Array | Tensor,
    targets: Array | Tensor | Sequence[int] | int,
    method: str = "LRP",
    device: str | torch.device | None = None,
    reduce_axes: Sequence[int] = (1,),
    keepdims: bool = True,
    **options: Any,
) -> Array:
    """Explain the outputs of `model` at `targets`, as `quantus.explain` does.

    What relprop learns of a model at the first call serves all others, as long as the model lives;
    weights and modules that have changed since are noticed.

    Args:
        model: the model, explained in evaluation mode, and left as it is.
        inputs: shape (N, ...); floating-point values take the model's dtype and go to its device.
        targets: the class of each example, shape (N,), or one for all.
        method: a name in `METHODS`.
        device: None, or where the model is; it is not moved.
        reduce_axes: along which dimensions explanations are summed, but never those of shape
            (N, F); `()` for none.
        keepdims: whether these dimensions stay, with size 1.
        options: what the method's class and its `attribute` take, by name: `composite`, `bias`,
            `low` and `high` of LRP, `baselines` of DeepLIFT (also called `baseline`, as in
            Quantus), `n_steps` of integrated gradients. Arrays may stand for tensors.

    Returns:
        Explanations, with shape (N, 1, ...) for inputs of shape (N, C, ...) unless `reduce_axes` or
        `keepdims` ask for another.

    Raises:
        InvalidInputError, InvalidTypeError: an argument cannot be used. CaptureError: the model
            cannot be captured. UnsupportedOperatorError: it has an operator without a rule.

    Example:
        >>> metric = quantus.PixelFlipping()
        >>> metric(model, x_batch, y_batch, a_batch=None, explain_func=explain_func,
        ...        explain_func_kwargs={"method": "LRP epsilon_plus_flat"})
    """
    chosen = choose(METHODS, method, "method")
    if "baseline" in options:
        options["baselines"] = options.pop("baseline")
    check_model(model)
    require_on(device, model)
    given = {name: like_model(value, model) for name, value in options.items()}
    settings, arguments = chosen.parted(given)
    explaining: Any = with_kept_plans(chosen.kind, model, settings)
    x = like_model(inputs, model)
    found: Tensor = explaining.attribute(x, target=_classes(targets), **arguments)
    return _reduced(found.abs() if chosen.magnitude else found, reduce_axes, keepdims)


def explainer(method: str, **options: Any) -> ExplainFunc:
    """An `explain_func` with a method and options of its own.

    `quantus.evaluate` hands the name under which it lists a function to the function, as `method`;
    one that is made here may have any name.

    Args:
        method, options: as in `explain_func`.

    Returns:
        A function of model, inputs, targets and further options; a `method` among these is ignored.

    Example:
        >>> quantus.evaluate(metrics, {"ours": explainer("LRP", bias="redistribute")}, ...)
    """
    choose(METHODS, method, "method")

    def explain(
        model: nn.Module, inputs: Array | Tensor, targets: Array | Tensor, **more: Any
    ) -> Array:
        return explain_func(model, inputs, targets, **{**options, **more, "method": method})

    return explain


def _classes(targets: Any) -> Any:
    """Classes as an int, a tensor or a list of ints."""
    if isinstance(targets, (np.ndarray, np.generic)):
        targets = torch.from_numpy(np.array(targets))
    if isinstance(targets, Tensor) and targets.dim() > 1:
        raise InvalidInputError(
            f"targets must be one class for each example, shape (N,); got {tuple(targets.shape)}"
        )
    return targets


def _reduced(found: Tensor, axes: Sequence[int], keepdims: bool) -> Array:
    """The sum along `axes`, as an array."""
    if not all(0 < axis < found.dim() for axis in axes):
        raise InvalidInputError(
            f"reduce_axes must be dimensions after the batch, 1 to {found.dim() - 1}; "
            f"got {tuple(axes)}"
        )
    if len(axes) > 0 and found.dim() > 2:
        found = found.sum(tuple(axes), keepdim=keepdims)
    if found.dtype == torch.bfloat16:  # numpy has none
        found = found.float()
    made: Array = found.numpy(force=True)
    return made
