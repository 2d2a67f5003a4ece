"""`DeepLift` and `DeepLiftShap`, as captum has them."""

from __future__ import annotations

from typing import Any, Literal, overload

from torch import Tensor, nn

from relprop.compat.captum.arguments import (
    Baselines,
    BaselineSamples,
    CustomAttribution,
    Target,
    TensorOrTensors,
    as_baselines,
    as_samples,
    as_tensors,
    formatted,
)
from relprop.compat.captum.method import DifferenceMethod, wrapped


class DeepLift(DifferenceMethod):
    """DeepLIFT with the Rescale rule; at max pools the winner takes the difference.

    Args:
        model: the model, explained in evaluation mode.
        multiply_by_inputs: whether attributions are `m * (x - x0)`, or the multipliers m.
        eps: accepted for captum's sake. Where input and baseline of an activation function agree,
            its derivative is taken, in the limit.

    Example:
        >>> attributions = DeepLift(net).attribute(images, baselines=0.5, target=3)
    """

    def __init__(
        self, model: nn.Module, multiply_by_inputs: bool = True, eps: float = 1e-10
    ) -> None:
        super().__init__(model, multiply_by_inputs, layers=False)
        self.eps = eps

    @overload
    def attribute(
        self,
        inputs: TensorOrTensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        *,
        return_convergence_delta: Literal[True],
        custom_attribution_func: CustomAttribution | None = None,
    ) -> tuple[TensorOrTensors, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: TensorOrTensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: Literal[False] = False,
        custom_attribution_func: CustomAttribution | None = None,
    ) -> TensorOrTensors: ...

    @wrapped
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
    ) -> Any:
        """Contributions of `inputs` to `f(inputs) - f(baselines)` at `target`.

        Args:
            inputs: a tensor of shape (N, ...), or a tuple of them.
            baselines: a number, a tensor of the input's shape or of one example; a tuple with one
                for each of several inputs. None for zeros.
            target: which output: an index for all examples, an int or a tuple; a list or a tensor
                with one for each. None where there is only one output.
            additional_forward_args: the model's further arguments, one or a tuple of them.
            return_convergence_delta: whether to return the error of the sum, too.
            custom_attribution_func: makes attributions of multipliers, inputs and baselines, three
                tuples; it may take the first one or two only.

        Returns:
            Attributions in the shape of `inputs`, a tuple for a tuple. With
            `return_convergence_delta` also a tensor of shape (N,): their sum minus the difference.

        Raises:
            MisuseError, OutOfRangeError: an argument cannot be used. InvalidInputError: the inputs
                cannot. CaptureError, UnsupportedOperatorError: the model cannot be explained.
        """
        found, delta = self._of_outputs(
            as_tensors(inputs),
            as_baselines(baselines, as_tensors(inputs)),
            target,
            additional_forward_args,
            custom_attribution_func,
        )
        result = formatted(found, isinstance(inputs, tuple))
        return (result, delta) if return_convergence_delta else result


class DeepLiftShap(DifferenceMethod):
    """DeepLIFT against each of many baselines, averaged (Lundberg and Lee 2017).

    Args:
        model: the model, explained in evaluation mode.
        multiply_by_inputs: whether attributions are `m * (x - x0)`, or the multipliers m.
    """

    def __init__(self, model: nn.Module, multiply_by_inputs: bool = True) -> None:
        super().__init__(model, multiply_by_inputs, layers=False)

    @overload
    def attribute(
        self,
        inputs: TensorOrTensors,
        baselines: BaselineSamples,
        target: Target = None,
        additional_forward_args: Any = None,
        *,
        return_convergence_delta: Literal[True],
        custom_attribution_func: CustomAttribution | None = None,
    ) -> tuple[TensorOrTensors, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: TensorOrTensors,
        baselines: BaselineSamples,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: Literal[False] = False,
        custom_attribution_func: CustomAttribution | None = None,
    ) -> TensorOrTensors: ...

    @wrapped
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        baselines: BaselineSamples,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
    ) -> Any:
        """Contributions of `inputs`, averaged over a distribution of baselines.

        Args:
            inputs: a tensor of shape (N, ...), or a tuple of them.
            baselines: a tensor of shape (K, ...) with K > 1, each for all examples; a tuple of
                these for a tuple of inputs; or a function, which may take `inputs`, that makes
                them.
            target, additional_forward_args, return_convergence_delta: as in `DeepLift.attribute`.
            custom_attribution_func: as in `DeepLift.attribute`; it is called once, with tensors of
                shape (N * K, ...).

        Returns:
            Attributions in the shape of `inputs`, a tuple for a tuple. With
            `return_convergence_delta` also a tensor of shape (N * K,) with the error of the sum for
            each pair: first all baselines of the first example.

        Raises:
            MisuseError, OutOfRangeError: an argument cannot be used. InvalidInputError: the inputs
                cannot. CaptureError, UnsupportedOperatorError: the model cannot be explained.
        """
        found, delta = self._of_outputs(
            as_tensors(inputs),
            as_samples(baselines, inputs, as_tensors(inputs)),
            target,
            additional_forward_args,
            custom_attribution_func,
        )
        result = formatted(found, isinstance(inputs, tuple))
        return (result, delta) if return_convergence_delta else result
