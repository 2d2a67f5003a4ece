"""Which step of a model's graph has which rule, from zennit's map of modules to rules.

A step belongs to the module that makes it. There are four cases:

* the module has a rule: that rule;
* it has none, and is one of torch's layers: the gradient, as in zennit;
* it is a module of the user's own, which calls functions that zennit cannot see: relprop's default
  where relevance is propagated, otherwise the gradient;
* such a function is an operator without a default: an error, unless the user chose its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from relprop.compat.zennit.crossings import Differentiated, PassThrough
from relprop.compat.zennit.rules import Hook, Pass, RelevanceRule, ReluRule
from relprop.errors import InvalidInputError
from relprop.graph.linear import Rearrange
from relprop.graph.node import Graph, Node, Value, is_scalar
from relprop.graph.nonlinear import Activation, AdaptiveMaxPool, Cat, MaxPool, Opaque
from relprop.rules.gradient import RELUS, GradientRule, Slope, gradient_rules
from relprop.rules.lrp import structure
from relprop.rules.lrp.composite import AnyRule, Composite, default_rule
from relprop.rules.lrp.selectors import Places
from relprop.rules.support import Rule, require_supported

Named = Sequence[tuple[str, nn.Module]]
#: From a model's modules by their names to the rule for each of them, None where there is none.
RuleMap = Callable[[Named], list[Hook | None]]
#: What relevance crosses by default just as its gradient would.
ALIKE = (Rearrange, MaxPool, AdaptiveMaxPool, Cat)


@dataclass(frozen=True)
class Assigned:
    """The rules of a model's modules, as its graph has them.

    Attributes:
        rules, modules: by all names that a module has.
        in_steps: the names of those that take several steps in a call.
    """

    rules: dict[str, Hook | None]
    modules: dict[str, nn.Module]
    in_steps: frozenset[str]

    @classmethod
    def of(cls, graph: Graph, model: nn.Module, rules: RuleMap) -> Assigned:
        """What a rule map says of modules in the order of their calls.

        Raises:
            InvalidInputError: a rule is not for what its module computes, or for several modules.
        """
        named = _in_order_of_calls(graph, model)
        made = {id(module): rule for (_, module), rule in zip(named, rules(named), strict=True)}
        modules = dict(model.named_modules(remove_duplicate=False))
        steps = _steps(graph)
        assigned = cls(
            {path: made[id(module)] for path, module in modules.items()},
            modules,
            frozenset(path for path in steps if len(steps[path]) > len(graph.layers.get(path, ()))),
        )
        for path, nodes in steps.items():
            assigned._require_fitting(path, nodes)
        for path in graph.layers:
            assigned._require_leaf(path)
        return assigned

    def __getitem__(self, node: Node) -> Hook | None:
        """The rule of the node's module."""
        return self.rules.get(node.where.module)

    def is_layer(self, node: Node) -> bool:
        """Whether the node's module is a layer of torch's."""
        module = self.modules[node.where.module]
        own = any(
            kind.__module__.startswith("torch.nn.modules") and kind is not nn.Module
            for kind in type(module).__mro__
        )
        return own and not any(module.children())

    def _require_leaf(self, path: str) -> None:
        """Raise if a module has a rule, and modules in it."""
        rule, module = self.rules.get(path), self.modules.get(path)
        if rule is not None and module is not None and any(module.children()):
            raise InvalidInputError(
                f"a rule must be for a module without modules in it; got {type(rule).__name__} for "
                f"{path!r}, a {type(module).__name__}: give those in it rules of their own"
            )

    def _require_fitting(self, path: str, nodes: Sequence[Node]) -> None:
        """Raise if a module's rule is not for its steps."""
        rule = self.rules.get(path)
        if rule is None or isinstance(rule, Pass) or all(fits(rule, node) for node in nodes):
            return
        labels = ", ".join(dict.fromkeys(repr(node.label) for node in nodes))
        raise InvalidInputError(
            f"a rule must fit the module that it is for; got {type(rule).__name__} for module "
            f"{path!r}, a {type(self.modules[path]).__name__} that computes {labels}"
        )


def _steps(graph: Graph) -> dict[str, list[Node]]:
    """What every module computes, but for views, by the module's name."""
    found: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if not is_scalar(node) and not isinstance(node, Rearrange):
            found.setdefault(node.where.module, []).append(node)
    return found


def fits(rule: Hook, node: Node) -> bool:
    """Whether a rule is for such a step."""
    if isinstance(rule, RelevanceRule):
        return rule.declared().fits(node)
    return isinstance(rule, ReluRule) and isinstance(node, Activation)


def _in_order_of_calls(graph: Graph, model: nn.Module) -> Named:
    """Modules by their first step; one that has none stays behind the one it is listed after."""
    first: dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        path = node.where.module
        first.setdefault(path, index)
        while path:
            path = path.rpartition(".")[0]
            first.setdefault(path, index)
    keys, last = {}, 0
    for path, _ in model.named_modules():
        last = keys[path] = first.get(path, last)
    return sorted(model.named_modules(), key=lambda pair: keys[pair[0]])


class AssignedComposite(Composite):
    """Rules of LRP for the steps of one graph.

    Args:
        graph: the graph.
        assigned: the rules of modules.
    """

    by_value: Mapping[Value, AnyRule]

    def __init__(self, graph: Graph, assigned: Assigned) -> None:
        super().__init__([])
        by_value = {
            node.output: _relevance_rule(node, assigned, crossing)
            for node, crossing in zip(graph.nodes, gradient_rules(graph), strict=True)
            if crossing is not None
        }
        _pass_relus(graph, by_value)
        object.__setattr__(self, "by_value", by_value)

    def rule(self, node: Node, places: Places) -> AnyRule:
        """The rule for a node, as it was declared."""
        return self.by_value[node.output]


def _relevance_rule(node: Node, assigned: Assigned, crossing: GradientRule) -> AnyRule:
    rule = assigned[node]
    if isinstance(rule, RelevanceRule) and not isinstance(node, Rearrange):
        several = isinstance(rule, Pass) and node.where.module in assigned.in_steps
        return PassThrough() if several else rule.declared()
    if isinstance(rule, ReluRule) and isinstance(node, Activation):
        return Differentiated(rule.crossing())
    if isinstance(node, ALIKE) or not (assigned.is_layer(node) or isinstance(node, Opaque)):
        return default_rule(node)
    return Differentiated(crossing)


def _pass_relus(graph: Graph, rules: dict[Value, Rule]) -> None:
    """ReLUs that the gradient crosses hand down what arrives in proportion to their output.

    It is the same then, as nothing arrives where the output is 0, and takes no pass.
    """
    amount = {graph.output: True}
    for node in reversed(graph.nodes):
        if is_scalar(node):
            continue
        rule, arriving = rules[node.output], amount.get(node.output, False)
        plain = isinstance(rule, Differentiated) and type(rule.crossing) is Slope
        if plain and not arriving and isinstance(node, Activation) and _is_relu(node):
            rule = rules[node.output] = structure.Pass()
        # What is passed may be written out, as an amount.
        gives = isinstance(rule, structure.Pass) or rule.gives_amount(arriving)
        for value in node.inputs:
            amount[value] = amount.get(value, False) or gives


def require_covered(graph: Graph, assigned: Assigned, unsupported: str) -> None:
    """Raise for operators that neither a rule of relprop nor one of a torch layer's is for."""
    nodes = [
        node
        for node in graph.nodes
        if not (isinstance(node, Opaque) and (assigned[node] or assigned.is_layer(node)))
    ]
    require_supported(replace(graph, nodes=nodes), unsupported)


def crossings(graph: Graph, assigned: Assigned, relu: ReluRule | None) -> list[GradientRule | None]:
    """The gradient's way through every node, but where a rule says otherwise; None for scalars.

    `relu` is for ReLUs that are functions.
    """

    def chosen(node: Node, crossing: GradientRule | None) -> GradientRule | None:
        rule = assigned[node]
        if crossing is None or not isinstance(node, Activation):
            return crossing
        if rule is None and not assigned.is_layer(node) and _is_relu(node):
            rule = relu
        return rule.crossing() if isinstance(rule, ReluRule) else crossing

    pairs = zip(graph.nodes, gradient_rules(graph), strict=True)
    return [chosen(node, crossing) for node, crossing in pairs]


def _is_relu(node: Activation) -> bool:
    return not node.part_of and (node.name, node.parameters) in RELUS
