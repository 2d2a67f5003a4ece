"""From an exported program to our graph, node by node, by the table in `aten.py`.

A node that depends on no input becomes a constant with a recipe; one that gives a number becomes a
scalar. In-place operators are read as what they compute: later readers of the tensor that they wrote
to get the new value.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from relprop.errors import CaptureError
from relprop.graph.aten import READERS, AtenCall, Unreadable, operator_name
from relprop.graph.constants import Constants
from relprop.graph.node import (
    Auxiliary,
    Call,
    Constant,
    Extent,
    Graph,
    Node,
    Operand,
    Scalar,
    Value,
    Where,
)
from relprop.graph.nonlinear import Opaque

IGNORED = {"_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range_for_size"}
IDENTITIES = {"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "detach"}
IDENTITIES |= {"lift_fresh_copy", "alias", "contiguous", "clone", "identity"}


class Aliased(Exception):
    """A tensor is written to while other views of its memory are still read."""


def read(program: ExportedProgram, model: nn.Module | ExportedProgram) -> tuple[Graph, Constants]:
    """The graph of an exported program, and its constants."""
    reader = _Reader(program, model)
    for node in program.graph.nodes:
        if node.op == "call_function":
            reader.read_call(node)
    return reader.finish(), reader.constants


def _roots(
    program: ExportedProgram, model: nn.Module | ExportedProgram
) -> dict[Value, Callable[[], Tensor]]:
    """Where to look up each parameter and buffer, in the model as it is at that moment."""
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    names.update(signature.inputs_to_lifted_tensor_constants)
    fixed: dict[str, Tensor] = {**program.state_dict, **program.constants}

    def root(path: str) -> Callable[[], Tensor]:
        owner, _, name = path.rpartition(".")
        if isinstance(model, nn.Module) and _has(model, owner, name):
            return lambda: getattr(model.get_submodule(owner), name)  # type: ignore[no-any-return]
        return lambda: fixed[path]

    return {value: root(path) for value, path in names.items()}


def _has(model: nn.Module, owner: str, name: str) -> bool:
    try:
        return isinstance(getattr(model.get_submodule(owner), name, None), Tensor)
    except AttributeError:
        return False


class _Reader:
    def __init__(
        self, program: ExportedProgram, model: nn.Module | ExportedProgram
    ) -> None:
        self.program = program
        self.constants = Constants(_roots(program, model))
        self.nodes: list[Node] = []
        # What each fx node stands for now: Operand-like names of activations, or placeholders.
        self.activations: dict[fx.Node, Value] = {}
        self.placeholders: dict[fx.Node, Constant | Scalar] = {}
        self.inputs: list[Value] = []
        user_inputs = {str(name) for name in program.graph_signature.user_inputs}
        for node in program.graph.nodes:
            if node.op == "placeholder":
                self._enter_placeholder(node, node.name in user_inputs)

    def _enter_placeholder(self, node: fx.Node, is_input: bool) -> None:
        if not is_input:
            self.placeholders[node] = Constant(node.name)
        elif isinstance(node.meta.get("val"), Tensor):
            self.activations[node] = node.name
            self.inputs.append(node.name)

    def read_call(self, fx_node: fx.Node) -> None:
        if fx_node.target is operator.getitem:
            return self._read_item(fx_node)
        name = _label(fx_node.target)
        if name in IGNORED:
            return None
        first = fx_node.args[0] if fx_node.args else None
        if name in IDENTITIES and first in self.activations:
            self.activations[fx_node] = self.activations[first]
            return None
        node = self._node(fx_node, name)
        if node is not None:
            self.nodes.append(node)
            if not isinstance(node, (Extent, Auxiliary)):
                self.activations[fx_node] = node.output
        if _writes(fx_node.target) and isinstance(first, fx.Node):
            self._overwrite(fx_node, first)
        return None

    def _node(self, fx_node: fx.Node, name: str) -> Node | None:
        """The node for a call; None where it becomes a constant."""
        where = _where(fx_node)
        output = fx_node.name
        base: dict[str, Any] = {"output": output, "where": where}
        if name in ("sym_size", "sym_size.int") or name == "size":
            source = fx_node.args[0]
            if isinstance(source, fx.Node) and source in self.activations:
                self.placeholders[fx_node] = Scalar(output)
                dim = fx_node.args[1]
                assert isinstance(dim, int)
                return Extent(inputs=(), of=self.activations[source], dim=dim, **base)
        operands, args, kwargs = self._arguments(fx_node)
        target = _functional(fx_node.target)
        base.update(target=target, args=args, kwargs=kwargs)
        if operands:
            return self._activation(fx_node, name, operands, base)
        if _mentions(args, Scalar) or _mentions(list(kwargs.values()), Scalar):
            self.placeholders[fx_node] = Scalar(output)
            return Auxiliary(inputs=(), **base)
        if not isinstance(fx_node.meta.get("val"), Tensor):
            raise CaptureError(f"operator {fx_node.target} at {where} gives no tensor and no size")
        self._constant(fx_node, target, args, kwargs)
        return None

    def _arguments(self, fx_node: fx.Node) -> tuple[tuple[Value, ...], tuple[Any, ...], dict[str, Any]]:
        """The activations that a call reads, and its arguments with placeholders in their places."""
        operands: list[Value] = []

        def place(argument: Any) -> Any:
            if isinstance(argument, fx.Node):
                if argument in self.activations:
                    value = self.activations[argument]
                    if value not in operands:
                        operands.append(value)
                    return Operand(operands.index(value))
                return self.placeholders[argument]
            if isinstance(argument, (list, tuple)):
                return [place(item) for item in argument]
            return argument

        args = tuple(place(argument) for argument in fx_node.args)
        kwargs = {name: place(argument) for name, argument in fx_node.kwargs.items()}
        return tuple(operands), args, kwargs

    def _activation(
        self, fx_node: fx.Node, name: str, operands: tuple[Value, ...], base: dict[str, Any]
    ) -> Node:
        result = fx_node.meta.get("val")
        key = operator_name(fx_node.target) if hasattr(fx_node.target, "_schema") else name
        sizes = {self.activations[n]: n.meta["val"].dim() for n in fx_node.all_input_nodes
                 if n in self.activations and isinstance(n.meta.get("val"), Tensor)}
        if key not in READERS:
            return Opaque(inputs=operands, reason="no rule covers it", **base)
        call = AtenCall(
            arguments=_by_name(base["target"], base["args"], base["kwargs"]),
            operands=operands,
            constants=self.constants,
            ndim=_ndim(result),
            ndims=tuple(sizes.get(value, 0) for value in operands),
            **base,
        )
        try:
            return READERS[key](call)
        except Unreadable as reason:
            return Opaque(inputs=operands, reason=str(reason), **base)

    def _read_item(self, fx_node: fx.Node) -> None:
        """One of several results: of a split, a chunk, or a pool that also gives its indices."""
        source, index = fx_node.args
        assert isinstance(source, fx.Node) and isinstance(index, int)
        if source in self.placeholders:
            base = {"output": fx_node.name, "where": _where(fx_node)}
            placeholder = self.placeholders[source]
            if isinstance(placeholder, Constant):
                self._constant(fx_node, operator.getitem, (placeholder, index), {})
            else:
                self.placeholders[fx_node] = Scalar(fx_node.name)
                self.nodes.append(
                    Auxiliary(inputs=(), target=operator.getitem, args=(placeholder, index), **base)
                )
            return
        made = next(n for n in self.nodes if n.output == source.name)
        if not isinstance(made, Call):  # batch norm: its statistics are of no use in evaluation
            self.activations[fx_node] = made.output
            return
        twin = {**made.__dict__, "target": _Item(made.target, index), "output": fx_node.name}
        self.nodes.append(type(made)(**twin))
        self.activations[fx_node] = fx_node.name

    def _constant(
        self, fx_node: fx.Node, target: Any, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> None:
        """A tensor computed from parameters alone."""
        sources: list[Value] = []

        def place(argument: Any) -> Any:
            if isinstance(argument, Constant):
                sources.append(argument.value)
                return Operand(len(sources) - 1)
            if isinstance(argument, (list, tuple)):
                return [place(item) for item in argument]
            return argument

        placed, placed_kwargs = place(list(args)), {k: place(v) for k, v in kwargs.items()}

        def make(*tensors: Tensor) -> Tensor:
            def fill(argument: Any) -> Any:
                if isinstance(argument, Operand):
                    return tensors[argument.index]
                if isinstance(argument, list):
                    return [fill(item) for item in argument]
                return argument

            result: Tensor = target(*fill(placed), **{k: fill(v) for k, v in placed_kwargs.items()})
            return result

        self.placeholders[fx_node] = Constant(self.constants.add(fx_node.name, make, *sources))

    def _overwrite(self, fx_node: fx.Node, target: fx.Node) -> None:
        """Later readers of `target` read what `fx_node` wrote to it."""
        others = _aliases(target, beside=fx_node) - {target}
        order = {node: i for i, node in enumerate(self.program.graph.nodes)}
        if any(order[user] > order[fx_node] for alias in others for user in alias.users):
            raise Aliased
        for table in (self.activations, self.placeholders):
            if fx_node in table:
                self.activations.pop(target, None)
                self.placeholders.pop(target, None)
                table[target] = table[fx_node]  # type: ignore[index, assignment]

    def finish(self) -> Graph:
        (result,) = (n for n in self.program.graph.nodes if n.op == "output")
        outputs = [n for n in _flatten(result.args) if isinstance(n, fx.Node)]
        names = {str(name) for name in self.program.graph_signature.user_outputs}
        given = [n for n in outputs if n.name in names]
        if len(given) != 1:
            raise CaptureError(
                f"the model returns {len(given)} tensors; relprop explains a model that returns one: "
                "wrap it in a module that returns the tensor to explain"
            )
        if given[0] not in self.activations:
            raise CaptureError("the model's output does not depend on its inputs")
        return Graph(tuple(self.inputs), self.activations[given[0]], self.nodes)


class _Item:
    """A call of which only the result number `index` is wanted."""

    def __init__(self, target: Any, index: int) -> None:
        self.target, self.index = target, index
        self._schema = target._schema

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.target(*args, **kwargs)[self.index]


def _label(target: Any) -> str:
    schema = getattr(target, "_schema", None)
    return schema.name.split("::")[-1] if schema is not None else getattr(target, "__name__", "?")


def _functional(target: Any) -> Any:
    """The operator that computes what an in-place operator writes."""
    if not _writes(target):
        return target
    packet, overload = target._schema.name.split("::")[-1], target._overloadname
    return getattr(getattr(torch.ops.aten, packet.removesuffix("_")), overload)


def _writes(target: Any) -> bool:
    schema = getattr(target, "_schema", None)
    if schema is None or not schema.name.endswith("_") or not schema.arguments:
        return False
    info = schema.arguments[0].alias_info
    return info is not None and bool(info.is_write)


def _is_view(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.arguments:
        return node.target is operator.getitem
    info = schema.arguments[0].alias_info
    return info is not None or _label(node.target) in IDENTITIES


def _aliases(node: fx.Node, beside: fx.Node) -> set[fx.Node]:
    """Every fx node whose tensor may share memory with that of `node`, but for what `beside` gives."""
    found, todo = {node}, [node]
    while todo:
        current = todo.pop()
        near = [user for user in current.users if _is_view(user) and user.args[0] is current]
        if _is_view(current) and isinstance(current.args[0], fx.Node):
            near.append(current.args[0])
        todo += [n for n in near if n not in found and n is not beside]
        found.update(n for n in near if n is not beside)
    return found


def _by_name(target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """A call's arguments by the names in the operator's schema, defaults filled in."""
    given = dict(kwargs)
    for i, argument in enumerate(target._schema.arguments):
        if i < len(args):
            given[argument.name] = args[i]
        elif argument.name not in given:
            given[argument.name] = argument.default_value if argument.has_default_value() else None
    return given


def _mentions(argument: Any, kind: type) -> bool:
    if isinstance(argument, (list, tuple)):
        return any(_mentions(item, kind) for item in argument)
    return isinstance(argument, kind)


def _flatten(argument: Any) -> list[Any]:
    if isinstance(argument, (list, tuple)):
        return [leaf for item in argument for leaf in _flatten(item)]
    return list(argument.values()) if isinstance(argument, dict) else [argument]


def _ndim(result: Any) -> int:
    tensor = result[0] if isinstance(result, (list, tuple)) else result
    return tensor.dim() if isinstance(tensor, Tensor) else 0


def _where(node: fx.Node) -> Where:
    """The module path, and the last line of the user's own code in the stack trace."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    module = stack[-1][0] if stack else ""
    frames = [
        line.split('"')[1:] for line in str(node.meta.get("stack_trace", "")).splitlines()
        if line.strip().startswith('File "')
    ]
    inside = str(Path(torch.__file__).parent)
    own = [f for f in frames if len(f) == 2 and not f[0].startswith(inside)]
    if not own:
        return Where(module)
    path, rest = own[-1]
    return Where(module, f"{path}:{rest.split('line ')[1].split(',')[0]}")
