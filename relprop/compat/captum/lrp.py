"""`LRP`, as captum has it."""

from __future__ import annotations

from typing import Any, Literal, overload

from torch import Tensor, nn

from relprop.attribution.arguments import unwrapped
from relprop.attribution.explanation import Tensors
from relprop.compat.captum.arguments import (
    Target,
    TensorOrTensors,
    as_others,
    as_tensors,
    formatted,
    sum_of,
)
from relprop.compat.captum.method import Method, wrapped
from relprop.compat.captum.propagation import Declared, Propagation, declared_rules


class PropagationMethod(Method):
    """LRP with rules that are set on modules as `module.rule`, and stay there.

    Args:
        model: the model, explained in evaluation mode. Layers without a rule have the epsilon rule
            with 1e-9, activation functions hand relevance down, and max pools to the winner.
        layers: whether inner layers are asked for.

    Raises:
        InvalidTypeError: a module's rule is none of those in `relprop.compat.captum`.
    """

    def __init__(self, model: nn.Module, layers: bool) -> None:
        super().__init__(model)
        self._layers = layers
        self._propagations: dict[Declared, Propagation] = {}
        declared_rules(model)

    def compute_convergence_delta(self, attributions: Tensor | Tensors, output: Tensor) -> Tensor:
        """For each example the output minus the sum of relevance.

        Args:
            attributions: relevance of inputs or of a layer, shape (N, ...), or a tuple.
            output: the score that was explained, one for each example.

        Returns:
            A tensor of shape (N,).
        """
        return output.flatten() - sum_of(as_tensors(attributions))

    def _propagation(self) -> Propagation:
        """What goes with the rules as they are set now."""
        model = unwrapped(self.model)
        declared = declared_rules(model)
        if declared not in self._propagations:
            self._propagations[declared] = Propagation(model, declared, self._layers)
        return self._propagations[declared]


class LRP(PropagationMethod):
    """Layer-wise relevance propagation: `sum R = f(x)`, but for what biases absorb.

    Args:
        model: the model, explained in evaluation mode. A rule may be set on a module without
            children as `module.rule`; others have the epsilon rule with 1e-9.

    Raises:
        InvalidTypeError: a module's rule is none of those in `relprop.compat.captum`.

    Example:
        >>> net.conv1.rule = GammaRule(0.25)
        >>> relevance = LRP(net).attribute(images, target=5)
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, layers=False)

    @overload
    def attribute(
        self,
        inputs: TensorOrTensors,
        target: Target = None,
        additional_forward_args: Any = None,
        *,
        return_convergence_delta: Literal[True],
        verbose: bool = False,
    ) -> tuple[TensorOrTensors, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: TensorOrTensors,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: Literal[False] = False,
        verbose: bool = False,
    ) -> TensorOrTensors: ...

    @wrapped
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        verbose: bool = False,
    ) -> Any:
        """The relevance of `inputs` for the model's output at `target`.

        Args:
            inputs: a tensor of shape (N, ...), or a tuple of them.
            target: which output: an index for all examples, an int or a tuple; a list or a tensor
                with one for each. None where there is only one output.
            additional_forward_args: the model's further arguments, one or a tuple of them.
            return_convergence_delta: whether to return what is missing from the sum, too.
            verbose: whether to print which rule is applied to which layer.

        Returns:
            Relevance in the shape of `inputs`, a tuple for a tuple, in units of the output. With
            `return_convergence_delta` also a tensor of shape (N,): output minus sum.

        Raises:
            MisuseError, OutOfRangeError: an argument cannot be used. InvalidInputError: the inputs
                cannot. InvalidTypeError: a rule cannot. CaptureError, UnsupportedLayerError: the
                model cannot be explained.
        """
        tensors, others = as_tensors(inputs), as_others(additional_forward_args)
        propagation = self._propagation()
        if verbose:
            print(*propagation.applied(tensors, others), sep="\n")
        found, _ = propagation.explain(tensors, target, others)
        result = formatted(found.inputs, isinstance(inputs, tuple))
        return (result, found.delta) if return_convergence_delta else result
