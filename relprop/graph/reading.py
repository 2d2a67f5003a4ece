"""From an exported program to our graph, node by node, by the table in `aten.py`.

What depends on no input becomes a constant with a recipe; what gives a number becomes a scalar.
In-place operators are read as what they compute: whoever reads the tensor later gets the new value.
"""

from __future__ import annotations

import operator
import weakref
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_unflatten

from relprop.errors import CaptureError
from relprop.graph import fx_nodes
from relprop.graph.aten import AtenCall, Unreadable
from relprop.graph.attention import READERS
from relprop.graph.constants import Constants, Root, Store
from relprop.graph.layers import LayerFinder
from relprop.graph.node import (
    Auxiliary,
    Call,
    Constant,
    Extent,
    Graph,
    LayerCall,
    Node,
    Operand,
    Scalar,
    Value,
    scalars,
)
from relprop.graph.nonlinear import Opaque
from relprop.graph.outputs import Output, choose_output
from relprop.graph.uniform import BROADCASTING, EXPAND, FILLS, Filled, StandIns, covers

#: Operators that only check something.
IGNORED = {"_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range_for_size"}


class Aliased(Exception):
    """A tensor is written to while other views of its memory are still read."""


def read(
    program: ExportedProgram,
    model: nn.Module | ExportedProgram,
    output: Output = None,
    store: Store | None = None,
) -> tuple[Graph, Constants]:
    """The graph of one output of an exported program, and its constants.

    `store` has what other graphs of the model derived.
    """
    reader = _Reader(program, model, store or Store())
    layers = LayerFinder(program.graph)
    for node in program.graph.nodes:
        if node.op == "call_function":
            layers.before(node, reader.activations)
            reader.read_call(node)
            layers.after(node, reader.activations)
    return reader.finish(output, layers.layers), reader.constants


def _roots(program: ExportedProgram, model: nn.Module | ExportedProgram) -> dict[Value, Root]:
    """Where to look up each parameter and buffer, in the model as it is at that moment."""
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    names.update(signature.inputs_to_lifted_tensor_constants)
    fixed: dict[str, Tensor] = {**program.state_dict, **program.constants}
    # Captures are kept as long as their model; they must not be what keeps it.
    reference = weakref.ref(model)

    def root(path: str) -> Root:
        owner, _, name = path.rpartition(".")
        if isinstance(model, nn.Module) and _has(model, owner, name):
            return Root(path, _Place(reference, owner.split(".") if owner else [], name))
        tensor = fixed[path]
        return Root(id(tensor), lambda: tensor)

    return {value: root(path) for value, path in names.items()}


@dataclass(frozen=True)
class _Place:
    """Looks a tensor up in a model, through whatever modules are there at that moment.

    Every explanation looks up every weight, so this goes by the modules' own tables.
    """

    model: weakref.ref[Any]
    modules: list[str]
    name: str

    def __call__(self) -> Tensor:
        module = _alive(self.model)
        for step in self.modules:
            child = module._modules.get(step)
            module = getattr(module, step) if child is None else child
        parameter = module._parameters.get(self.name)
        tensor: Tensor = getattr(module, self.name) if parameter is None else parameter
        return tensor


def _alive(reference: weakref.ref[Any]) -> Any:
    model = reference()
    assert model is not None, "a capture outlived its model"
    return model


def _has(model: nn.Module, owner: str, name: str) -> bool:
    try:
        return isinstance(getattr(model.get_submodule(owner), name, None), Tensor)
    except AttributeError:
        return False


class _Item:
    """A call of which only the result number `index` is wanted."""

    def __init__(self, target: Any, index: int) -> None:
        self.target, self.index = target, index
        self._schema = target._schema

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.target(*args, **kwargs)[self.index]


class _Reader:
    """The state of one reading: what each fx node stands for so far."""

    def __init__(
        self, program: ExportedProgram, model: nn.Module | ExportedProgram, store: Store
    ) -> None:
        self.program = program
        self.constants = Constants(_roots(program, model), store)
        self.stand_ins = StandIns(self.constants)
        self.nodes: list[Node] = []
        self.activations: dict[fx.Node, Value] = {}
        self.placeholders: dict[fx.Node, Constant | Scalar] = {}
        self.inputs: list[Value] = []
        self.order = {node: position for position, node in enumerate(program.graph.nodes)}
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
        """Enter one call into the graph, the constants or the scalars."""
        name = fx_nodes.label(fx_node.target)
        first = fx_node.args[0] if fx_node.args else None
        if name in IGNORED:
            return
        if fx_node.target is operator.getitem:
            self._read_item(fx_node)
        elif (
            fx_nodes.operator_name(fx_node.target) in fx_nodes.IDENTITIES
            and isinstance(first, fx.Node)
            and first in self.activations
        ):
            self.activations[fx_node] = self.activations[first]
        else:
            self._read_operator(fx_node, name)
        if fx_nodes.writes(fx_node.target) and isinstance(first, fx.Node):
            self._overwrite(first, fx_node)

    def _read_operator(self, fx_node: fx.Node, name: str) -> None:
        source = fx_node.args[0] if fx_node.args else None
        base: dict[str, Any] = {"output": fx_node.name, "where": fx_nodes.where(fx_node)}
        if name == "sym_size" and isinstance(source, fx.Node) and source in self.activations:
            of, dim = self.activations[source], fx_node.args[1]
            assert isinstance(dim, int)
            self._enter_scalar(fx_node, Extent(inputs=(), of=of, dim=dim, **base))
            return
        operands, args, kwargs = self._arguments(fx_node)
        target = fx_nodes.functional(fx_node.target)
        if self._read_expanded(fx_node, target, args, kwargs):
            return
        if operands:
            args, kwargs = self._broadcasting(fx_node, args, kwargs)
            base.update(target=target, args=args, kwargs=kwargs)
            self.nodes += self._activation(fx_node, operands, base)
            self.activations[fx_node] = fx_node.name
        else:
            self._enter_independent(fx_node, target, args, kwargs)

    def _read_expanded(
        self, fx_node: fx.Node, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> bool:
        """Enter what takes of activations only a shape and a type; False if it takes more."""
        name = fx_nodes.operator_name(fx_node.target)
        if name not in FILLS and name != "expand_as":
            return False
        arguments = fx_nodes.by_name(target, args, kwargs)
        given, like = arguments.get("self"), fx_node.args[1 if name == "expand_as" else 0]
        if name in FILLS:
            filled = Filled.of(fx_node, arguments)
            given = filled and Constant(self.constants.add(f"{fx_node.name}.one", filled))
        if not isinstance(given, (Constant, Scalar)):
            return False
        sizes = arguments.get("size")
        if sizes is None:
            if not isinstance(like, fx.Node) or like not in self.activations:
                return False
            sizes = self._sizes(fx_node, like)
        self._enter_independent(fx_node, EXPAND, (given, sizes), {})
        return True

    def _sizes(self, fx_node: fx.Node, like: fx.Node) -> list[int | Scalar]:
        """The sizes of an activation, those not known as scalars of their own."""
        of, where = self.activations[like], fx_nodes.where(fx_node)
        sizes: list[int | Scalar] = []
        for dim, size in enumerate(fx_nodes.shape(like)):
            if not isinstance(size, int):
                name = f"{fx_node.name}.size{dim}"
                self.nodes.append(Extent(inputs=(), of=of, dim=dim, output=name, where=where))
                size = Scalar(name)
            sizes.append(size)
        return sizes

    def _broadcasting(
        self, fx_node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """A call's arguments, with constants that broadcast where there are such."""
        read = [node for node in fx_node.all_input_nodes if node in self.activations]
        broadcasts = fx_nodes.operator_name(fx_node.target) in BROADCASTING
        if not broadcasts or not any(covers(node, fx_node) for node in read):
            return args, kwargs
        return self.stand_ins.put_into(args), self.stand_ins.put_into(kwargs)

    def _arguments(
        self, fx_node: fx.Node
    ) -> tuple[tuple[Value, ...], tuple[Any, ...], dict[str, Any]]:
        """The activations that a call reads, and its arguments with placeholders for tensors."""
        operands: list[Value] = []

        def place(argument: Any) -> Any:
            if isinstance(argument, (list, tuple)):
                return [place(item) for item in argument]
            if not isinstance(argument, fx.Node):
                return argument
            if argument not in self.activations:
                return self.placeholders[argument]
            value = self.activations[argument]
            if value not in operands:
                operands.append(value)
            return Operand(operands.index(value))

        args = tuple(place(argument) for argument in fx_node.args)
        kwargs = {name: place(argument) for name, argument in fx_node.kwargs.items()}
        return tuple(operands), args, kwargs

    def _activation(
        self, fx_node: fx.Node, operands: tuple[Value, ...], base: dict[str, Any]
    ) -> list[Node]:
        """The node, or the nodes, for a call that reads activations."""
        reader = READERS.get(fx_nodes.operator_name(fx_node.target))
        if reader is None:
            return [Opaque(inputs=operands, reason="no rule covers it", **base)]
        call = AtenCall(
            arguments=fx_nodes.by_name(base["target"], base["args"], base["kwargs"]),
            operands=operands,
            constants=self.constants,
            ndim=fx_nodes.ndim(fx_node),
            input_shapes=fx_nodes.input_shapes(fx_node),
            dtype=fx_nodes.dtype(fx_node),
            **base,
        )
        try:
            read = reader(call)
        except Unreadable as reason:
            return [Opaque(inputs=operands, reason=str(reason), **base)]
        return read if isinstance(read, list) else [read]

    def _enter_scalar(self, fx_node: fx.Node, node: Node) -> None:
        self.nodes.append(node)
        self.placeholders[fx_node] = Scalar(node.output)

    def _enter_independent(
        self, fx_node: fx.Node, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """What no activation has a part in: a constant, or made of sizes when the model runs."""
        if not any(scalars([args, list(kwargs.values())])):
            made = self.constants.add_call(fx_node.name, target, args, kwargs)
            self.placeholders[fx_node] = Constant(made)
            return
        base: dict[str, Any] = {"output": fx_node.name, "where": fx_nodes.where(fx_node)}
        node = Auxiliary(inputs=(), target=target, args=args, kwargs=kwargs, **base)
        self._enter_scalar(fx_node, node)
        self.stand_ins.enter(fx_node, target, args, kwargs)

    def _read_item(self, fx_node: fx.Node) -> None:
        """One of several results: of a split, a chunk, or a pool that also gives its indices."""
        source, index = fx_node.args
        assert isinstance(source, fx.Node) and isinstance(index, int)
        placeholder = self.placeholders.get(source)
        if isinstance(placeholder, (Constant, Scalar)):
            self._enter_independent(fx_node, operator.getitem, (placeholder, index), {})
            return
        whole = next(node for node in self.nodes if node.output == source.name)
        if isinstance(whole, Call) and whole.label == fx_nodes.label(source.target):
            item = _Item(whole.target, index)
            self.nodes.append(replace(whole, target=item, output=fx_node.name))
            self.activations[fx_node] = fx_node.name
        else:  # read as something that gives the first result alone, such as a batch norm
            self.activations[fx_node] = whole.output

    def _overwrite(self, target: fx.Node, fx_node: fx.Node) -> None:
        """Whoever reads `target` from here on reads what `fx_node` wrote to it."""
        written = self.order[fx_node]
        for alias in fx_nodes.aliases(target, beside=fx_node):
            if any(self.order[user] > written for user in alias.users):
                raise Aliased
        self.activations.pop(target, None)
        self.placeholders.pop(target, None)
        if fx_node in self.activations:
            self.activations[target] = self.activations[fx_node]
        else:
            self.placeholders[target] = self.placeholders[fx_node]

    def finish(self, output: Output, layers: dict[str, list[LayerCall]]) -> Graph:
        """The graph of what was read, for one of the model's outputs."""
        given = choose_output(self._outputs(), output)
        if given not in self.activations:
            raise CaptureError("the model's output does not depend on its inputs")
        return Graph(tuple(self.inputs), self.activations[given], self.nodes, layers=layers)

    def _outputs(self) -> Any:
        """The fx nodes of what the model returns, in the structure in which it returns them."""
        (result,) = (node for node in self.program.graph.nodes if node.op == "output")
        tensors = (n for n in result.all_input_nodes if isinstance(n.meta.get("val"), Tensor))
        by_name = {node.name: node for node in tensors}
        names = [str(name) for name in self.program.graph_signature.user_outputs]
        flat = [by_name.get(name) for name in names]
        return tree_unflatten(flat, self.program.call_spec.out_spec)
