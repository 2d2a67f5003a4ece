"""DeepLIFT (Shrikumar et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from relprop.attribution.arguments import Inputs, Target, one_hot
from relprop.attribution.attributor import Attributor, name_inputs, per_example, require_finite
from relprop.baselines import BASELINES
from relprop.errors import InvalidInputError, InvalidTypeError
from relprop.graph.node import Graph
from relprop.graph.sweep import Sweep
from relprop.rules.composite import (
    ACTIVATION_RULES,
    MAX_POOL_RULES,
    choose,
    difference_rules,
)
from relprop.rules.difference import DifferenceContext

Baseline = Tensor | float | str | Callable[[Tensor], Tensor] | None
Baselines = Baseline | tuple[Baseline, ...]


class DeepLift(Attributor):
    """Contribution of every input value to the difference that an output makes to a baseline.

    Args:
        model: a module, explained in evaluation mode, or an exported program.
        rule: how activation functions are crossed: `"rescale"`.
        max_pool: how max pools are crossed: `"winner"`.
        unsupported: `"error"`, or `"gradient"` to cross operators without a rule by their gradient.

    Raises:
        InvalidInputError, InvalidTypeError: an argument is none of the above.

    Example:
        >>> contributions = DeepLift(model).attribute(images, baselines="blur", target=281)
    """

    def __init__(
        self,
        model: nn.Module | ExportedProgram,
        rule: str = "rescale",
        max_pool: str = "winner",
        *,
        unsupported: str = "error",
    ) -> None:
        super().__init__(model, unsupported=unsupported)
        choose(ACTIVATION_RULES, rule, "rule")
        choose(MAX_POOL_RULES, max_pool, "max_pool")
        self.rule, self.max_pool = rule, max_pool

    def attribute(
        self,
        inputs: Inputs,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
    ) -> Any:
        """The contributions of `inputs` to `f(inputs) - f(baselines)` at `target`.

        Args:
            inputs: a tensor of shape (N, ...) or a tuple of them, in the model's dtype.
            baselines: what to compare with: None or `"blank"` for zeros, `"blur"` for the input out
                of focus, a number, a tensor of shape (1, ...) or (N, ...), or a function of the
                input; a tuple with one for each of several inputs. A baseline common to all
                examples is run once.
            target: which output to explain: an int, a tuple for outputs of more dimensions, a
                tensor or list with one for each example; None where there is only one output.
            additional_forward_args: further positional arguments of the model, not explained.
            return_convergence_delta: whether to return the error of the sum, too.

        Returns:
            Contributions in the shape of `inputs` (a tuple for a tuple), in units of the output.
            With `return_convergence_delta` also a tensor of shape (N,): sum of contributions minus
            `f(inputs) - f(baselines)`.

        Raises:
            InvalidInputError, InvalidTypeError: inputs, baselines or target cannot be used.
            CaptureError: the model cannot be captured. UnsupportedOperatorError: it has an operator
                without a rule.
        """
        tensors, arguments = self._arguments(inputs, additional_forward_args)
        with torch.no_grad():
            references = as_baselines(baselines, tensors)
            plan = self._plan(arguments)
            graph, constants = plan.graph, plan.constants()
            others = arguments[len(tensors) :]
            references = _align(references, others, len(tensors[0]))
            x0 = plan.sweep.forward(constants, name_inputs(graph, (*references, *others)))
            x = plan.sweep.forward(constants, name_inputs(graph, arguments))
            y, y0 = x.values[graph.output], x0.values[graph.output]
            seed = one_hot(target, y)
            difference = require_finite(per_example((y - y0) * seed))
            m = plan.sweep.backward(DifferenceContext(x, x0), [x, x0], seed)
            contributions = tuple(
                m[name] * (a - a0) if name in m else torch.zeros_like(a)
                for name, a, a0 in zip(graph.inputs, tensors, references, strict=False)
            )
        result = contributions if isinstance(inputs, tuple) else contributions[0]
        if not return_convergence_delta:
            return result
        return result, sum(map(per_example, contributions)) - difference

    def _sweep(self, graph: Graph) -> Sweep:
        return Sweep(graph, difference_rules(graph, self.rule, self.max_pool))


def as_baselines(baselines: Baselines, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """For each input a baseline of its shape, with size 1 along the batch where it is common."""
    given = baselines if isinstance(baselines, tuple) else (baselines,) * len(inputs)
    if len(given) != len(inputs):
        raise InvalidInputError(
            f"baselines must be one for each of {len(inputs)} inputs; got {len(given)}"
        )
    return tuple(_baseline(baseline, x) for baseline, x in zip(given, inputs, strict=True))


def _baseline(baseline: Baseline, x: Tensor) -> Tensor:
    if isinstance(baseline, str):
        choose(BASELINES, baseline, "baselines")
    if baseline is None or (isinstance(baseline, str) and baseline == "blank"):
        return torch.zeros_like(x[:1])
    if isinstance(baseline, str):
        made: Any = BASELINES[baseline](x)
    elif isinstance(baseline, (int, float)) and not isinstance(baseline, bool):
        made = torch.full_like(x[:1], baseline)
    else:
        made = baseline(x) if callable(baseline) else baseline
    if not isinstance(made, Tensor):
        raise InvalidTypeError(
            "a baseline must be None, a number, a tensor, a function that gives a tensor, or one "
            f"of {', '.join(map(repr, BASELINES))}; got {type(made).__name__}"
        )
    if made.shape[1:] != x.shape[1:] or len(made) not in (1, len(x)):
        raise InvalidInputError(
            f"a baseline must have the input's shape {tuple(x.shape)}, or size 1 along its batch; "
            f"got {tuple(made.shape)}"
        )
    if made.dtype != x.dtype or made.device != x.device:
        raise InvalidTypeError(
            f"a baseline must be {x.dtype} on {x.device} as its input is; "
            f"got {made.dtype} on {made.device}"
        )
    if not torch.isfinite(made).all():
        raise InvalidInputError("a baseline must be finite; it has NaN or infinite values")
    return made.detach()


def _align(
    references: tuple[Tensor, ...], others: tuple[Any, ...], examples: int
) -> tuple[Tensor, ...]:
    """One batch size for all: common baselines are run once only if nothing else has a batch."""
    batched = any(isinstance(a, Tensor) and a.dim() > 0 and len(a) == examples for a in others)
    if not batched and all(len(r) == 1 for r in references):
        return references
    return tuple(r.expand(examples, *r.shape[1:]) for r in references)
