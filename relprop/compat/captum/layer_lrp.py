"""`LayerLRP`, as captum has it."""

from __future__ import annotations

from typing import Any, Literal, overload

from torch import Tensor, nn

from relprop.attribution.explanation import Tensors
from relprop.compat.captum.arguments import (
    Target,
    as_others,
    as_tensors,
    formatted,
    sum_of,
)
from relprop.compat.captum.layers import Place
from relprop.compat.captum.lrp import PropagationMethod
from relprop.compat.captum.method import LayerMethod, wrapped

LayerRelevance = Tensor | Tensors | list[Tensor | Tensors]


class LayerLRP(LayerMethod, PropagationMethod):
    """Relevance of the activations of layers.

    Args:
        model: as in `LRP`.
        layer: a module of it, called once; or a list of them.

    Raises:
        InvalidTypeError: a module's rule is none of those in `relprop.compat.captum`.
    """

    def __init__(self, model: nn.Module, layer: nn.Module | list[nn.Module]) -> None:
        super().__init__(model, layers=True)
        self.layer = layer

    @overload
    def attribute(
        self,
        inputs: Tensor | Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        *,
        return_convergence_delta: Literal[True],
        attribute_to_layer_input: bool = False,
        verbose: bool = False,
    ) -> tuple[LayerRelevance, Tensor | list[Tensor]]: ...

    @overload
    def attribute(
        self,
        inputs: Tensor | Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: Literal[False] = False,
        attribute_to_layer_input: bool = False,
        verbose: bool = False,
    ) -> LayerRelevance: ...

    @wrapped
    def attribute(
        self,
        inputs: Tensor | Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        verbose: bool = False,
    ) -> Any:
        """The relevance of a layer's activations for the model's output at `target`.

        Args:
            inputs, target, additional_forward_args, return_convergence_delta, verbose: as in
                `LRP.attribute`.
            attribute_to_layer_input: whether to give the relevance of what the layer reads; else of
                what it gives.

        Returns:
            Relevance in the shape of the layer's activation, a tuple where there are several; a
            list of these for a list of layers. With `return_convergence_delta` also a tensor of
            shape (N,), output minus sum; a list of these for a list of layers.

        Raises:
            MisuseError, OutOfRangeError: an argument cannot be used. InvalidInputError: the inputs
                or a layer cannot. InvalidTypeError: a rule cannot. CaptureError,
                UnsupportedLayerError: the model cannot be explained.
        """
        tensors, others = as_tensors(inputs), as_others(additional_forward_args)
        propagation = self._propagation()
        if verbose:
            print(*propagation.applied(tensors, others), sep="\n")
        layers = self.layer if isinstance(self.layer, list) else [self.layer]
        places = [Place(layer, attribute_to_layer_input) for layer in layers]
        found, relevance = propagation.explain(tensors, target, others, places)
        score = found.delta + sum_of(found.inputs)
        results = [formatted(R, len(R) > 1) for R in relevance]
        deltas = [score - sum_of(R) for R in relevance]
        if isinstance(self.layer, list):
            return (results, deltas) if return_convergence_delta else results
        return (results[0], deltas[0]) if return_convergence_delta else results[0]
