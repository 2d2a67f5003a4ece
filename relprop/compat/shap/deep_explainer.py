"""`DeepExplainer`: DeepLIFT's contributions, averaged over a background data set."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import relprop
from relprop.attribution.arguments import unwrapped
from relprop.attribution.references import Distribution
from relprop.compat.arrays import Array, like_model
from relprop.compat.shap.ranking import ranked
from relprop.errors import (
    InvalidInputError,
    InvalidTypeError,
    MissingPackageError,
    NumericalError,
)
from relprop.graph.capture import evaluating

Inputs = Tensor | Array | list[Tensor] | list[Array]
#: How much of the inputs is explained at a time; activations may take fifty times as much.
BLOCK_BYTES = 2**24
#: How far sums may be off, as a share of the difference, or of 1 where this is less.
TOLERANCE = 0.01


class AdditivityError(NumericalError, AssertionError):
    """SHAP values do not sum to the difference that they explain."""


class DeepExplainer:
    """SHAP values of a network, approximated by DeepLIFT (Lundberg and Lee 2017, sec. 4.2).

    `phi_i = mean_k m_i(x, x0_k) (x_i - x0_ki)`, with the multipliers of the Rescale rule against
    each of K background examples; so that `sum_i phi_i = f(x) - mean_k f(x0_k)`.

    Args:
        model: a module with outputs of shape (N, T), explained in evaluation mode and left as it
            is; or a pair of it and one of its modules, to explain what that module reads.
        data: the background, shape (K, ...); a list with one for each of several inputs.

    Attributes:
        expected_value: the mean output over the background, shape (T,).

    Raises:
        InvalidInputError, InvalidTypeError: the model or its outputs cannot be used.

    Example:
        >>> explainer = DeepExplainer(model, background)
        >>> shap.plots.waterfall(explainer(x)[0, :, 2])
    """

    def __init__(self, model: nn.Module | tuple[nn.Module, nn.Module], data: Inputs) -> None:
        whole, layer = model if isinstance(model, tuple) else (model, None)
        if not isinstance(whole, nn.Module):
            raise InvalidTypeError(
                "model must be a torch.nn.Module, or a pair of one and a module in it; "
                f"got {type(whole).__name__}"
            )
        self.model = unwrapped(whole)
        self.data = data
        self.multi_input = isinstance(data, list)
        self._background = self._tensors(data)
        self._deep_lift = relprop.DeepLift(self.model)
        self._layer: str | None = None
        if layer is not None:
            self._layer = f"{_path(self.model, layer)}:input"
            self._deep_lift.simplified = False  # so that every module's input is in the graph
        self.expected_value: Array = _numbers(self._outputs(self._background).mean(0))

    def __call__(self, X: Inputs) -> Any:
        """Explain all outputs for X, in the form that shap's plots take.

        Args:
            X: as in `shap_values`.

        Returns:
            A `shap.Explanation` with values of shape (N, ..., T), base values of shape (N, T), and
            X; a list with one for each of several inputs. `explanation[..., 0]` is for one output.

        Raises:
            MissingPackageError: shap is not installed. Besides, what `shap_values` raises.
        """
        explanation = _shap().Explanation
        values = self.shap_values(X)
        x = self._tensors(X)
        base = np.tile(self.expected_value, (len(x[0]), 1))
        if self._layer is not None:
            return explanation(values=values, base_values=base)
        found = [
            explanation(
                values=value, base_values=base, data=_numbers(one), feature_names=_names(one)
            )
            for value, one in zip(values if self.multi_input else [values], x, strict=True)
        ]
        return found if self.multi_input else found[0]

    def shap_values(
        self,
        X: Inputs,
        ranked_outputs: int | None = None,
        output_rank_order: str = "max",
        check_additivity: bool = True,
    ) -> Any:
        """SHAP values of X for all outputs, or for the foremost of each example.

        Args:
            X: shape (N, ...), a tensor or an array; a list where `data` is one.
            ranked_outputs: how many outputs to explain for each example; None for all.
            output_rank_order: which are foremost: `"max"`, `"min"` or `"max_abs"`.
            check_additivity: whether to raise an error if sums are off by 1 % of what they explain.

        Returns:
            An array of shape (N, ..., T), float64; a list for several inputs. With
            `ranked_outputs` a pair: the values, their last dimension by rank, and a tensor of shape
            (N, R) that says which outputs they are for.

        Raises:
            InvalidInputError, InvalidTypeError: an argument cannot be used. CaptureError,
                UnsupportedOperatorError: the model cannot be explained. AdditivityError: see above.
        """
        x = self._tensors(X)
        targets = ranked(self._outputs(x), ranked_outputs, output_rank_order)
        row = sum(t[0].nbytes for t in x)
        block = max(1, BLOCK_BYTES // max(1, row))
        parts = [
            self._explained(
                tuple(t[i : i + block] for t in x), targets[i : i + block], check_additivity
            )
            for i in range(0, len(x[0]), block)
        ]
        joined = [np.concatenate(of_an_input) for of_an_input in zip(*parts, strict=True)]
        values = joined if self.multi_input and self._layer is None else joined[0]
        return values if ranked_outputs is None else (values, targets.cpu())

    def _explained(
        self, x: tuple[Tensor, ...], targets: Tensor, check_additivity: bool
    ) -> list[Array]:
        """For each input, or for the layer, values of shape (n, ..., R)."""
        found, delta, *layers = self._deep_lift.attribute(
            x,
            tuple(map(Distribution, self._background)),
            targets,
            return_convergence_delta=True,
            layers=None if self._layer is None else [self._layer],
        )
        if check_additivity:
            _check(delta, sum(t.flatten(2).sum(2) for t in found))
        wanted = list(layers[0].values()) if layers else found
        return [_numbers(t.movedim(1, -1)).astype(np.float64) for t in wanted]

    def _tensors(self, given: object) -> tuple[Tensor, ...]:
        """Inputs in the model's dtype and where it is."""
        if isinstance(given, list) != self.multi_input:
            raise InvalidTypeError(
                f"X must be {'a list of inputs' if self.multi_input else 'one input'}, as data is; "
                f"got {type(given).__name__}"
            )
        each: Sequence[Any] = given if isinstance(given, list) else [given]
        tensors = tuple(like_model(one, self.model) for one in each)
        for one in tensors:
            if not isinstance(one, Tensor) or one.dim() < 2 or len(one) == 0:
                came = tuple(one.shape) if isinstance(one, Tensor) else type(one).__name__
                raise InvalidInputError(
                    "each input must be a tensor or an array of one example or more, shape "
                    f"(N, ...); got {came}"
                )
        return tensors

    def _outputs(self, x: tuple[Tensor, ...]) -> Tensor:
        with evaluating(self.model), torch.no_grad():
            outputs: Tensor = self.model(*x)
        if not isinstance(outputs, Tensor) or outputs.dim() != 2:
            came = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise InvalidInputError(f"the model must return one tensor of shape (N, T); got {came}")
        return outputs


def _path(model: nn.Module, layer: nn.Module) -> str:
    for path, module in model.named_modules():
        if module is layer:
            return str(path)
    raise InvalidInputError(f"the layer must be a module of the model; {layer} is none of them")


def _numbers(t: Tensor) -> Array:
    t = t.float() if t.dtype == torch.bfloat16 else t  # numpy has none
    made: Array = t.numpy(force=True)
    return made


def _names(x: Tensor) -> list[str] | None:
    """Names for the columns of a table: some of shap's plots do without none."""
    return [f"Feature {i}" for i in range(x.shape[1])] if x.dim() == 2 else None


def _check(delta: Tensor, sums: Tensor) -> None:
    bound = TOLERANCE * (sums - delta).abs().clamp(min=1)
    if not (delta.abs() <= bound).all():
        raise AdditivityError(
            "SHAP values must sum to the difference between the output and its mean over the "
            f"background; they are off by up to {delta.abs().max():.3g}: use float64"
        )


def _shap() -> Any:
    try:
        return importlib.import_module("shap")
    except ImportError as fault:
        raise MissingPackageError(
            f"an Explanation takes shap, which cannot be imported ({fault}): pip install shap; "
            "shap_values does without"
        ) from None
