"""Layer-wise relevance propagation (Bach et al. 2015)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from relprop.attribution.arguments import Inputs, Target, check_choice, one_hot, seeds
from relprop.attribution.attributor import (
    Plan,
    name_inputs,
    per_example,
    require_finite,
)
from relprop.attribution.books import Books
from relprop.attribution.cuda_graphs import require_cuda
from relprop.attribution.explanation import Explanation, Sent, Tensors, results
from relprop.attribution.exporting import exported, for_export, seed_of, with_tensors
from relprop.attribution.layered import Layered
from relprop.attribution.modes import explaining
from relprop.attribution.relevance_passes import recorded, relevance_of, sent_back
from relprop.attribution.tiling.methods import ByRelevance
from relprop.attribution.tiling.passes import TiledPass
from relprop.errors import InexactWarning, InvalidInputError, NumericalError
from relprop.graph.constants import Snapshot
from relprop.graph.layers import find_layers
from relprop.graph.node import Graph, Value
from relprop.graph.outputs import Output
from relprop.graph.sweep import Sweep
from relprop.graph.two_products import sparing
from relprop.report import Report
from relprop.rules.lrp.composite import Composite, bounds_ratios, lrp_rules, stand_ins
from relprop.rules.lrp.pools import MAX_POOLS
from relprop.rules.lrp.presets import COMPOSITES
from relprop.rules.lrp.relevance import Denominators, LrpContext, Relevance, booked
from relprop.rules.lrp.stabilizer import Stabilizer, as_stabilizer
from relprop.rules.lrp.table import RuleTable
from relprop.rules.lrp.weighted import BIAS_POLICIES, Bound, Settings
from relprop.rules.support import choose

#: Bytes of denominators to keep, at most, from one target of an example to the next.
KEPT = 2**30


class LRP(Layered):
    """Relevance of every input value for one output, by layer-wise propagation.

    Args:
        model: a module, explained in evaluation mode, or an exported program.
        composite: which rule goes on which layer: `"epsilon"` everywhere; `"epsilon_plus"` with z+
            on convolutions; `"epsilon_plus_flat"` with the flat rule on the first layer as well;
            `"epsilon_plus_box"` with z^B there, for inputs in `low <= x <= high`; another preset of
            `relprop.rules.lrp.COMPOSITES`; or a `Composite`.
        bias: `"absorb"` lets biases keep their share, `"ignore"` leaves them out of denominators,
            `"redistribute"` hands their and the stabilizer's share to the layer's inputs in equal
            parts, so that relevance sums to the score exactly. A softmax inside the network keeps a
            share whatever is said here.
        epsilon: of the epsilon rule on layers with weights: `z + epsilon * sign(z)`, or another
            `Stabilizer`; None for 1e-6, in float16 0.001, in bfloat16 0.01.
        stabilizer: of every other division, in the same way.
        low, high: bounds of the inputs for z^B: numbers, or tensors that broadcast to an input.
        max_pool: what gets a window's relevance where the composite does not say: the `"winner"`,
            all maxima alike, `"shared"`, or every input by its value, `"proportional"`.
        output: which of several tensors to explain that the model returns: its index or key, a
            tuple of these where they are nested.
        unsupported: `"error"`, or `"gradient"` to cross operators without a rule by their gradient.

    Raises:
        InvalidInputError, InvalidTypeError: an argument is none of the above.

    Example:
        >>> relevance = LRP(model, composite="epsilon_plus_flat").attribute(images, target=281)
    """

    METHOD: ClassVar[ByRelevance] = ByRelevance()
    REFUSED: ClassVar[dict[str, str]] = dict.fromkeys(
        ("softmax", "_softmax", "log_softmax", "_log_softmax"),
        "a sum of shares of a probability says nothing; explain the logits that it is made of",
    )

    def __init__(
        self,
        model: nn.Module | ExportedProgram,
        composite: str | Composite = "epsilon_plus_flat",
        *,
        bias: str = "absorb",
        epsilon: float | Stabilizer | None = None,
        stabilizer: float | Stabilizer | None = None,
        low: Bound | None = None,
        high: Bound | None = None,
        max_pool: str = "winner",
        output: Output = None,
        unsupported: str = "error",
    ) -> None:
        super().__init__(model, output=output, unsupported=unsupported)
        self.composite = (
            composite
            if isinstance(composite, Composite)
            else choose(COMPOSITES, composite, "composite")
        )
        check_choice(bias, BIAS_POLICIES, "bias")
        if self.composite.needs_bounds != (low is not None and high is not None):
            raise InvalidInputError(
                "low and high must be given with a composite that has the z^B rule without bounds, "
                "such as 'epsilon_plus_box', and with no other; got "
                f"low={low!r}, high={high!r}"
            )
        self.settings = Settings(
            as_stabilizer("epsilon", epsilon),
            as_stabilizer("stabilizer", stabilizer),
            bias,
            low,
            high,
            check_choice(max_pool, tuple(MAX_POOLS), "max_pool"),
        )

    def rules(self, inputs: Inputs, additional_forward_args: Any = None) -> RuleTable:
        """Which rule each node of the model has, for inputs like these: a table to print.

        Takes inputs and arguments as `attribute` does, and raises what it raises.
        """
        _, arguments = self._arguments(inputs, additional_forward_args)
        with explaining():
            plan = self._plan(arguments)
        return RuleTable.of(plan.graph, plan.sweep.crossings)

    def attribute(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        layers: Sequence[str | nn.Module] | None = None,
        memory_budget: int | str | None = None,
        create_graph: bool = False,
        cuda_graph: bool = False,
    ) -> Any:
        """The relevance of `inputs` for the model's output at `target`.

        Args:
            inputs: a tensor of shape (N, ...) or a tuple of them, in the model's dtype.
            target: which output to explain: an int, a tuple for outputs of more dimensions, a
                tensor or list with one for each example; None where there is only one output. A
                tensor of shape (N, T), or a list of N lists, has T targets for each example, all
                explained from one forward sweep. Or a function of the model's output that gives one
                of these: `lambda y: y.argmax(1)`.
            additional_forward_args: further positional arguments of the model, not explained.
            return_convergence_delta: whether to return what is missing from the sum, too.
            layers: modules, or their paths, to attribute to as well, from the same pass:
                `"features.28"` for what the module gives, `"features.28:input"` for what it reads,
                `"relu@1"` for the second call of a module that is called more than once. A batch
                norm and the convolution that it is folded into are one layer.
            memory_budget: bytes, a number or such as `"2GiB"`, beside the model, what is derived of
                its weights, and the inputs; what would take more is made by tiles, with the same
                result (`tiling` says by which). Relevance of `layers` is within it. None: as much
                as it takes.
            create_graph: whether the relevance can itself be differentiated, by `inputs` and by the
                model's weights, as for a loss that it is part of; needs the memory of all
                activations.
            cuda_graph: on a GPU, record all kernels of the explanation once for inputs of this
                shape and so many targets, and start them together from then on. It pays for small
                batches; a recording holds the memory of an explanation.

        Returns:
            Relevance in the shape of `inputs` (a tuple for a tuple), in units of the output. With
            `return_convergence_delta` also a tensor of shape (N,): score minus sum of relevance.
            For T targets an example, shapes (N, T, ...) and (N, T). With `layers` also a dict of
            relevance by layer, in the shapes of their activations.

        Raises:
            InvalidInputError, InvalidTypeError: the inputs, the target or a layer cannot be used,
                or the budget is too small.
            CaptureError: the model cannot be captured. UnsupportedOperatorError: it has an operator
                without a rule. NumericalError: relevance overflowed.
        """
        tensors, arguments = self._arguments(inputs, additional_forward_args, create_graph)
        if cuda_graph:
            require_cuda(tensors, create_graph)
        with (
            explaining(create_graph),
            sparing(memory_budget is not None),
            self._saying_what_fits(inputs, target, additional_forward_args),
        ):
            tiles = self._tiles(arguments, memory_budget, target, layers, cuda_graph=cuda_graph)
            if tiles is not None:
                sums, many = self._by_tiles(tiles, tensors, arguments, target)
                made = [self._of_tiles(*one) for one in sums]
                return results(inputs, made, many, return_convergence_delta, layers is not None)
            plan = self._plan(arguments)
            named = find_layers(plan.graph, self.model, layers)
            if cuda_graph:
                sweeps = recorded(plan, len(tensors), named)
                given = tuple(name_inputs(plan.graph, arguments).values())
                sent, many = self._recordings.explain(sweeps, given, lambda y: seeds(target, y))
                found = [self._checked(one) for one in sent]
                return results(inputs, found, many, return_convergence_delta, layers is not None)
            sweep = plan.keeping(named.values())
            run = sweep.forward(plan.constants(), name_inputs(plan.graph, arguments))
            each, many = seeds(target, run.values[plan.graph.output])
            keep = len(each) > 1 and memory_budget is None and not torch.is_grad_enabled()
            context = LrpContext(
                run,
                plan.graph.nonnegative,
                sweep.stand_in,
                denominators=Denominators(KEPT) if keep else None,
            )
            found = [
                self._explanation(sweep, context, tensors, seed, named, last=seed is each[-1])
                for seed in each
            ]
        return results(inputs, found, many, return_convergence_delta, layers is not None)

    def _checked(self, sent: Sent) -> Explanation:
        """The explanation, if its numbers are worth something."""
        self._check(sent.explanation.inputs, require_finite(sent.score))
        return sent.explanation

    def _explanation(
        self,
        sweep: Sweep,
        context: LrpContext,
        inputs: tuple[Tensor, ...],
        seed: Tensor,
        layers: Mapping[str, Value],
        last: bool,
    ) -> Explanation:
        """Relevance for one target, and score minus sum."""
        found, score = sent_back(sweep, context, inputs, seed, layers, last)
        require_finite(score)
        self._check(found.inputs, score)
        return found

    def export(self, inputs: Inputs, additional_forward_args: Any = None) -> ExportedProgram:
        """What `attribute` does with inputs like these, as a program of tensors alone.

        Args:
            inputs, additional_forward_args: examples, as `attribute` takes them. The program holds
                for other numbers of examples, as far as the model does.

        Returns:
            The program of `(*inputs, *further tensors, target)`, `target` being int64 of shape
            (N,), or (N, k) for outputs of k dimensions, which gives relevance in the shape of the
            inputs. It has the weights as they are now, and checks nothing.

        Raises:
            InvalidInputError, InvalidTypeError: the inputs cannot be used. CaptureError,
                UnsupportedOperatorError: the model cannot be explained.
        """
        tensors, arguments = self._arguments(inputs, additional_forward_args)
        arguments = for_export(arguments)
        with explaining():
            plan = self._plan(arguments)
            constants, graph, sweep = plan.constants(), plan.graph, plan.sweep
            output = sweep.forward(constants, name_inputs(graph, arguments)).values[graph.output]

            def explain(constants: Snapshot, given: Tensors, target: Tensor) -> Tensors:
                named = name_inputs(graph, with_tensors(arguments, given))
                run = sweep.forward(constants, named)
                context = LrpContext(run, graph.nonnegative, sweep.stand_in)
                seed = seed_of(target, run.values[graph.output])
                return relevance_of(sweep, context, given[: len(tensors)], seed)

            given = tuple(a for a in arguments if isinstance(a, Tensor))
            return exported(plan, explain, given, output)

    def _of_tiles(
        self, relevance: Tensors, layers: dict[str, Tensor], score: Tensor
    ) -> Explanation:
        """The same, of relevance that was found by tiles."""
        self._check(relevance, score)
        return Explanation(relevance, score - sum(map(per_example, relevance)), layers)

    def report(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        memory_budget: int | str | None = None,
    ) -> Report:
        """Where the score went, node by node: to the inputs, to biases, to the stabilizer.

        Takes the arguments of `attribute`, and the memory of all activations at once; or, where
        that is more than a `memory_budget`, is made by tiles. Sums are over the batch.
        """
        tensors, arguments = self._arguments(inputs, additional_forward_args)
        with explaining():
            plan = self._plan(arguments, sparing=memory_budget is not None)
            books = Books(plan.sweep)
            tiles = self._tiles(arguments, memory_budget, target, books=books.keep)
            if tiles is None:
                score, found = self._reached(plan, books, arguments, target)
            else:
                score, found = self._reached_by_tiles(tiles, arguments, target)
        reached = {name: total.double().sum().item() for name, total in found.items()}
        explained = sum(reached.get(name, 0.0) for name in plan.graph.inputs[: len(tensors)])
        return Report(score, explained, sum(reached.values()) - explained, books.accounts)

    def _reached(
        self, plan: Plan, books: Books, arguments: Sequence[Any], target: Target
    ) -> tuple[float, dict[Value, Tensor]]:
        """The score, and what reached the graph's inputs."""
        sweep = plan.sweep.keeping_all()
        run = sweep.forward(plan.constants(), name_inputs(plan.graph, arguments))
        score, seed = _explained(run.values[plan.graph.output], target)
        context = LrpContext(run, plan.graph.nonnegative)
        arrived = sweep.backward(context, [run], Relevance(seed), books.keep(context))
        found = ((name, R, run.values[name]) for name, R in arrived.items())
        return score, {name: booked(R.total(run, v), v) for name, R, v in found}

    def _reached_by_tiles(
        self, tiles: TiledPass, arguments: Sequence[Any], target: Target
    ) -> tuple[float, dict[Value, Tensor]]:
        """The same by tiles."""
        filled = tiles.fill(name_inputs(tiles.graph, arguments))
        run = tiles.through_head(filled)
        score, seed = _explained(run.values[tiles.graph.output], target)
        return score, tiles.back([run], [filled], [seed])[0]

    def _check(self, relevance: tuple[Tensor, ...], score: Tensor) -> None:
        """Whether small denominators made the relevance of an example worthless."""
        size = sum(per_example(r.abs()) for r in relevance)
        assert isinstance(size, Tensor)
        if not torch.isfinite(size).all():
            raise NumericalError(
                f"relevance must be finite, but overflowed {size.dtype} on its way through "
                "denominators near zero; use a larger epsilon, another composite, or float64"
            )
        if (size * torch.finfo(size.dtype).eps > 0.01 * score.abs()).any():
            worst = (size / score.abs()).nan_to_num(nan=0.0).argmax()
            warnings.warn(
                f"relevance should add up to the score of {score[worst]:.3g}, but its parts grew "
                f"to {size[worst]:.3g} in all, more than {size.dtype} has digits for; use a larger "
                "epsilon, another composite, or float64",
                InexactWarning,
                stacklevel=5,
            )

    def _sweep(self, graph: Graph) -> Sweep:
        rules = lrp_rules(graph, self.composite, self.settings)
        return Sweep(graph, rules, stand_ins(graph, rules), winograd=bounds_ratios(graph, rules))


def _explained(output: Tensor, target: Target) -> tuple[float, Tensor]:
    """The score of the whole batch, and what to send back."""
    seed = one_hot(target, output)
    return require_finite(per_example(output * seed)).double().sum().item(), seed
