"""What captum's targets and neuron selectors select, and so what is sent back from where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from relprop.attribution.explanation import Tensors
from relprop.compat.captum.arguments import Target
from relprop.compat.captum.errors import MisuseError, OutOfRangeError

NeuronSelector = int | tuple[int | slice, ...] | Callable[[Any], Tensor]


def target_seed(target: Target, output: Tensor) -> Tensor:
    """A tensor of the output's shape: 1 at each example's target, 0 elsewhere.

    An index may leave out last dimensions in which there is one element only.
    """
    if isinstance(target, Tensor) and target.numel() == 1 and not target.is_floating_point():
        target = int(target)
    if target is None or isinstance(target, (int, tuple)):
        index = () if target is None else target if isinstance(target, tuple) else (target,)
        return _require_single(_marked(index, output))
    if isinstance(target, Tensor):
        if target.dim() != 1 or target.is_floating_point():
            raise MisuseError(
                "a target tensor must hold integers, one for each example; got "
                f"{target.dtype} {tuple(target.shape)}"
            )
        target = [int(index) for index in target]
    if not isinstance(target, list):
        raise MisuseError(
            f"target must be an int, a tuple, a tensor, a list or None; got {type(target).__name__}"
        )
    return _require_single(_marked_one_by_one(target, output))


def _marked_one_by_one(target: list[Any], output: Tensor) -> Tensor:
    """Each example with an index of its own."""
    if len(target) != len(output):
        raise MisuseError(
            f"a list of targets must have one for each of {len(output)} examples; got {len(target)}"
        )
    if all(isinstance(index, int) for index in target):
        if output.dim() != 2:
            raise MisuseError(
                "a list of numbers can be the target of outputs with two dimensions only; the "
                f"output has shape {tuple(output.shape)}: give a list of tuples"
            )
        if min(target) < 0:
            raise OutOfRangeError(f"targets in a list must be 0 or more; got {min(target)}")
        target = [(index,) for index in target]
    if not all(isinstance(index, tuple) for index in target):
        raise MisuseError(f"a list of targets must hold ints, or tuples of ints; got {target!r}")
    rows = [_marked(index, row[None]) for index, row in zip(target, output, strict=True)]
    return torch.cat(rows)


def _marked(index: tuple[int | slice, ...], t: Tensor) -> Tensor:
    """1 at the index of every example, 0 elsewhere."""
    if len(index) > t.dim() - 1:
        raise MisuseError(
            f"an index must have no more than {t.dim() - 1} entries, as there are dimensions "
            f"{tuple(t.shape[1:])} after the batch; got {index}"
        )
    marked, at = torch.zeros_like(t), (slice(None), *index)
    try:
        marked[at] = 1
    except IndexError as error:
        raise OutOfRangeError(
            f"index {index} is out of range for a tensor of shape {tuple(t.shape)}"
        ) from error
    return marked


def _require_single(seed: Tensor) -> Tensor:
    """The seed, unless it marks more than one element of an example."""
    if seed[0].sum() != 1:
        raise MisuseError(
            "target must say which one of the model's outputs to explain, as its output has shape "
            f"{tuple(seed.shape)}; got an index of {int(seed[0].sum())} elements"
        )
    return seed


def neuron_seeds(selector: NeuronSelector, activations: Tensors) -> Tensors:
    """For each activation of a layer what is sent back from it, so as to explain a neuron.

    Neurons in a slice are explained in sum. A function of the activations is explained to first
    order at them.
    """
    if callable(selector):
        return _gradients(selector, activations)
    if len(activations) != 1:
        raise MisuseError(
            "a neuron can be selected by index in a layer with one tensor only; this one has "
            f"{len(activations)}: give a function that selects"
        )
    index = selector if isinstance(selector, tuple) else (selector,)
    seed = _marked(index, activations[0])
    if not any(isinstance(part, slice) for part in index) and seed[0].sum() != 1:
        raise OutOfRangeError(
            f"neuron_selector must select one neuron of {tuple(activations[0].shape[1:])}, or "
            f"have slices to select the sum of several; got {selector!r}"
        )
    return (seed,)


def _gradients(selector: Callable[[Any], Tensor], activations: Tensors) -> Tensors:
    with torch.enable_grad():
        leaves = tuple(t.detach().requires_grad_() for t in activations)
        selected = selector(leaves if len(leaves) > 1 else leaves[0])
        found = torch.autograd.grad(selected.sum(), leaves, allow_unused=True)
    pairs = zip(found, activations, strict=True)
    return tuple(torch.zeros_like(t) if g is None else g for g, t in pairs)
