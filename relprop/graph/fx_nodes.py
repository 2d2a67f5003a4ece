"""Questions to the nodes of an exported program: names, arguments, aliases, origin."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from relprop.graph.node import Where

TORCH = str(Path(torch.__file__).parent)

#: Operators that give their first argument back, in evaluation mode.
IDENTITIES = {
    *("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"),
    *("detach", "lift_fresh_copy", "alias", "contiguous", "clone", "identity"),
}


def label(target: Any) -> str:
    """A target's name without namespace and overload: `relu_` for `aten::relu_.default`."""
    schema = getattr(target, "_schema", None)
    if schema is None:
        return str(getattr(target, "__name__", target))
    return str(schema.name).split("::")[-1]


def operator_name(target: Any) -> str:
    """The name of what is computed: `relu` for `aten::relu_.default` too."""
    name = label(target)
    return name.removesuffix("_") if writes(target) else name


def functional(target: Any) -> Any:
    """The operator that computes what an in-place operator writes."""
    if not writes(target):
        return target
    return getattr(getattr(torch.ops.aten, operator_name(target)), target._overloadname)


def writes(target: Any) -> bool:
    """Whether the target overwrites its first argument."""
    schema = getattr(target, "_schema", None)
    if schema is None or not schema.name.endswith("_") or not schema.arguments:
        return False
    info = schema.arguments[0].alias_info
    return info is not None and bool(info.is_write)


def _is_view(node: fx.Node) -> bool:
    """Whether the node's tensor may share memory with its first argument's."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.arguments:
        return node.target is operator.getitem
    return schema.arguments[0].alias_info is not None or label(node.target) in IDENTITIES


def aliases(node: fx.Node, beside: fx.Node) -> set[fx.Node]:
    """The nodes that may share memory with `node`, but for `beside` and what is made from it."""
    found, todo = {node}, [node]
    while todo:
        current = todo.pop()
        near = [user for user in current.users if _is_view(user) and user.args[0] is current]
        if _is_view(current) and isinstance(current.args[0], fx.Node):
            near.append(current.args[0])
        new = [n for n in near if n not in found and n is not beside]
        todo += new
        found.update(new)
    return found - {node}


def by_name(target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """A call's arguments by the names in the operator's schema, defaults filled in."""
    given = dict(kwargs)
    for position, argument in enumerate(target._schema.arguments):
        if position < len(args):
            given[argument.name] = args[position]
        elif argument.name not in given:
            given[argument.name] = argument.default_value if argument.has_default_value() else None
    return given


def ndim(node: fx.Node) -> int:
    """Dimensions of the tensor that a node gives, or of the first of several."""
    result = node.meta.get("val")
    first = result[0] if isinstance(result, (list, tuple)) else result
    return first.dim() if isinstance(first, Tensor) else 0


def shape(node: fx.Node) -> tuple[Any, ...]:
    """The shape of the tensor that a node gives: symbols where a size is not known."""
    result = node.meta.get("val")
    return tuple(result.shape) if isinstance(result, Tensor) else ()


def input_shapes(node: fx.Node) -> tuple[tuple[Any, ...], ...]:
    """The shapes of the tensors that a node reads, in the order in which they are named."""
    values = (source.meta.get("val") for source in node.all_input_nodes)
    return tuple(tuple(value.shape) for value in values if isinstance(value, Tensor))


def dtype(node: fx.Node) -> torch.dtype:
    """The type of the tensor that a node gives, or of the first of several."""
    result = node.meta.get("val")
    first = result[0] if isinstance(result, (list, tuple)) else result
    return first.dtype if isinstance(first, Tensor) else torch.get_default_dtype()


def where(node: fx.Node) -> Where:
    """The module path, and the last line outside of torch in the stack trace."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    module = stack[-1][0] if stack else ""
    trace = str(node.meta.get("stack_trace", "")).splitlines()
    frames = [line.split('"') for line in trace if line.strip().startswith('File "')]
    own = [frame for frame in frames if not frame[1].startswith(TORCH)]
    if not own:
        return Where(module)
    _, path, rest = own[-1]
    number = rest.removeprefix(", line ").split(",")[0]
    return Where(module, f"{path}:{number}")
