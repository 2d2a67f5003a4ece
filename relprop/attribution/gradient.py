"""The gradient of one output, and what is made of one backward sweep like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from relprop.attribution.arguments import Inputs, Target, seeds
from relprop.attribution.attributor import (
    Attributor,
    Plan,
    name_inputs,
    per_example,
    require_finite,
)
from relprop.attribution.cuda_graphs import Sweeps, require_cuda
from relprop.attribution.explanation import Explanation, Sent, Tensors, results
from relprop.attribution.exporting import exported, for_export, seed_of, with_tensors
from relprop.attribution.modes import explaining
from relprop.attribution.tiled import Tiled
from relprop.attribution.tiling.methods import ByGradient
from relprop.graph.constants import Snapshot
from relprop.graph.node import Graph, Run
from relprop.graph.outputs import Output
from relprop.graph.sweep import Sweep
from relprop.rules.gradient import gradient_rules


class GradientMethod(Attributor):
    """Base of the methods that send gradients back through the model's graph.

    Every operator has a gradient, so that every model that can be captured can be explained. Nodes
    are crossed as torch's autograd crosses them, but for ReLUs where `RELU` names another rule: all
    ReLUs, be they modules or functions, used once or twice, in place or not. Unlike autograd,
    `detach` passes the gradient: for all of relprop it is an identity.

    Args:
        model: a module, explained in evaluation mode, or an exported program.
        output: which of several tensors to explain that the model returns: its index or key, a
            tuple of these where they are nested.

    Raises:
        InvalidTypeError: the model is neither.
    """

    #: A name in `relprop.rules.gradient.RELU_RULES`.
    RELU: ClassVar[str] = "gradient"

    def __init__(self, model: nn.Module | ExportedProgram, *, output: Output = None) -> None:
        super().__init__(model, output=output, unsupported="gradient")

    def _sweep(self, graph: Graph) -> Sweep:
        return Sweep(graph, gradient_rules(graph, self.RELU))

    def _forward(self, arguments: Sequence[Any]) -> tuple[Plan, Run, Tensor]:
        """A plan for the model's arguments, what its forward sweep kept, and the output."""
        plan = self._plan(arguments)
        run = plan.sweep.forward(plan.constants(), name_inputs(plan.graph, arguments))
        return plan, run, run.values[plan.graph.output]

    def _gradients(
        self, plan: Plan, run: Run, inputs: Tensors, seed: Tensor, last: bool
    ) -> Tensors:
        """The gradient of `sum(output * seed)` by each input; only the `last` frees the run."""
        arrived = plan.sweep.backward(run, [run], seed, done=[run] if last else ())
        return tuple(
            arrived[name] if name in arrived else torch.zeros_like(x)
            for name, x in zip(plan.graph.inputs, inputs, strict=False)
        )


class OneGradient(Tiled, GradientMethod):
    """Base of what is made of a single gradient for each target."""

    METHOD: ClassVar[ByGradient] = ByGradient()

    def _explain(
        self,
        inputs: Inputs,
        target: Target,
        additional_forward_args: Any,
        memory_budget: int | str | None,
        create_graph: bool,
        cuda_graph: bool,
    ) -> tuple[Tensors, list[tuple[Tensors, Tensor]], bool]:
        """The inputs; for every target gradients and score; whether there are many targets."""
        tensors, arguments = self._arguments(inputs, additional_forward_args, create_graph)
        if cuda_graph:
            require_cuda(tensors, create_graph)
        with (
            explaining(create_graph),
            self._saying_what_fits(inputs, target, additional_forward_args),
        ):
            tiles = self._tiles(arguments, memory_budget, target, cuda_graph=cuda_graph)
            if tiles is not None:
                made, many = self._by_tiles(tiles, tensors, arguments, target)
                return tensors, [(m, score) for m, _, score in made], many
            if cuda_graph:
                return tensors, *self._replayed(arguments, len(tensors), target)
            plan, run, output = self._forward(arguments)
            each, many = seeds(target, output)
            found = []
            for seed in each:
                score = require_finite(per_example(output * seed))
                m = self._gradients(plan, run, tensors, seed, last=seed is each[-1])
                found.append((m, score))
        return tensors, found, many

    def _replayed(
        self, arguments: Sequence[Any], count: int, target: Target
    ) -> tuple[list[tuple[Tensors, Tensor]], bool]:
        """The same by a recording; the first `count` of the model's tensors are explained."""
        plan = self._plan(arguments)
        graph, constants = plan.graph, plan.constants()

        def forward(tensors: Tensors) -> Run:
            return plan.sweep.forward(constants, dict(zip(graph.inputs, tensors, strict=True)))

        def explain(tensors: Tensors, each: Sequence[Tensor]) -> list[Sent]:
            run, inputs = forward(tensors), tensors[:count]
            scores = [per_example(run.values[graph.output] * seed) for seed in each]
            found = []
            for seed, score in zip(each, scores, strict=True):
                m = self._gradients(plan, run, inputs, seed, last=seed is each[-1])
                found.append(Sent(Explanation(m, score), score))
            return found

        sweeps = Sweeps(
            plan.sweep, constants, lambda tensors: forward(tensors).values[graph.output], explain
        )
        given = tuple(name_inputs(graph, arguments).values())
        sent, many = self._recordings.explain(sweeps, given, lambda y: seeds(target, y))
        return [(one.explanation.inputs, require_finite(one.score)) for one in sent], many

    def _of_gradients(self, inputs: Tensors, gradients: Tensors) -> Tensors:
        """What the method makes of the gradients by the inputs."""
        return gradients

    def export(self, inputs: Inputs, additional_forward_args: Any = None) -> ExportedProgram:
        """What `attribute` does with inputs like these, as a program of tensors alone.

        Args, returns and raises: as `LRP.export`.
        """
        tensors, arguments = self._arguments(inputs, additional_forward_args)
        arguments = for_export(arguments)
        with explaining():
            plan, _, output = self._forward(arguments)
            graph, sweep = plan.graph, plan.sweep

            def explain(constants: Snapshot, given: Tensors, target: Tensor) -> Tensors:
                run = sweep.forward(constants, name_inputs(graph, with_tensors(arguments, given)))
                seed, x = seed_of(target, run.values[graph.output]), given[: len(tensors)]
                return self._of_gradients(x, self._gradients(plan, run, x, seed, last=True))

            given = tuple(a for a in arguments if isinstance(a, Tensor))
            return exported(plan, explain, given, output)


class Gradient(OneGradient):
    """How fast an output changes with every input value (Simonyan et al. 2014, sec. 3), signed.

    The map of that paper is the magnitude of this one: `gradient.abs()`, its maximum over channels.

    Example:
        >>> gradient = Gradient(model).attribute(images, target=281)
    """

    def attribute(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        memory_budget: int | str | None = None,
        create_graph: bool = False,
        cuda_graph: bool = False,
    ) -> Any:
        """What the backward sweep from the output at `target` brings to `inputs`.

        Args:
            inputs: a tensor of shape (N, ...) or a tuple of them, in the model's dtype.
            target: which output to explain: an int, a tuple for outputs of more dimensions, a
                tensor or list with one for each example; None where there is only one output. A
                tensor of shape (N, T), or a list of N lists, has T targets for each example, all
                explained from one forward sweep. Or a function of the model's output that gives one
                of these: `lambda y: y.argmax(1)`.
            additional_forward_args: further positional arguments of the model, not explained.
            memory_budget: bytes, a number or such as `"2GiB"`, beside the model, what is derived of
                its weights, and the inputs; what would take more is made by tiles, with the same
                result (`tiling` says by which). None: as much as it takes.
            create_graph: whether the result can itself be differentiated, by `inputs` and by the
                model's weights; needs the memory of all activations.
            cuda_graph: on a GPU, record all kernels of the explanation once for inputs of this
                shape and so many targets, and start them together from then on. It pays for small
                batches; a recording holds the memory of an explanation.

        Returns:
            A tensor in the shape of `inputs` (a tuple for a tuple), in units of the output per unit
            of the input. For T targets an example, of shape (N, T, ...).

        Raises:
            InvalidInputError, InvalidTypeError: the inputs or the target cannot be used, or the
                budget is too small.
            CaptureError: the model cannot be captured.
        """
        _, found, many = self._explain(
            inputs, target, additional_forward_args, memory_budget, create_graph, cuda_graph
        )
        return results(inputs, [Explanation(*one) for one in found], many, with_delta=False)


class Deconvnet(Gradient):
    """The gradient with `relu(m)` in place of `m [x > 0]` at every ReLU (Zeiler and Fergus 2014).

    What a ReLU did on the way forth has no part in it.
    """

    RELU = "deconvolution"


class GuidedBackprop(Gradient):
    """The gradient with `relu(m) [x > 0]` at every ReLU (Springenberg et al. 2015, sec. 3.4)."""

    RELU = "guided"


class InputXGradient(OneGradient):
    """`R_i = x_i df/dx_i` (Shrikumar et al. 2016; Ancona et al. 2018, sec. 2).

    For a network of ReLUs and max pools this is LRP's epsilon rule with epsilon 0 and biases that
    keep their share (Ancona et al. 2018, prop. 1).
    """

    def attribute(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        memory_budget: int | str | None = None,
        create_graph: bool = False,
        cuda_graph: bool = False,
    ) -> Any:
        """The gradient of the output at `target`, times `inputs`.

        Args:
            inputs: as in `Gradient.attribute`.
            target: as in `Gradient.attribute`.
            additional_forward_args: further positional arguments of the model, not explained.
            return_convergence_delta: whether to return what is missing from the sum, too.
            memory_budget, create_graph, cuda_graph: as in `Gradient.attribute`.

        Returns:
            A tensor in the shape of `inputs` (a tuple for a tuple), in units of the output. With
            `return_convergence_delta` also a tensor of shape (N,): score minus sum, which is 0 for
            networks of ReLUs and max pools without biases. For T targets an example, shapes
            (N, T, ...) and (N, T).

        Raises:
            InvalidInputError, InvalidTypeError: the inputs or the target cannot be used, or the
                budget is too small.
            CaptureError: the model cannot be captured.
        """
        tensors, found, many = self._explain(
            inputs, target, additional_forward_args, memory_budget, create_graph, cuda_graph
        )
        products = []
        for gradients, score in found:
            R = self._of_gradients(tensors, gradients)
            products.append(Explanation(R, score - sum(map(per_example, R))))
        return results(inputs, products, many, return_convergence_delta)

    def _of_gradients(self, inputs: Tensors, gradients: Tensors) -> Tensors:
        """The products."""
        return tuple(x * m for x, m in zip(inputs, gradients, strict=True))
