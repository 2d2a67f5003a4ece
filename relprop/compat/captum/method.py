"""What captum's attribution classes have in common besides `attribute`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relprop.attribution.explanation import Tensors
from relprop.attribution.references import Baseline
from relprop.compat.captum.arguments import (
    Baselines,
    CustomAttribution,
    Target,
    as_baselines,
    as_others,
    as_tensors,
    call_custom,
    sum_of,
)
from relprop.compat.captum.comparison import Compared, Comparison
from relprop.compat.captum.selection import target_seed

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


def wrapped(attribute: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """`attribute` inside another function: captum's `NoiseTunnel` calls its `__wrapped__`."""

    @functools.wraps(attribute)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        return attribute(*args, **kwargs)

    return call


class Method:
    """A model, under captum's names for it."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.forward_func = model

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether attributions are contributions: multipliers times inputs."""
        return True

    def has_convergence_delta(self) -> bool:
        """Whether `attribute` can return a convergence delta."""
        return True

    def attribute_future(self) -> None:
        """There are no futures of these methods, in captum either."""
        raise NotImplementedError(f"attribute_future is not implemented for {self.get_name()}")

    @classmethod
    def get_name(cls) -> str:
        """The class's name in words."""
        name = cls.__name__
        return name[0] + "".join(c if c.islower() else f" {c}" for c in name[1:])


class LayerMethod:
    """What classes for layers offer besides."""

    @staticmethod
    def interpolate(
        layer_attribution: Tensor,
        interpolate_dims: int | tuple[int, ...],
        interpolate_mode: str = "nearest",
    ) -> Tensor:
        """A layer's attributions, of shape (N, C, ...), in the size of an input.

        Args:
            layer_attribution: the attributions.
            interpolate_dims: the size wanted, of one or of all dimensions after the channels.
            interpolate_mode: one of those of `torch.nn.functional.interpolate`.
        """
        size: Any = interpolate_dims
        return F.interpolate(layer_attribution, size, mode=interpolate_mode)


class DifferenceMethod(Method):
    """A method that compares with baselines."""

    def __init__(self, model: nn.Module, multiply_by_inputs: bool, layers: bool) -> None:
        super().__init__(model)
        self._multiply_by_inputs = multiply_by_inputs
        self._comparison = Comparison(model, layers)

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether attributions are contributions; else they are multipliers."""
        return self._multiply_by_inputs

    def compute_convergence_delta(
        self,
        attributions: Tensor | Tensors,
        start_point: Baselines,
        end_point: Tensor | Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
    ) -> Tensor:
        """For each example, the sum of attributions minus `f(end_point) - f(start_point)`.

        Args:
            attributions: of as many examples as `end_point`, for inputs or a layer.
            start_point: the baselines, as `DeepLift.attribute` takes them.
            end_point: the inputs.
            target, additional_forward_args: as in `attribute`.

        Returns:
            A tensor of shape (N,).

        Raises:
            MisuseError, OutOfRangeError: an argument cannot be used.
        """
        ends = as_tensors(end_point)
        starts = as_baselines(start_point, ends)
        (compared,) = self._compared(ends, starts, target, additional_forward_args)
        return sum_of(as_tensors(attributions)) - compared.difference

    def _compared(
        self, inputs: Tensors, baselines: tuple[Baseline, ...], target: Target, others: Any
    ) -> Iterable[Compared]:
        """The outputs at `target` against each baseline."""
        return self._comparison.outputs(
            inputs, baselines, as_others(others), lambda output: target_seed(target, output)
        )

    def _of_outputs(
        self,
        inputs: Tensors,
        baselines: tuple[Baseline, ...],
        target: Target,
        others: Any,
        function: CustomAttribution | None,
    ) -> tuple[Tensors, Tensor]:
        """Attributions to the inputs, and deltas: see `_attributions`."""
        return self._attributions(self._compared(inputs, baselines, target, others), function)

    def _attributions(
        self, compared: Iterable[Compared], function: CustomAttribution | None
    ) -> tuple[Tensors, Tensor]:
        """Attributions, averaged over the baselines; and deltas of shape (N * K,).

        Deltas of one example's K baselines follow one another.
        """
        if function is not None:
            return _by_function(list(compared), function)
        sums: Tensors = ()
        deltas: list[Tensor] = []
        for one in compared:
            found = one.multipliers
            if self.multiplies_by_inputs:
                ends = zip(found, one.inputs, one.baselines, strict=True)
                found = tuple(m * (x - x0) for m, x, x0 in ends)
            sums = tuple(map(torch.add, sums, found)) if sums else found
            deltas.append(sum_of(found) - one.difference)
        return tuple(t / len(deltas) for t in sums), torch.stack(deltas, 1).flatten()


def _by_function(compared: list[Compared], function: CustomAttribution) -> tuple[Tensors, Tensor]:
    """A user's function is called once, with all N * K pairs of an input and a baseline."""

    def paired(each: Iterable[Tensors], like: Tensors) -> Tensors:
        by_value = zip(*each, strict=True)
        return tuple(
            torch.stack([t.expand_as(x) for t in ts], 1).flatten(0, 1)
            for ts, x in zip(by_value, like, strict=True)
        )

    inputs, count = compared[0].inputs, len(compared)
    found = call_custom(
        function,
        paired((one.multipliers for one in compared), inputs),
        paired((one.inputs for one in compared), inputs),
        paired((one.baselines for one in compared), inputs),
    )
    differences = torch.stack([one.difference for one in compared], 1).flatten()
    means = tuple(t.reshape(-1, count, *t.shape[1:]).mean(1) for t in found)
    return means, sum_of(found) - differences
