"""LRP as captum's classes need it: rules from the modules, and relevance at any layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

import relprop
from relprop.attribution.attributor import Plan, name_inputs
from relprop.attribution.explanation import Explanation, Tensors
from relprop.compat.captum.arguments import Target
from relprop.compat.captum.errors import UnsupportedLayerError
from relprop.compat.captum.layers import Place
from relprop.compat.captum.rules import PropagationRule
from relprop.compat.captum.selection import target_seed
from relprop.errors import InvalidTypeError, UnsupportedOperatorError
from relprop.graph.node import Node
from relprop.rules.lrp import Composite
from relprop.rules.lrp.composite import AnyRule
from relprop.rules.lrp.relevance import LrpContext

#: For modules by their paths, the rules that were set on them.
Declared = tuple[tuple[str, tuple[AnyRule, ...]], ...]


def declared_rules(model: nn.Module) -> Declared:
    """The rules that are set on modules without children, as `module.rule`."""
    found = []
    for path, module in model.named_modules():
        rule = getattr(module, "rule", None)
        if rule is None:
            continue
        if not isinstance(rule, PropagationRule):
            raise InvalidTypeError(
                f"the rule of module {path!r} must be one of those in relprop.compat.captum, such "
                f"as EpsilonRule(); got {type(rule).__module__}.{type(rule).__name__}"
            )
        if not any(module.children()):
            found.append((path, rule.declared()))
    return tuple(found)


class Propagation(relprop.LRP):
    """relprop's LRP with rules by module, and captum's defaults: epsilon, and biases absorb.

    Args:
        model: the model.
        declared: the rules of modules.
        layers: whether inner layers are asked for.
    """

    model: nn.Module

    def __init__(self, model: nn.Module, declared: Declared, layers: bool) -> None:
        pairs = [(_within(path), rule) for path, rules in declared for rule in rules]
        factor = PropagationRule.STABILITY_FACTOR
        super().__init__(model, Composite(pairs), bias="absorb", epsilon=factor, stabilizer=factor)
        self.simplified = not (declared or layers)

    def explain(
        self,
        inputs: Tensors,
        target: Target,
        others: tuple[Any, ...],
        places: Sequence[Place] = (),
    ) -> tuple[Explanation, list[Tensors]]:
        """Relevance of the inputs, and at some layers."""
        tensors, arguments = self._arguments(inputs, others)
        with torch.no_grad():
            plan = self._supported_plan(arguments)
            values = [place.values(plan.graph, self.model) for place in places]
            watched = {value: value for each in values for value in each}
            sweep = plan.keeping(watched)
            run = sweep.forward(plan.constants(), name_inputs(plan.graph, arguments))
            seed = target_seed(target, run.values[plan.graph.output])
            context = LrpContext(run, plan.graph.nonnegative, sweep.stand_in)
            found = self._explanation(sweep, context, tensors, seed, watched, last=True)
        return found, [tuple(found.layers[value] for value in each) for each in values]

    def applied(self, inputs: Tensors, others: tuple[Any, ...]) -> Iterator[str]:
        """For every module with a rule of its own, a line that says which."""
        _, arguments = self._arguments(inputs, others)
        with torch.no_grad():
            plan = self._supported_plan(arguments)
        modules = dict(self.model.named_modules())
        for node, rule in plan.makers.values():
            where = modules.get(node.where.module)
            leaf = where is not None and not any(where.children())
            yield f"Applied {rule.name} on layer {where if leaf else node.label}"

    def _supported_plan(self, arguments: Sequence[Any]) -> Plan:
        try:
            return self._plan(arguments)
        except UnsupportedOperatorError as error:
            raise UnsupportedLayerError(str(error)) from error


def _within(path: str) -> Callable[[Node], bool]:
    """Whether a node is a step of the module at a path."""
    return lambda node: node.where.module == path
