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
from relprop.errors import CaptureError, InvalidInputError
from relprop.graph.aten import NO_BATCH
from relprop.graph.capture import Capture, capture, evaluating, find_capture
from relprop.graph.constants import Snapshot
from relprop.graph.node import Graph, Node, Value
from relprop.graph.nonlinear import Opaque
from relprop.graph.outputs import Output, choose_output
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
    _keeping: dict[frozenset[Value], Sweep] = field(default_factory=dict)

    def keeping(self, layers: Collection[Value]) -> Sweep:
        """The sweep, keeping besides what the relevance of some layers is read from."""
        if not layers:
            return self.sweep
        wanted = frozenset(layers)
        if wanted not in self._keeping:
            self._keeping[wanted] = self.sweep.keeping(wanted)
        return self._keeping[wanted]

    @property
    def graph(self) -> Graph:
        """The graph."""
        return self.capture.graph

    @property
    def makers(self) -> dict[Value, tuple[Node, Any]]:
        """For every activation that is computed, the node and its rule."""
        pairs = zip(self.graph.nodes, self.sweep.crossings, strict=True)
        return {node.output: (node, rule) for node, rule in pairs if rule is not None}

    def constants(self) -> Snapshot:
        """The graph's constants, as the model's weights are now."""
        return self.capture.constants.now()


class Attributor:
    """Base of the methods that send messages back through the model's graph.

    The model is captured at the first call, and again when it is rebuilt or sees inputs of a kind
    that the graphs so far do not hold for. It is explained as it is in evaluation mode.
    """

    #: Operators whose steps have rules, but which the method cannot explain; and what to do.
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

    def prepare(self, inputs: Inputs, additional_forward_args: Any = None) -> Self:
        """Capture the model for inputs like these now, rather than at the first explanation.

        Takes inputs and arguments as `attribute` does, and raises what it raises.
        """
        _, arguments = self._arguments(inputs, additional_forward_args)
        with torch.no_grad():
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
        for plan in self._plans:
            if plan.capture.serves(self.model, arguments):
                return plan
        captured = self._capture(arguments)
        require_supported(captured.graph, self.unsupported, self.REFUSED)
        plan = Plan(captured, self._sweep(captured.graph))
        if sparing:
            self._verify_sparingly(plan, arguments)
        else:
            self._verify(plan, arguments)
        self._plans[:] = [p for p in self._plans if p.capture.current(self.model)] + [plan]
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
        self, inputs: Inputs, additional_forward_args: Any
    ) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
        """The inputs to explain, and all of the model's positional arguments."""
        tensors = as_inputs(inputs, self.model)
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
    """The tensors among the model's arguments, by the names that the graph has for them."""
    tensors = [a.detach() for a in arguments if isinstance(a, Tensor)]
    return dict(zip(graph.inputs, tensors, strict=True))


def _corner(argument: Any) -> Any:
    """The first pixels of images, at most so many, for which strides leave what they leave of all.

    Strides are taken to be powers of two, up to 64 in all.
    """
    if not isinstance(argument, Tensor) or argument.dim() < 3:
        return argument
    for dim in range(2, argument.dim()):
        n = argument.shape[dim]
        argument = argument.narrow(dim, 0, n if n <= CORNER else CORNER - 64 + n % 64)
    return argument


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
