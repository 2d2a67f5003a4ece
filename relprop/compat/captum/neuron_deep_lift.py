"""`NeuronDeepLift` and `NeuronDeepLiftShap`, as captum has them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from relprop.attribution.explanation import Tensors
from relprop.attribution.references import Baseline
from relprop.compat.captum.arguments import (
    Baselines,
    BaselineSamples,
    CustomAttribution,
    TensorOrTensors,
    as_baselines,
    as_others,
    as_samples,
    as_tensors,
    formatted,
)
from relprop.compat.captum.layers import Place
from relprop.compat.captum.method import DifferenceMethod, wrapped
from relprop.compat.captum.selection import NeuronSelector


class _NeuronDifference(DifferenceMethod):
    """Contributions of the inputs to a neuron inside the model."""

    def __init__(self, model: nn.Module, layer: nn.Module, multiply_by_inputs: bool = True) -> None:
        super().__init__(model, multiply_by_inputs, layers=True)
        self.layer = layer

    def has_convergence_delta(self) -> bool:
        """As in captum, there is none for neurons."""
        return False

    def _of_neuron(
        self,
        inputs: Tensor | Tensors,
        selector: NeuronSelector,
        baselines: tuple[Baseline, ...],
        others: tuple[Any, ...],
        of_input: bool,
        function: CustomAttribution | None,
    ) -> Any:
        """Attributions, as a tuple for a tuple of inputs."""
        place = Place(self.layer, of_input)
        compared = self._comparison.neurons(as_tensors(inputs), baselines, others, selector, place)
        found, _ = self._attributions(compared, function)
        return formatted(found, isinstance(inputs, tuple))


class NeuronDeepLift(_NeuronDifference):
    """Contributions of the inputs to a neuron inside the model, against one baseline.

    Args:
        model: the model, explained in evaluation mode.
        layer: a module of it, called once.
        multiply_by_inputs: whether attributions are `m * (x - x0)`, or the
            multipliers m.
    """

    @wrapped
    def attribute(
        self,
        inputs: TensorOrTensors,
        neuron_selector: NeuronSelector,
        baselines: Baselines = None,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
    ) -> TensorOrTensors:
        """Contributions of `inputs` to the change of a neuron against the baselines.

        Args:
            inputs, baselines, additional_forward_args, custom_attribution_func: as in
                `DeepLift.attribute`.
            neuron_selector: an int, or a tuple with an index for each dimension of the layer after
                the batch; slices in it for the sum of several neurons; or a function that takes the
                layer's activation (a tuple where there are several), shape (N, ...), and gives a
                tensor of shape (N,), which is explained to first order.
            attribute_to_neuron_input: whether the neuron is one of the layer's inputs.

        Returns:
            Attributions in the shape of `inputs`, a tuple for a tuple.

        Raises:
            MisuseError, OutOfRangeError: an argument cannot be used. InvalidInputError: the inputs
                or the layer cannot. CaptureError, UnsupportedOperatorError: the model cannot be
                explained.
        """
        found: TensorOrTensors = self._of_neuron(
            inputs,
            neuron_selector,
            as_baselines(baselines, as_tensors(inputs)),
            as_others(additional_forward_args),
            attribute_to_neuron_input,
            custom_attribution_func,
        )
        return found


class NeuronDeepLiftShap(_NeuronDifference):
    """Contributions of the inputs to a neuron, averaged over many baselines.

    Args:
        model: the model, explained in evaluation mode.
        layer: a module of it, called once.
        multiply_by_inputs: whether attributions are `m * (x - x0)`, or the
            multipliers m.
    """

    @wrapped
    def attribute(
        self,
        inputs: TensorOrTensors,
        neuron_selector: NeuronSelector,
        baselines: BaselineSamples,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
    ) -> TensorOrTensors:
        """Contributions of `inputs` to a neuron, averaged over a distribution of baselines.

        Args:
            inputs, baselines, additional_forward_args, custom_attribution_func: as in
                `DeepLiftShap.attribute`.
            neuron_selector, attribute_to_neuron_input: as in `NeuronDeepLift.attribute`.

        Returns:
            Attributions in the shape of `inputs`, a tuple for a tuple.

        Raises:
            MisuseError, OutOfRangeError: an argument cannot be used. InvalidInputError: the inputs
                or the layer cannot. CaptureError, UnsupportedOperatorError: the model cannot be
                explained.
        """
        found: TensorOrTensors = self._of_neuron(
            inputs,
            neuron_selector,
            as_samples(baselines, inputs, as_tensors(inputs)),
            as_others(additional_forward_args),
            attribute_to_neuron_input,
            custom_attribution_func,
        )
        return found
