"""Where the user's modules are in a graph: what goes into each call of one, and what comes out.

An export says of every call which modules it was made in. What a module reads from outside is its
input, and what is read outside of it, as it was when the module ended, is its output.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import fx, nn

from relprop.errors import InvalidInputError, InvalidTypeError
from relprop.graph.node import Graph, LayerCall, Value


@dataclass
class _Span:
    """The exported calls that were made in one call of a module, in their order."""

    path: str
    calls: list[fx.Node] = field(default_factory=list)


class LayerFinder:
    """Notes, while a program is read, what goes into every call of a module, and what comes out."""

    def __init__(self, program: fx.Graph) -> None:
        spans: dict[str, _Span] = {}
        for node in program.nodes:
            stack = node.meta.get("nn_module_stack") or {} if node.op == "call_function" else {}
            for key, (path, _) in stack.items():
                spans.setdefault(key, _Span(path)).calls.append(node)
        self.layers: dict[str, list[LayerCall]] = {}
        self._starts: dict[fx.Node, list[_Span]] = {}
        self._ends: dict[fx.Node, list[_Span]] = {}
        self._entered: dict[int, tuple[Value, ...]] = {}
        for span in spans.values():
            self._starts.setdefault(span.calls[0], []).append(span)
            self._ends.setdefault(span.calls[-1], []).append(span)

    def before(self, node: fx.Node, activations: Mapping[fx.Node, Value]) -> None:
        """To be called before `node` is read, with what every fx node stands for by then."""
        for span in self._starts.get(node, ()):
            inside = set(span.calls)
            read = [n for call in span.calls for n in call.all_input_nodes if n not in inside]
            self._entered[id(span)] = _values(read, activations)

    def after(self, node: fx.Node, activations: Mapping[fx.Node, Value]) -> None:
        """To be called after `node` is read."""
        for span in self._ends.get(node, ()):
            inside = set(span.calls)
            given = [call for call in span.calls if any(u not in inside for u in call.users)]
            given = given or [node]  # nobody reads it: what the module computed last
            call = LayerCall(self._entered.pop(id(span)), _values(given, activations))
            self.layers.setdefault(span.path, []).append(call)


def _values(nodes: Sequence[fx.Node], activations: Mapping[fx.Node, Value]) -> tuple[Value, ...]:
    return tuple(dict.fromkeys(activations[node] for node in nodes if node in activations))


def find_layers(
    graph: Graph, model: object, layers: Sequence[str | nn.Module] | None
) -> dict[str, Value]:
    """For every layer asked for, by its name, the activation that it stands for.

    A layer is a module of the model or its path, such as `"features.28"`, and means the module's
    output; `"features.28:input"` means its input, and `"relu@1"` the second call of a module that
    is called more than once.
    """
    if layers is None:
        return {}
    if isinstance(layers, (str, nn.Module)) or not isinstance(layers, Sequence):
        raise InvalidTypeError(
            f"layers must be a list of modules or of their paths; got {type(layers).__name__}"
        )
    names = [_name(layer, model) for layer in layers]
    return {name: _value(graph, name) for name in names}


def all_layers(graph: Graph) -> dict[str, Value]:
    """For every module's call that gives one activation with relevance of its own, by its name.

    In the order in which the graph computes these; the model itself is none of them.
    """
    order = {value: place for place, value in enumerate(_with_relevance(graph))}
    found = {
        f"{path}@{number}" if len(calls) > 1 else path: call.outputs[0]
        for path, calls in graph.layers.items()
        for number, call in enumerate(calls)
        if path and len(call.outputs) == 1 and call.outputs[0] in order
    }
    return dict(sorted(found.items(), key=lambda layer: order[layer[1]]))


def _with_relevance(graph: Graph) -> list[Value]:
    return [*graph.inputs, *(node.output for node in graph.nodes)]


def _name(layer: object, model: object) -> str:
    if isinstance(layer, str):
        return layer
    if not isinstance(layer, nn.Module):
        raise InvalidTypeError(
            f"a layer must be a module of the model or its path; got {type(layer).__name__}"
        )
    for path, module in model.named_modules() if isinstance(model, nn.Module) else ():
        if module is layer:
            return str(path)
    raise InvalidInputError(f"a layer must be a module of the model; {layer} is not part of it")


def _value(graph: Graph, name: str) -> Value:
    """The one activation that a layer's name means."""
    path, _, side = name.partition(":")
    path, _, number = path.partition("@")
    calls = graph.layers.get(path, [])
    if side not in ("", "input") or not calls or (number and not number.isdecimal()):
        near = difflib.get_close_matches(name, graph.layers, 3) or list(graph.layers)[:5]
        raise InvalidInputError(
            "a layer must be the path of a module that the model runs, such as "
            f"{', '.join(map(repr, near))}, with ':input' after it for its input; got {name!r}"
        )
    if (len(calls) > 1 and not number) or int(number or 0) >= len(calls):
        raise InvalidInputError(
            f"module {path!r} is called {len(calls)} times: ask for one of "
            f"{', '.join(repr(f'{path}@{k}') for k in range(len(calls)))}; got {name!r}"
        )
    call = calls[int(number or 0)]
    values = call.inputs if side else call.outputs
    if len(values) != 1:
        raise InvalidInputError(
            f"a layer must {'read' if side else 'give'} one tensor that depends on the model's "
            f"inputs; {name!r} has {len(values)}: ask for a module inside it"
        )
    if values[0] not in _with_relevance(graph):
        raise InvalidInputError(
            f"layer {name!r} has no relevance of its own: it is computed as a part of the layer "
            "after it, or the explained output does not depend on it"
        )
    return values[0]
