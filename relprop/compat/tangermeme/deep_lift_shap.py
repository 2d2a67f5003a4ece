"""`deep_lift_shap`: what the letters of sequences contribute, averaged over references."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from relprop.attribution.arguments import check_model, first_parameter
from relprop.attribution.deeplift import hypothetical as of_every_letter
from relprop.attribution.references import Distribution
from relprop.compat.devices import require_on
from relprop.compat.kept_plans import with_kept_plans
from relprop.compat.tangermeme.max_pools import SequenceComparison
from relprop.compat.tangermeme.references import Drawing, References, dinucleotide_shuffle
from relprop.compat.tangermeme.sequences import check_dtype, check_operators, check_sequences
from relprop.errors import InvalidInputError


class AttributionReferencesResult(NamedTuple):
    """Attributions, and the references they were made with, shape (N, K, A, L)."""

    attributions: Tensor
    references: Tensor


def deep_lift_shap(
    model: nn.Module,
    X: Tensor,
    args: Sequence[Tensor] | None = None,
    target: int = 0,
    batch_size: int = 32,
    references: References = dinucleotide_shuffle,
    n_shuffles: int = 20,
    return_references: bool = False,
    hypothetical: bool = False,
    warning_threshold: float = 0.001,
    additional_nonlinear_ops: Mapping[Any, Callable[..., Any]] | None = None,
    print_convergence_deltas: bool = False,
    raw_outputs: bool = False,
    only_warn: bool = False,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    random_state: int | None = None,
    verbose: bool = False,
) -> Tensor | AttributionReferencesResult:
    """Contributions of the letters of X to an output, by DeepLIFT's Rescale rule.

    Letter c at a position contributes `sum_a m_a (1[a = c] - x0_a)`, averaged over references x0,
    with the multipliers m of the pair of X and x0.

    Args:
        model: from sequences to outputs of shape (N, T), or (N, T, 1, ...); explained in evaluation
            mode, and left as it is.
        X: one-hot, shape (N, A, L), of any dtype.
        args: further arguments of the model, each a tensor with one entry for each sequence.
        target: the index of the output.
        batch_size: how many pairs of a sequence and a reference to sweep at once.
        references: one-hot, shape (N, K, A, L); or a function that takes X, `n` and (only if there
            is one) `random_state` and gives shape (N, n, A, L), which is called with `n=1`.
        n_shuffles: how many references of a function to take.
        return_references: whether to return them, too.
        hypothetical: whether to return what each letter would contribute, not only those there.
        warning_threshold: the least error of a pair's sum to warn of.
        additional_nonlinear_ops: rules of tangermeme's for modules: accepted, and not needed.
        print_convergence_deltas: whether to print the errors of sums.
        raw_outputs: whether to return the multipliers of every pair instead.
        only_warn: whether sequences that are not one-hot are warned of, not refused.
        dtype: None, or the model's.
        device: None, or where the model is; it is not moved.
        random_state: seed of the references; reference k is drawn with `random_state + k`.
        verbose: whether to say on stderr how far it is.

    Returns:
        Attributions on the CPU, shape (N, A, L); with `raw_outputs` multipliers, (N, K, A, L). With
        `return_references` also these.

    Raises:
        InvalidInputError, InvalidTypeError: an argument cannot be used. CaptureError: the model
            cannot be captured. UnsupportedOperatorError: it has an operator without a rule.
    """
    X = check_sequences(X, only_warn)
    check_operators(additional_nonlinear_ops)
    check_model(model)
    require_on(device, model)
    if batch_size < 1:
        raise InvalidInputError(f"batch_size must be 1 or more; got {batch_size}")
    dtype = check_dtype(dtype, model)
    drawing = Drawing.of(references, X, n_shuffles, random_state, only_warn)
    explaining = with_kept_plans(SequenceComparison, model, {})
    pairs = _Pairs(explaining, target, batch_size, device=_device(model))
    found, drawn = [], []
    for start in range(0, len(X), batch_size):
        x = X[start : start + batch_size].cpu().to(dtype)
        others = [a[start : start + batch_size].to(dtype) for a in args or ()]
        x0 = drawing.rows(x, start)
        m, deltas = pairs.multipliers(x, x0, others)
        _tell(deltas, warning_threshold, print_convergence_deltas)
        found.append(m if raw_outputs else _attributions(m, x, x0, hypothetical))
        drawn.append(x0)
        if verbose:
            print(f"{start + len(x)} of {len(X)} sequences", file=sys.stderr)
    attributions = torch.cat(found)
    if return_references:
        return AttributionReferencesResult(attributions, torch.cat(drawn))
    return attributions


@dataclass(frozen=True)
class _Pairs:
    """Sweeps of sequences beside references, at most `batch_size` pairs at once."""

    explaining: SequenceComparison
    target: int
    batch_size: int
    device: torch.device

    def multipliers(self, x: Tensor, x0: Tensor, others: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """For x, shape (n, A, L), and x0, (n, K, A, L): multipliers like x0, and deltas (n, K).

        Sequences are swept once beside K references, one after another; where there are few
        sequences, each is repeated for several references.
        """
        n, count = x0.shape[:2]
        repeats = max(g for g in range(1, count + 1) if count % g == 0 and n * g <= self.batch_size)
        samples = x0.reshape(n * repeats, count // repeats, *x.shape[1:]).to(self.device)

        def repeated(t: Tensor) -> Tensor:
            return t.repeat_interleave(repeats, 0).to(self.device)

        found, deltas = [], []
        for one in self.explaining.outputs(
            (repeated(x),),
            (Distribution(samples, per_example=True),),
            tuple(map(repeated, others)),
            self._seed,
        ):
            ((m,), (a,), (a0,)) = one.multipliers, one.inputs, one.baselines
            found.append(m.cpu())
            deltas.append((m * (a - a0)).sum((1, 2)).sub(one.difference).cpu())
        return torch.stack(found, 1).reshape(x0.shape), torch.stack(deltas, 1).reshape(n, count)

    def _seed(self, output: Tensor) -> Tensor:
        """1 at the target of each example."""
        if output.dim() < 2 or output[0, 0].numel() != 1:
            raise InvalidInputError(
                "the model must return one value for each output, shape (N, T) or (N, T, 1, ...); "
                f"got {tuple(output.shape[1:])} for each sequence: sum or slice the rest"
            )
        if not -output.shape[1] <= self.target < output.shape[1]:
            raise InvalidInputError(
                f"target {self.target} is out of range: the model has {output.shape[1]} outputs"
            )
        seed = torch.zeros_like(output)
        seed[:, self.target] = 1
        return seed


def _device(model: nn.Module) -> torch.device:
    parameter = first_parameter(model)
    return torch.device("cpu") if parameter is None else parameter.device


def _attributions(m: Tensor, x: Tensor, x0: Tensor, hypothetical: bool) -> Tensor:
    """What every letter would contribute, or only what those of x do; averaged over references."""
    flat = m.flatten(0, 1)
    (each,) = of_every_letter((flat,), (flat,), (x0.flatten(0, 1),))
    mean: Tensor = each.reshape(m.shape).mean(1)
    return mean if hypothetical else mean * x


def _tell(deltas: Tensor, threshold: float, printed: bool) -> None:
    """Of the errors of sums, those of each sequence in a row."""
    deltas = deltas.abs()
    if printed:
        print(deltas)
    if (deltas > threshold).any():
        warnings.warn(
            f"sums should be off by no more than {threshold}, but are by up to {deltas.max():.3g}: "
            "use float64, or a higher warning_threshold",
            RuntimeWarning,
            stacklevel=3,
        )
