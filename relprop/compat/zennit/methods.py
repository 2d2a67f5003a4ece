"""Messages that cross a model as zennit sends them: from any tensor at the output to the inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import relprop
from relprop.attribution.arguments import check_choice
from relprop.attribution.attributor import UNSUPPORTED, Attributor, Plan, name_inputs, per_example
from relprop.attribution.explanation import Tensors
from relprop.attribution.gradient import GradientMethod
from relprop.attribution.modes import explaining
from relprop.compat.zennit.assignment import (
    Assigned,
    AssignedComposite,
    RuleMap,
    crossings,
    require_covered,
)
from relprop.compat.zennit.layer import Sum
from relprop.compat.zennit.rules import Norm, ReluRule
from relprop.errors import InvalidInputError, InvalidTypeError
from relprop.graph.node import Graph, Run
from relprop.graph.outputs import Output
from relprop.graph.sweep import Sweep
from relprop.rules import lrp
from relprop.rules.lrp.composite import Composite, bounds_ratios, lrp_rules, stand_ins
from relprop.rules.lrp.relevance import LrpContext, Relevance

#: From the model's output to what is sent back from it.
Seed = Callable[[Tensor], object]


class Method(Attributor):
    """Base of the two ways of sending something back through a model."""

    model: nn.Module

    def forward(self, arguments: Sequence[Any], create_graph: bool = False) -> tuple[Plan, Run]:
        """A plan for the model's arguments, and what its forward sweep kept."""
        inputs = explained(arguments)
        others = tuple(arguments[len(inputs) :])
        _, checked = self._arguments(inputs, others or None, create_graph)
        with explaining(create_graph):
            plan = self._plan(checked)
            return plan, plan.sweep.forward(plan.constants(), name_inputs(plan.graph, checked))

    def backward(
        self, plan: Plan, run: Run, seed: Tensor, count: int, create_graph: bool = False
    ) -> Tensors:
        """What reaches the first `count` inputs when `seed` is sent back; the run is spent."""
        raise NotImplementedError

    def explain(self, x: Tensor, seed: Seed, create_graph: bool = False) -> tuple[Tensor, Tensor]:
        """The model's output, and what reaches x."""
        plan, run = self.forward((x,), create_graph)
        output = run.values[plan.graph.output]
        sent = checked_seed(seed(output), output, create_graph)
        (found,) = self.backward(plan, run, sent, 1, create_graph)
        return output, found


class RelevanceMethod(Method, relprop.LRP):
    """Relevance, by rules of LRP; what has none is crossed as by a gradient.

    Args:
        model: the model.
        rules: its rules by module.
        output, unsupported: as in `relprop.LRP`.
    """

    model: nn.Module

    def __init__(self, model: nn.Module, rules: RuleMap, output: Output, unsupported: str) -> None:
        super().__init__(
            model,
            Composite([]),
            stabilizer=_stabilizer_of_sums(rules),
            output=output,
            unsupported="gradient",
        )
        self._rules = rules
        self._uncovered = check_choice(unsupported, UNSUPPORTED, "unsupported")

    def _sweep(self, graph: Graph) -> Sweep:
        assigned = Assigned.of(graph, self.model, self._rules)
        require_covered(graph, assigned, self._uncovered)
        rules = lrp_rules(graph, AssignedComposite(graph, assigned), self.settings)
        stand_in = stand_ins(graph, rules, amount_at_output=True)
        return Sweep(graph, rules, stand_in, winograd=bounds_ratios(graph, rules))

    def backward(
        self, plan: Plan, run: Run, seed: Tensor, count: int, create_graph: bool = False
    ) -> Tensors:
        """Relevance, if it is finite; a warning if rounding ate of it."""
        graph = plan.graph
        with explaining(create_graph):
            context = LrpContext(run, graph.nonnegative, plan.sweep.stand_in)
            inputs = [run.values[name] for name in graph.inputs[:count]]
            arrived = plan.sweep.backward(context, [run], Relevance(amount=seed), done=[run])
            relevance = tuple(
                arrived[name].total(run, x) if name in arrived else torch.zeros_like(x)
                for name, x in zip(graph.inputs, inputs, strict=False)
            )
            self._check(relevance, per_example(seed.abs()))
        return tuple(R.contiguous() for R in relevance)


class ModifiedGradientMethod(Method, GradientMethod):
    """The gradient, with other ways back through ReLUs.

    Args:
        model: the model.
        rules: its rules by module.
        relu: the rule for ReLUs that are functions, if they have one.
        output: as in `relprop.Gradient`.
    """

    model: nn.Module

    def __init__(
        self, model: nn.Module, rules: RuleMap, relu: ReluRule | None, output: Output
    ) -> None:
        super().__init__(model, output=output)
        self._rules = rules
        self._relu = relu

    def _sweep(self, graph: Graph) -> Sweep:
        return Sweep(
            graph, crossings(graph, Assigned.of(graph, self.model, self._rules), self._relu)
        )

    def backward(
        self, plan: Plan, run: Run, seed: Tensor, count: int, create_graph: bool = False
    ) -> Tensors:
        """Gradients."""
        with explaining(create_graph):
            inputs = tuple(run.values[name] for name in plan.graph.inputs[:count])
            found = self._gradients(plan, run, inputs, seed, last=True)
        return tuple(m.contiguous() for m in found)


def _stabilizer_of_sums(rules: RuleMap) -> lrp.Stabilizer | None:
    """The one that a composite has for sums: additions that are no modules have it, too."""
    (rule,) = rules([("", Sum())])
    return rule.declared().division if isinstance(rule, Norm) else None


def explained(arguments: Sequence[Any]) -> Tensors:
    """The arguments that are explained: floating-point tensors, as many as come first."""
    found: list[Tensor] = []
    for argument in arguments:
        if not isinstance(argument, Tensor) or not argument.is_floating_point():
            break
        found.append(argument)
    if not found:
        kind = type(arguments[0]).__name__ if arguments else "nothing"
        raise InvalidTypeError(f"the input must be a floating-point tensor; got {kind}")
    return tuple(found)


def checked_seed(seed: object, output: Tensor, keep_graph: bool = False) -> Tensor:
    """What is sent back from the output, if it can be; detached, unless told otherwise."""
    if not isinstance(seed, Tensor):
        raise InvalidTypeError(
            "attr_output must be a tensor, or a function from the model's output to a tensor; got "
            f"{type(seed).__name__}"
        )
    if seed.shape != output.shape or seed.device != output.device:
        raise InvalidInputError(
            f"attr_output must have the shape of the model's output, {tuple(output.shape)}, and be "
            f"on its device {output.device}; got {tuple(seed.shape)} on {seed.device}"
        )
    return (seed if keep_graph else seed.detach()).to(output.dtype)
