"""What a user hands to `attribute`: checked, and brought into one form.

Every mistake is met here, before anything runs, by one sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from relprop.errors import InvalidInputError, InvalidTypeError
from relprop.graph import autocast
from relprop.graph.exclusion import WEIGHTS

UNITS = {
    "b": 1,
    **{f"{letter}b": 1000**k for k, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**k for k, letter in enumerate("kmgt", 1)},
}
SIZE = re.compile(rf"(?P<number>\d+(\.\d+)?)\s*(?P<unit>{'|'.join(UNITS)})", re.IGNORECASE)
Inputs = Tensor | tuple[Tensor, ...]
Target = (
    int
    | tuple[int, ...]
    | Tensor
    | Sequence[int]
    | Sequence[tuple[int, ...] | list[int]]
    | Callable[[Tensor], Any]
    | None
)
"""Which output; or what says so of the outputs, as `lambda y: y.argmax(1)`."""


def check_model(model: object) -> nn.Module | ExportedProgram:
    """The model, if it is something that can be captured; without what is around it."""
    model = unwrapped(model) if isinstance(model, nn.Module) else model
    if not isinstance(model, (nn.Module, ExportedProgram)):
        raise InvalidTypeError(
            "model must be a torch.nn.Module or a torch.export.ExportedProgram; "
            f"got {type(model).__name__}"
        )
    return model


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, where it comes compiled, or wrapped for several devices."""
    within = model
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        within = model.module
    elif isinstance(getattr(model, "_orig_mod", None), nn.Module):  # as torch.compile has it
        within = model.get_submodule("_orig_mod")
    return model if within is model else unwrapped(within)


def check_choice(given: str, choices: Sequence[str], what: str) -> str:
    """`given`, if it is one of `choices`."""
    if given not in choices:
        names = ", ".join(f"'{choice}'" for choice in choices)
        raise InvalidInputError(f"{what} must be one of {names}; got {given!r}")
    return given


def as_bytes(budget: object) -> int:
    """A budget of memory in bytes: a whole number, or a text such as `"2GiB"` or `"500 MB"`."""
    if isinstance(budget, int) and not isinstance(budget, bool) and budget > 0:
        return budget
    match = SIZE.fullmatch(budget.strip()) if isinstance(budget, str) else None
    size = float(match["number"]) * UNITS[match["unit"].lower()] if match else 0
    if size < 1:
        raise InvalidInputError(
            f"memory_budget must be a positive number of bytes, or such as '2GiB'; got {budget!r}"
        )
    return int(size)


def as_inputs(
    inputs: object, model: nn.Module | ExportedProgram, keep_graph: bool = False
) -> tuple[Tensor, ...]:
    """The inputs as a tuple of tensors that the model can take, detached unless told otherwise."""
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    given = tuple(_out_of_autocast(tensor, model) for tensor in given)
    if not given:
        raise InvalidInputError("inputs must be a tensor or a tuple of tensors; got an empty tuple")
    for position, tensor in enumerate(given):
        _check_tensor(tensor, "inputs" if len(given) == 1 else f"inputs[{position}]", model)
    tensors: tuple[Tensor, ...] = given if keep_graph else tuple(t.detach() for t in given)
    sizes = {tensor.shape[0] for tensor in tensors}
    if len(sizes) > 1:
        raise InvalidInputError(
            f"all inputs must hold equally many examples; got {sorted(sizes)} along dimension 0"
        )
    return tensors


def _out_of_autocast(tensor: object, model: nn.Module | ExportedProgram) -> object:
    """Under autocast, where tensors of several types meet, a tensor in the model's own."""
    if not isinstance(tensor, Tensor) or not autocast.is_on(tensor.device.type):
        return tensor
    parameter = first_parameter(model)
    if parameter is None or not tensor.is_floating_point():
        return tensor
    return tensor.to(parameter.dtype)


def _check_tensor(tensor: object, name: str, model: nn.Module | ExportedProgram) -> None:
    if not isinstance(tensor, Tensor):
        raise InvalidTypeError(f"{name} must be a torch tensor; got {type(tensor).__name__}")
    if not tensor.is_floating_point():
        raise InvalidTypeError(
            f"{name} must be a floating-point tensor; got {tensor.dtype} "
            "(scale it as the model was trained)"
        )
    if tensor.dim() == 0 or tensor.shape[0] == 0:
        raise InvalidInputError(
            f"{name} must hold at least one example, shape (N, ...) with N >= 1; "
            f"got {tuple(tensor.shape)}"
        )
    parameter = first_parameter(model)
    if parameter is not None and parameter.dtype != tensor.dtype:
        raise InvalidTypeError(
            f"{name} must have the model's dtype {parameter.dtype}; got {tensor.dtype}"
        )
    if parameter is not None and parameter.device != tensor.device:
        raise InvalidInputError(
            f"{name} must be on the model's device {parameter.device}; got {tensor.device}"
        )
    if not torch.isfinite(tensor).all():
        bad = (~torch.isfinite(tensor)).sum().item()
        raise InvalidInputError(f"{name} must be finite; {bad} of its values are NaN or infinite")


def first_parameter(model: nn.Module | ExportedProgram) -> Tensor | None:
    """A floating-point parameter that shows the model's dtype and device, if it has any."""
    with WEIGHTS:
        parameters = (
            model.parameters() if isinstance(model, nn.Module) else iter(model.state_dict.values())
        )
        return next((p for p in parameters if p.is_floating_point()), None)


def seeds(target: Target, output: Tensor) -> tuple[list[Tensor], bool]:
    """For each target of an example a tensor of the output's shape: 1 at the target, 0 elsewhere.

    Also whether there are many targets: given as a tensor of shape (N, T), or as a list of N lists.
    """
    target = target(output) if callable(target) else target
    if isinstance(target, Tensor) and target.dim() == 2:
        target = target.tolist()
    if not (isinstance(target, list) and target and all(isinstance(t, list) for t in target)):
        return [one_hot(target, output)], False
    counts = {len(t) for t in target}
    if len(counts) > 1 or 0 in counts:
        raise InvalidInputError(
            f"every example must have as many targets as the others; got {sorted(counts)}"
        )
    return [one_hot(list(column), output) for column in zip(*target, strict=True)], True


def count_targets(target: Target) -> int:
    """How many targets an example has."""
    if isinstance(target, Tensor) and target.dim() == 2:
        return max(1, target.shape[1])
    first = target[0] if isinstance(target, list) and target else None
    return max(1, len(first)) if isinstance(first, list) else 1


def one_hot(target: Target, output: Tensor) -> Tensor:
    """A tensor of the output's shape: 1 at each example's target, 0 elsewhere.

    Target kinds are captum's: None for outputs with one element an example; an int or a tuple of
    ints, the same for every example; a tensor or list of N ints; a list of N tuples. Besides: what
    makes one of these of the output.
    """
    target = target(output) if callable(target) else target
    n, rest = output.shape[0], tuple(output.shape[1:])
    seed = torch.zeros_like(output)
    if target is None:
        if output.numel() != n:
            raise InvalidInputError(
                "target must say which of the model's outputs to explain, as its output has shape "
                f"{tuple(output.shape)}"
            )
        return torch.ones_like(output)
    places = [(k, *_checked(i, rest, output)) for k, i in enumerate(_indices(target, n))]
    # One write for the batch: on a GPU every write is a kernel of its own.
    seed[torch.tensor(places, device=seed.device).unbind(1)] = 1
    return seed


def _checked(index: tuple[int, ...], rest: tuple[int, ...], output: Tensor) -> tuple[int, ...]:
    if len(index) != len(rest):
        raise InvalidInputError(
            f"a target must have one index for each of the output's dimensions {rest} after "
            f"the batch; got {index}"
        )
    for i, size in zip(index, rest, strict=True):
        if not -size <= i < size:
            raise InvalidInputError(
                f"target {index if len(index) > 1 else i} is out of range: "
                f"the model's output has shape {tuple(output.shape)}"
            )
    return index


def _indices(target: Any, n: int) -> list[tuple[int, ...]]:
    """For each of n examples, the index of its target."""
    if isinstance(target, Tensor):
        if target.is_floating_point() or target.dim() > 1:
            raise InvalidInputError(
                "a target tensor must hold integers, shape (N,); "
                f"got {target.dtype} {tuple(target.shape)}"
            )
        target = target.tolist() if target.dim() == 1 else int(target)
    if isinstance(target, bool) or not isinstance(target, (int, tuple, list)):
        raise InvalidTypeError(
            "target must be an int, a tuple of ints, a tensor, a list or None; "
            f"got {type(target).__name__}"
        )
    each = [target] * n if isinstance(target, (int, tuple)) else target
    if len(each) == 1:
        each = list(each) * n
    if len(each) != n:
        raise InvalidInputError(
            f"a list of targets must have one for each of {n} examples; got {len(each)}"
        )
    indices = [(index,) if isinstance(index, int) else tuple(index) for index in each]
    if not all(isinstance(i, int) for index in indices for i in index):
        raise InvalidTypeError(f"targets must be ints or tuples of ints; got {target!r}")
    return indices
