"""`LayerDeepLift` and `LayerDeepLiftShap`, as captum has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, overload

from torch import Tensor, nn

from relprop.attribution.explanation import Tensors
from relprop.attribution.references import Baseline
from relprop.compat.captum.arguments import (
    Baselines,
    BaselineSamples,
    CustomAttribution,
    Target,
    as_baselines,
    as_others,
    as_samples,
    as_tensors,
    formatted,
)
from relprop.compat.captum.layers import Place
from relprop.compat.captum.method import DifferenceMethod, LayerMethod, wrapped
from relprop.compat.captum.selection import target_seed


class _LayerDifference(LayerMethod, DifferenceMethod):
    """Contributions of a layer's activations."""

    def __init__(self, model: nn.Module, layer: nn.Module, multiply_by_inputs: bool = True) -> None:
        super().__init__(model, multiply_by_inputs, layers=True)
        self.layer = layer

    def _at_layer(
        self,
        inputs: Tensors,
        baselines: tuple[Baseline, ...],
        target: Target,
        others: tuple[Any, ...],
        of_input: bool,
        function: CustomAttribution | None,
    ) -> tuple[Tensor | Tensors, Tensor]:
        """Attributions, as a tuple where the layer has several tensors; and deltas."""
        compared = self._comparison.outputs(
            inputs,
            baselines,
            others,
            lambda output: target_seed(target, output),
            Place(self.layer, of_input),
        )
        found, delta = self._attributions(compared, function)
        return formatted(found, len(found) > 1), delta


class LayerDeepLift(_LayerDifference):
    """Contributions of a layer's activations, against one baseline.

    Args:
        model: the model, explained in evaluation mode.
        layer: a module of it, called once.
        multiply_by_inputs: whether attributions are `m * (a - a0)` with activations a, or the
            multipliers m.
    """

    @overload
    def attribute(
        self,
        inputs: Tensor | Tensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        *,
        return_convergence_delta: Literal[True],
        attribute_to_layer_input: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
        grad_kwargs: Mapping[str, Any] | None = None,
    ) -> tuple[Tensor | Tensors, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: Tensor | Tensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: Literal[False] = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
        grad_kwargs: Mapping[str, Any] | None = None,
    ) -> Tensor | Tensors: ...

    @wrapped
    def attribute(
        self,
        inputs: Tensor | Tensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
        grad_kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Contributions of a layer's activations to `f(inputs) - f(baselines)` at `target`.

        Args:
            inputs, baselines, target, additional_forward_args, return_convergence_delta: as in
                `DeepLift.attribute`.
            attribute_to_layer_input: whether to explain by what the layer reads; else by what it
                gives.
            custom_attribution_func: as in `DeepLift.attribute`, of the layer's activations.
            grad_kwargs: accepted for captum's sake. A layer that the output does not depend on has
                attributions of 0.

        Returns:
            Attributions in the shape of the layer's activation, a tuple where there are several.
            With `return_convergence_delta` also a tensor of shape (N,).

        Raises:
            MisuseError, OutOfRangeError, InvalidInputError: an argument or the layer cannot be
                used. CaptureError, UnsupportedOperatorError: the model cannot be explained.
        """
        tensors = as_tensors(inputs)
        found = self._at_layer(
            tensors,
            as_baselines(baselines, tensors),
            target,
            as_others(additional_forward_args),
            attribute_to_layer_input,
            custom_attribution_func,
        )
        return found if return_convergence_delta else found[0]


class LayerDeepLiftShap(_LayerDifference):
    """Contributions of a layer's activations, averaged over many baselines.

    Args:
        model: the model, explained in evaluation mode.
        layer: a module of it, called once.
        multiply_by_inputs: whether attributions are `m * (a - a0)` with activations a, or the
            multipliers m.
    """

    @overload
    def attribute(
        self,
        inputs: Tensor | Tensors,
        baselines: BaselineSamples,
        target: Target = None,
        additional_forward_args: Any = None,
        *,
        return_convergence_delta: Literal[True],
        attribute_to_layer_input: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
    ) -> tuple[Tensor | Tensors, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: Tensor | Tensors,
        baselines: BaselineSamples,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: Literal[False] = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
    ) -> Tensor | Tensors: ...

    @wrapped
    def attribute(
        self,
        inputs: Tensor | Tensors,
        baselines: BaselineSamples,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
    ) -> Any:
        """Contributions of a layer's activations, averaged over a distribution of baselines.

        Args:
            inputs, baselines, target, additional_forward_args, return_convergence_delta: as in
                `DeepLiftShap.attribute`. A function for baselines is handed a tuple of inputs.
            attribute_to_layer_input: as in `LayerDeepLift.attribute`.
            custom_attribution_func: as in `DeepLiftShap.attribute`, of the layer's activations.

        Returns:
            Attributions in the shape of the layer's activation, a tuple where there are several.
            With `return_convergence_delta` also a tensor of shape (N * K,).

        Raises:
            MisuseError, OutOfRangeError: an argument cannot be used. InvalidInputError: the inputs
                or the layer cannot. CaptureError, UnsupportedOperatorError: the model cannot be
                explained.
        """
        tensors = as_tensors(inputs)
        found = self._at_layer(
            tensors,
            as_samples(baselines, tensors, tensors),
            target,
            as_others(additional_forward_args),
            attribute_to_layer_input,
            custom_attribution_func,
        )
        return found if return_convergence_delta else found[0]
