"""From a model to a graph: `torch.export` (non-strict), read node by node.

The graph is captured once for all sizes that the model treats alike: every dimension of every
input is offered to the export as dynamic, and the guards that it returns say which sizes share the
graph. The user's model is neither changed nor hooked, and its modes are put back.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from relprop.errors import CaptureError
from relprop.graph.constants import Constants, Store
from relprop.graph.exclusion import WEIGHTS
from relprop.graph.node import Graph
from relprop.graph.outputs import Output
from relprop.graph.precision import readable_precision
from relprop.graph.reading import Aliased, read
from relprop.graph.simplify import describe, simplify


@dataclass
class Capture:
    """The graph of one output, its constants, and the inputs that it holds for."""

    graph: Graph
    constants: Constants
    program: ExportedProgram
    modules: tuple[weakref.ref[nn.Module], ...]
    output: Output = None
    #: Whether the graph was simplified; if not, every module's activations are in it.
    simplified: bool = True
    #: What `_admits` said of arguments like these before.
    known: dict[Any, bool] = field(default_factory=dict)

    def serves(self, model: nn.Module | ExportedProgram, arguments: Sequence[Any]) -> bool:
        """Whether the graph was captured from this model, as built now, for such arguments."""
        return self.current(model) and self.holds(arguments)

    def holds(self, arguments: Sequence[Any]) -> bool:
        """Whether the graph is one for such arguments."""
        like = tuple(
            (a.shape, a.dtype, a.device) if isinstance(a, Tensor) else repr(a) for a in arguments
        )
        if like not in self.known:
            with WEIGHTS:
                self.known[like] = _admits(self.program, arguments)
        return self.known[like]

    def current(self, model: nn.Module | ExportedProgram) -> bool:
        """Whether the model still consists of the modules that it was captured with."""
        if not isinstance(model, nn.Module):
            return True
        now = tuple(model.modules())
        return len(now) == len(self.modules) and all(
            a is b() for a, b in zip(now, self.modules, strict=True)
        )


_captures: weakref.WeakKeyDictionary[nn.Module | ExportedProgram, list[Capture]]
_captures = weakref.WeakKeyDictionary()


def find_capture(
    model: nn.Module | ExportedProgram,
    arguments: Sequence[Any],
    output: Output = None,
    simplified: bool = True,
) -> Capture:
    """A capture that serves: one made before, for whatever method, or a new one."""
    known = [c for c in _captures.get(model, []) if c.current(model)]
    serving = [one for one in known if one.serves(model, arguments)]
    for one in serving:
        if (one.output, one.simplified) == (output, simplified):
            return one
    store = known[0].constants.store if known else Store()
    if serving:  # another output of a program that is there already
        new = _read(serving[0].program, model, serving[0].modules, output, simplified, store)
    else:
        new = capture(model, arguments, output, simplified, store)
    _captures[model] = [*known, new]
    return new


def capture(
    model: nn.Module | ExportedProgram,
    arguments: Sequence[Any],
    output: Output = None,
    simplified: bool = True,
    store: Store | None = None,
) -> Capture:
    """The graph of `model` for `arguments`, the positional arguments of its forward.

    Where it is not to be simplified, it has every step of the model as the model makes it. `store`
    has what other captures of the model derived from its weights. Raises `CaptureError` where
    `torch.export` refuses the model.
    """
    if isinstance(model, ExportedProgram):
        if not _admits(model, arguments):
            examples = [v for k, v in _examples(model).items() if k in _input_names(model)]
            raise CaptureError(
                f"the model was exported for inputs {_describe(examples)} and cannot take "
                f"others; got {_describe(arguments)}"
            )
        return _read(model, model, (), output, simplified, store)
    modules = tuple(map(weakref.ref, model.modules()))
    program = _export(model, arguments, [_two_examples(argument) for argument in arguments])
    if not _admits(program, arguments):  # the model treats a batch of one in its own way
        program = _export(model, arguments, arguments)
    return _read(program, model, modules, output, simplified, store)


def _read(
    program: ExportedProgram,
    model: nn.Module | ExportedProgram,
    modules: tuple[weakref.ref[nn.Module], ...],
    output: Output,
    simplified: bool,
    store: Store | None,
) -> Capture:
    """The capture of one output of an exported program."""
    try:
        graph, constants = read(program, model, output, store)
    except Aliased:
        # A tensor is overwritten while views of it are alive: let torch take the writes apart.
        with silent(), readable_precision():
            program = program.run_decompositions({})
        graph, constants = read(program, model, output, store)
    if simplified:
        simplify(graph, constants)
    describe(graph)
    return Capture(graph, constants, program, modules, output, simplified)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; afterwards every module is in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


def _export(model: nn.Module, arguments: Sequence[Any], examples: Sequence[Any]) -> ExportedProgram:
    """The program for `examples`, which stand for `arguments`: for as many sizes as can be."""
    example = tuple(a.detach() if isinstance(a, Tensor) else a for a in examples)
    with silent(), evaluating(model), readable_precision(), torch.no_grad():
        try:
            return _export_for(model, example, _any_size)
        except Exception as refused:
            # Some pooling arithmetic is too hard for torch's solver, and dynamic sizes are asked
            # for only because they serve more inputs: try the batch's alone, then none.
            for dynamic in (_any_batch, _this_size):
                with contextlib.suppress(Exception):
                    return _export_for(model, example, dynamic)
            reason = str(refused).strip().split("\n")[0][:300]
            raise CaptureError(
                f"torch.export could not capture {type(model).__name__} for inputs "
                f"{_describe(arguments)}: {type(refused).__name__}: {reason}"
            ) from refused


def _export_for(
    model: nn.Module, example: tuple[Any, ...], dynamic: Callable[[Tensor], Any]
) -> ExportedProgram:
    shapes = tuple(dynamic(a) if isinstance(a, Tensor) else None for a in example)
    return torch.export.export(model, example, dynamic_shapes=shapes, strict=False)


def _any_size(argument: Tensor) -> dict[int, Any]:
    return dict.fromkeys(range(argument.dim()), torch.export.Dim.AUTO)


def _any_batch(argument: Tensor) -> dict[int, Any]:
    return {0: torch.export.Dim.AUTO} if argument.dim() else {}


def _this_size(argument: Tensor) -> None:
    return None


TALKATIVE = ("torch.export", "torch._export", "torch.fx", "torch._subclasses")
"""Who logs while torch exports or loads a program."""


@contextmanager
def silent() -> Iterator[None]:
    """What torch logs and warns of while it exports or loads is not for our users."""
    logs = [logging.getLogger(name) for name in TALKATIVE]
    levels = [log.level for log in logs]
    try:
        for log in logs:
            log.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def _two_examples(argument: Any) -> Any:
    """A batch of at least two: torch.export takes a size of one for a constant."""
    if isinstance(argument, Tensor) and argument.dim() > 0 and argument.shape[0] == 1:
        return argument.detach().expand(2, *argument.shape[1:])
    return argument


def _describe(arguments: Sequence[Any]) -> str:
    return ", ".join(
        f"{tuple(a.shape)} {str(a.dtype).removeprefix('torch.')}"
        if isinstance(a, Tensor)
        else repr(a)
        for a in arguments
    )


def _examples(program: ExportedProgram) -> dict[str, Any]:
    """What each placeholder of the program stood for when it was exported."""
    return {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}


def _input_names(program: ExportedProgram) -> set[str]:
    return {str(name) for name in program.graph_signature.user_inputs}


class _Shape:
    """What a guard may ask of a tensor."""

    def __init__(self, shape: Sequence[int]) -> None:
        self._shape = tuple(shape)

    def size(self) -> tuple[int, ...]:
        return self._shape


def _admits(program: ExportedProgram, arguments: Sequence[Any]) -> bool:
    """Whether sizes, types and devices of `arguments` are such as the program was exported for."""
    names, examples = program.graph_signature.user_inputs, _examples(program)
    if len(names) != len(arguments):
        return False
    tensors: dict[str, Tensor] = {}
    for name, argument in zip(names, arguments, strict=True):
        # The signature has constants themselves in place of their names.
        example = examples.get(str(name), name)
        if isinstance(argument, Tensor) and isinstance(example, Tensor):
            if not _fits(example, argument):
                return False
            tensors[str(name)] = argument
        elif isinstance(argument, Tensor) or isinstance(example, Tensor) or argument != example:
            return False
    # A graph for any number of examples from two on is right for a single one, too.
    return all(_holds(guard, tensors, batch) for batch in (2, 3) for guard in _guards(program))


def _guards(program: ExportedProgram) -> list[str]:
    return list(getattr(program, "_guards_code", []))


def _fits(example: Tensor, argument: Tensor) -> bool:
    """Whether an argument has the type, the device, and sizes within the bounds, of an example."""
    if (example.dim(), example.dtype) != (argument.dim(), argument.dtype):
        return False
    if example.device.type != argument.device.type:
        return False
    sizes: Sequence[Any] = example.shape
    for dim, (size, given) in enumerate(zip(sizes, argument.shape, strict=True)):
        if isinstance(size, torch.SymInt):
            bounds = size.node.shape_env.bound_sympy(size.node.expr)
            if not bounds.lower <= (max(2, given) if dim == 0 else given) <= bounds.upper:
                return False
        elif int(size) != given:
            return False
    return True


GUARD_WORDS: dict[str, Any] = {
    "__builtins__": {},
    **{"max": max, "min": min},
    "torch": SimpleNamespace(sym_max=max, sym_min=min),
}
"""What guards call: torch 2.15 writes `torch.sym_max` where older ones write `max`."""


def _holds(guard: str, tensors: dict[str, Tensor], batch: int) -> bool:
    """Evaluate a guard, such as `2*(L['x'].size()[2] // 2) == L['x'].size()[2]`.

    A batch of one is asked about as if it were one of `batch`.
    """
    shapes = {
        name: _Shape([batch if dim == 0 and n == 1 else n for dim, n in enumerate(tensor.shape)])
        for name, tensor in tensors.items()
    }
    try:
        return bool(eval(guard, {**GUARD_WORDS, "L": shapes}))
    except Exception:  # a guard that asks for something else: do not rely on the graph
        return False
