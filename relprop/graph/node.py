"""A model as a flat list of nodes, each computing one value from others.

Values are named by strings. A value is either an *activation*, which depends on the model's inputs
and may carry relevance, or a *constant* (see `constants.py`), or a *scalar*: a Python number such
as a size, which the forward sweep finds anew for every input.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from torch import Size, Tensor, dtype

if TYPE_CHECKING:
    from relprop.graph.constants import Snapshot

Value = str


@dataclass(frozen=True)
class Operand:
    """In a call's arguments: the node's activation number `index`."""

    index: int


@dataclass(frozen=True)
class Constant:
    """In a call's arguments: a tensor that does not depend on the model's inputs."""

    value: Value


@dataclass(frozen=True)
class Scalar:
    """In a call's arguments: a number that is known only when the model runs."""

    value: Value


@dataclass(frozen=True)
class Where:
    """The place in the user's code that a node comes from."""

    module: str = ""
    source: str = ""

    def __str__(self) -> str:
        module = f"module '{self.module}'" if self.module else "the model's own forward"
        return f"{module} ({self.source})" if self.source else module


@dataclass(kw_only=True)
class Node:
    """One step of the model: reads the activations `inputs`, computes the activation `output`."""

    inputs: tuple[Value, ...]
    output: Value
    where: Where = Where()
    #: The operator that the node is one of several steps of, if it is.
    part_of: str = ""

    @property
    def label(self) -> str:
        """The word for this step in messages and tables."""
        return type(self).__name__.lower()

    def compute(self, run: Run, *operands: Tensor) -> Tensor:
        """The output, from the tensors of `inputs` and what else `run` holds."""
        raise NotImplementedError


class Values(dict[Value, "Tensor"]):
    """Activations by name, of which some are computed when they are asked for.

    `again` has the nodes that compute these from other activations. What was computed stays, until
    `drop` lets it go.
    """

    def __init__(self, again: Mapping[Value, Node], frame: Run) -> None:
        self.again, self._frame = again, frame

    def __missing__(self, value: Value) -> Tensor:
        node = self.again.get(value)
        if node is None:
            raise KeyError(value)
        self[value] = tensor = node.compute(self._frame, *(self[v] for v in node.inputs))
        return tensor

    def drop(self, value: Value, only_computed: bool) -> None:
        """Let an activation go; or only if it can be computed again."""
        if not only_computed or value in self.again:
            self.pop(value, None)


class Run:
    """What one forward sweep knows: values still alive, constants, scalars, shapes and types.

    A `lasting` run is read again by later explanations: none of its values is let go. `winograd`
    says whether convolutions may round by the tile rather than by the element.
    """

    def __init__(
        self, constants: Snapshot, winograd: bool = False, again: Mapping[Value, Node] | None = None
    ) -> None:
        self.constants = constants
        self.winograd = winograd
        self.lasting = False
        self.scalars: dict[Value, Any] = {}
        self.values = Values(again or {}, self._frame())
        self.shapes: dict[Value, Size] = {}
        self.dtypes: dict[Value, dtype] = {}

    def _frame(self) -> Run:
        """What a node needs to know beside its operands; no way leads back from it to `values`."""
        return copy.copy(self)

    def constant(self, value: Value | None) -> Tensor | None:
        """The tensor of a constant that a node may or may not have."""
        return None if value is None else self.constants[value]

    def exactly(self) -> Run:
        """The same run, for convolutions that must round by the element."""
        one = copy.copy(self)
        one.winograd = False
        return one

    def example(self, index: int) -> Run:
        """The run as it would be for one example of the batch alone."""
        one = Run(self.constants, self.winograd, self.values.again)
        one.values.update({name: t[index : index + 1] for name, t in self.values.items()})
        one.shapes = {name: Size([1, *shape[1:]]) for name, shape in self.shapes.items()}
        one.dtypes = self.dtypes
        one.scalars.update(self.scalars)
        return one

    def resolve(self, argument: Any, operands: Sequence[Tensor]) -> Any:
        """A call's `argument` with the tensors and numbers of this run in their places."""
        match argument:
            case Operand(index):
                return operands[index]
            case Constant(value):
                return self.constants[value]
            case Scalar(value):
                return self.scalars[value]
            case list() | tuple():
                return type(argument)(self.resolve(item, operands) for item in argument)
        return argument


@dataclass
class LayerCall:
    """What one call of a module reads from outside of it, and what is read of it outside."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


@dataclass
class Graph:
    """Nodes in an order in which they can run; `inputs` and `output` name activations.

    `layers` has the calls of every module, by its path. `channels_last` says in which order images
    should come (see `layout.py`).
    """

    inputs: tuple[Value, ...]
    output: Value
    nodes: list[Node]
    nonnegative: set[Value] = field(default_factory=set)
    layers: dict[str, list[LayerCall]] = field(default_factory=dict)
    channels_last: bool = False

    def consumers(self) -> dict[Value, list[Node]]:
        """For every activation the nodes that read it, once for every time they read it."""
        readers: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in node.inputs:
                readers.setdefault(value, []).append(node)
        return readers

    def producers(self) -> dict[Value, Node]:
        """For every activation that is computed, the node that computes it."""
        return {node.output: node for node in self.nodes}

    def ancestors(self, values: Iterable[Value]) -> set[Value]:
        """`values`, and every activation that has a part in them."""
        wanted = set(values)
        for node in reversed(self.nodes):
            if node.output in wanted:
                wanted.update(node.inputs)
        return wanted

    def ending_at(self, value: Value) -> Graph:
        """The graph as far as the activation `value`, which becomes its output."""
        count = next((k + 1 for k, node in enumerate(self.nodes) if node.output == value), 0)
        return replace(self, output=value, nodes=self.nodes[:count])

    def replace(self, names: Mapping[Value, Value]) -> None:
        """Let whoever reads a key of `names` read that key's value instead."""

        def final(value: Value) -> Value:
            while value in names:
                value = names[value]
            return value

        self.output = final(self.output)
        for node in self.nodes:
            node.inputs = tuple(final(value) for value in node.inputs)
            if isinstance(node, Extent):
                node.of = final(node.of)
        self.replace_in_layers(names)

    def replace_in_layers(self, names: Mapping[Value, Value]) -> None:
        """Let modules that give or read a key of `names` stand for that key's value instead."""
        for call in (call for calls in self.layers.values() for call in calls):
            call.inputs = tuple(names.get(value, value) for value in call.inputs)
            call.outputs = tuple(names.get(value, value) for value in call.outputs)


@dataclass(kw_only=True)
class Extent(Node):
    """The scalar `size of dimension dim` of the activation `of`: reads a shape, not a tensor."""

    of: Value
    dim: int

    def compute(self, run: Run, *operands: Tensor) -> Any:
        """The number."""
        return run.shapes[self.of][self.dim]


@dataclass(kw_only=True)
class Call(Node):
    """A call of `target` with `args` and `kwargs`, in which placeholders stand for tensors."""

    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The operator's name, such as `conv2d`."""
        name = getattr(self.target, "_schema", None)
        return name.name.split("::")[-1] if name else str(self.target)

    def compute(self, run: Run, *operands: Tensor) -> Any:
        """Call the target."""
        kwargs = {name: run.resolve(value, operands) for name, value in self.kwargs.items()}
        return self.target(*run.resolve(self.args, operands), **kwargs)


@dataclass(kw_only=True)
class Auxiliary(Call):
    """A call that gives a scalar, or a tensor that depends on sizes alone: carries no relevance."""


def is_scalar(node: Node) -> bool:
    """Whether the node computes a scalar rather than an activation."""
    return isinstance(node, (Extent, Auxiliary))


def scalars_read(node: Node) -> set[Value]:
    """The scalars among a node's arguments; of a size, the activation of which it is one."""
    if isinstance(node, Extent):
        return {node.of}
    arguments = [*node.args, *node.kwargs.values()] if isinstance(node, Call) else []
    return set(scalars(arguments))


def scalars(argument: Any) -> Iterator[Value]:
    """The scalars in a call's argument."""
    if isinstance(argument, Scalar):
        yield argument.value
    elif isinstance(argument, (list, tuple)):
        for item in argument:
            yield from scalars(item)


def sum_to(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """The transpose of broadcasting `shape` to the shape of `tensor`."""
    return tensor if tensor.shape == Size(shape) else tensor.sum_to_size(*shape)
