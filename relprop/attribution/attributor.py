"""What every method of explanation has in common: a model, its captured graphs, and the sweeps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from relprop.attribution.arguments import Inputs, as_inputs, check_choice, check_model
from relprop.attribution.cuda_graphs import Recordings
from relprop.attribution.kept import KeptRun
from relprop.attribution.modes import explaining
from relprop.attribution.references import have_examples_first
from relprop.errors import CaptureError, InvalidInputError
from relprop.graph.aten import NO_BATCH
from relprop.graph.autocast import without_autocast
from relprop.graph.capture import Capture, capture, evaluating, find_capture
from relprop.graph.constants import Snapshot
from relprop.graph.exclusion import WEIGHTS
from relprop.graph.node import Graph, Node, Run, Value
from relprop.graph.nonlinear import Opaque
from relprop.graph.outputs import Output, choose_output
from relprop.graph.sizes import Sizes, find_sizes
from relprop.graph.sweep import Sweep
from relprop.rules.support import require_supported

if TYPE_CHECKING:
    from typing_extensions import Self

CORNER = 320  # pixels along each dimension
UNSUPPORTED = ("error", "gradient")
#: How far a graph's output may be from the model's, as a share of the largest; else 0.05.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}


@dataclass
class Plan:
    """A captured graph with a method's rules on it."""

    capture: Capture
    sweep: Sweep
    #: The forward sweep of the last common baseline.
    kept: KeptRun | None = None
    #: Whether examples lie along the first dimension of every activation, once that is known.
    by_examples: bool | None = None
    _keeping: dict[frozenset[Value], Sweep] = field(default_factory=dict)
    _sizes: tuple[object, Sizes] | None = None

    def keeping(self, layers: Collection[Value]) -> Sweep:
        """The sweep, keeping besides what the relevance of some layers is read from."""
        if not layers:
            return self.sweep
        wanted = frozenset(layers)
        if wanted not in self._keeping:
            self._keeping[wanted] = self.sweep.keeping(wanted)
        return self._keeping[wanted]

    def sizes(self, arguments: Sequence[Any]) -> Sizes:
        """The sizes of all activations for such arguments of the model; the last are kept."""
        named = name_inputs(self.graph, arguments)
        key = [(name, t.shape, t.dtype, t.device) for name, t in named.items()]
        known = self._sizes
        if known is None or known[0] != key:
            self._sizes = known = key, find_sizes(self.sweep, self.constants(), named)
        return known[1]

    @property
    def graph(self) -> Graph:
        """The graph."""
        return self.capture.graph

    def has_examples_first(self, runs: tuple[Run, Run], sizes: tuple[int, int]) -> bool:
        """See `have_examples_first`; True as long as nothing has shown it."""
        if self.by_examples is None and sizes[0] != sizes[1]:
            self.by_examples = have_examples_first(runs, sizes)
        return self.by_examples is not False

    @property
    def makers(self) -> dict[Value, tuple[Node, Any]]:
        """For every activation that is computed, the node and its rule."""
        pairs = zip(self.graph.nodes, self.sweep.crossings, strict=True)
        return {node.output: (node, rule) for node, rule in pairs if rule is not None}

    def constants(self) -> Snapshot:
        """The graph's constants, as the model's weights are now; with gradients, if recorded."""
        constants = self.capture.constants
        return constants.live() if torch.is_grad_enabled() else constants.now()


class Attributor:
    """Base of the methods that send messages back through the model's graph.

    The model is captured at the first call, and again when it is rebuilt or sees inputs of a kind
    that the graphs so far do not hold for. It is explained as it is in evaluation mode. Of a model
    that torch.compile, `nn.DataParallel` or `DistributedDataParallel` is around, the module within
    is explained, and `model` is that module.

    A method may be used by many threads at once, pickled, and copied.
    """

    #: Operators that the method cannot explain at the model's end; and what to do.
    REFUSED: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        model: nn.Module | ExportedProgram,
        *,
        output: Output = None,
        unsupported: str = "error",
    ) -> None:
        self.model = check_model(model)
        self.output = output
        self.unsupported = check_choice(unsupported, UNSUPPORTED, "unsupported")
        #: Whether graphs are simplified: only then is a batch norm part of the layer beside it.
        self.simplified = True
        self._plans: list[Plan] = []
        self._recordings = Recordings()

    def __getstate__(self) -> dict[str, Any]:
        """Without the plans, which belong to this model: a copy makes its own."""
        return {**self.__dict__, "_plans": []}

    def prepare(self, inputs: Inputs, additional_forward_args: Any = None) -> Self:
        """Capture the model for inputs like these now, rather than at the first explanation.

        Takes inputs and arguments as `attribute` does, and raises what it raises.
        """
        _, arguments = self._arguments(inputs, additional_forward_args)
        with explaining():
            self._plan(arguments)
        return self

    def sharing(self, plans: list[Plan]) -> Self:
        """Use the plans in a list, made by a method that is set alike, and add new ones to it."""
        self._plans = plans
        return self

    def _sweep(self, graph: Graph) -> Sweep:
        """The method's rules for a graph."""
        raise NotImplementedError

    def _plan(self, arguments: Sequence[Any], sparing: bool = False) -> Plan:
        """A plan that holds for these arguments of the model.

        The graph is compared with the model on them; to be `sparing` of memory, on their corner.
        """
        plan = self._known_plan(arguments)
        if plan is not None:
            return plan
        with WEIGHTS, torch.no_grad():
            # Another thread may have made one meanwhile.
            plan = self._known_plan(arguments)
            if plan is None:
                plan = self._new_plan(arguments, sparing)
                current = [p for p in self._plans if p.capture.current(self.model)]
                self._plans[:] = [*current, plan]
        return plan

    def _known_plan(self, arguments: Sequence[Any]) -> Plan | None:
        return next((p for p in self._plans if p.capture.serves(self.model, arguments)), None)

    @without_autocast
    def _new_plan(self, arguments: Sequence[Any], sparing: bool) -> Plan:
        captured = self._capture(arguments)
        require_supported(captured.graph, self.unsupported, self.REFUSED)
        plan = Plan(captured, self._sweep(captured.graph))
        if sparing:
            self._verify_sparingly(plan, arguments)
        else:
            self._verify(plan, arguments)
        return plan

    def _capture(self, arguments: Sequence[Any]) -> Capture:
        """The capture; where it fails for want of a batch dimension, say so."""
        try:
            captured = find_capture(self.model, arguments, self.output, self.simplified)
            if not any(_lacks_batch(node) for node in captured.graph.nodes):
                return captured
            failure = None
        except CaptureError as error:
            batched = [a[None] if isinstance(a, Tensor) else a for a in arguments]
            try:
                find_capture(self.model, batched, self.output)
            except CaptureError:
                raise error from None
            failure = error
        shape = tuple(arguments[0].shape)
        raise InvalidInputError(
            f"inputs must have a batch dimension, shape (N, {', '.join(map(str, shape))}); "
            f"got {shape}: for a single example, pass x[None]"
        ) from failure

    def _arguments(
        self, inputs: Inputs, additional_forward_args: Any, create_graph: bool = False
    ) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
        """The inputs to explain, and all of the model's positional arguments."""
        tensors = as_inputs(inputs, self.model, create_graph)
        if additional_forward_args is None:
            return tensors, tensors
        more = additional_forward_args
        more = more if isinstance(more, tuple) else (more,)
        return tensors, (*tensors, *more)

    def _verify_sparingly(self, plan: Plan, arguments: Sequence[Any]) -> None:
        """The same on the corner of large images: on a graph of its own if it takes another."""
        corner = [_corner(argument) for argument in arguments]
        if not plan.capture.serves(self.model, corner):
            try:
                captured = capture(self.model, corner, self.output)
            except CaptureError:  # the model takes images of this size alone
                corner = list(arguments)
            else:
                plan = Plan(captured, self._sweep(captured.graph))
        self._verify(plan, corner)

    def _verify(self, plan: Plan, arguments: Sequence[Any]) -> None:
        """Compare the graph's output with the model's own, once a capture."""
        if not isinstance(self.model, nn.Module):
            return
        with evaluating(self.model), torch.no_grad():
            expected = choose_output(self.model(*arguments), self.output)
        run = plan.sweep.forward(plan.constants(), name_inputs(plan.graph, arguments))
        got = run.values[plan.graph.output]
        if not torch.isfinite(expected).all():
            return
        bound = TOLERANCE.get(got.dtype, 0.05) * (expected.abs().max().item() + 0.01)
        if got.shape != expected.shape or not (got - expected).abs().max().item() <= bound:
            raise CaptureError(
                f"the captured graph of {type(self.model).__name__} must compute what the model "
                "does, but their outputs differ: its forward may be random, or branch on values"
            )


def name_inputs(graph: Graph, arguments: Sequence[Any]) -> dict[str, Tensor]:
    """The tensors among the model's arguments, by the names that the graph has for them.

    They are detached, unless gradients are recorded.
    """
    tensors = [a for a in arguments if isinstance(a, Tensor)]
    if not torch.is_grad_enabled():
        tensors = [tensor.detach() for tensor in tensors]
    return dict(zip(graph.inputs, tensors, strict=True))


def _corner(argument: Any) -> Any:
    """The first pixels of images, at most so many, for which strides leave what they leave of all.

    Strides are taken to be powers of two, up to 64 in all.
    """
    if not isinstance(argument, Tensor) or argument.dim() < 3:
        return argument
    for dim in range(2, argument.dim()):
        argument = argument.narrow(dim, 0, corner_size(argument.shape[dim]))
    return argument


def corner_size(n: int) -> int:
    """How many of n pixels show what a model does with all of them."""
    return n if n <= CORNER else CORNER - 64 + n % 64


def per_example(t: Tensor) -> Tensor:
    """The sum over everything but the batch."""
    return t.reshape(len(t), -1).sum(1)


def require_finite(score: Tensor) -> Tensor:
    """The examples' scores, unless one of them is no number."""
    if not torch.isfinite(score).all():
        raise InvalidInputError(
            f"the model's output for the target must be finite; got {score.tolist()}"
        )
    return score


def _lacks_batch(node: Node) -> bool:
    return isinstance(node, Opaque) and node.reason == NO_BATCH
