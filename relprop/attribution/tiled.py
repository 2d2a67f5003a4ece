"""Methods that explain large images by tiles, where a budget of memory asks for it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from relprop.attribution.arguments import Inputs, Target, as_bytes, count_targets, seeds
from relprop.attribution.attributor import Attributor, name_inputs, per_example, require_finite
from relprop.attribution.explanation import Tensors
from relprop.attribution.modes import explaining
from relprop.attribution.tiling.bodies import Books, Rules
from relprop.attribution.tiling.in_memory import plan_tiles
from relprop.attribution.tiling.methods import Method
from relprop.attribution.tiling.passes import TiledPass
from relprop.attribution.tiling.planner import Planner
from relprop.attribution.tiling.tiling import Tiling, in_units
from relprop.errors import InvalidInputError, OutOfMemoryError
from relprop.graph.constants import Snapshot
from relprop.graph.layers import find_layers

Layers = Sequence[str | nn.Module] | None

SPARE = 0.9
"""The share of a GPU's free memory that an explanation is advised to take."""


class Tiled(Attributor):
    """Base of the methods whose `attribute` takes a `memory_budget`."""

    #: How the method's messages are taken apart.
    METHOD: ClassVar[Method[Any]]
    #: How many forward sweeps the method holds at once, at most.
    SWEEPS: ClassVar[float] = 1.0
    #: From how many dimensions of space on the budget is one for the explanation.
    LEAST_SPACE: ClassVar[int] = 0

    def tiling(
        self,
        inputs: Inputs,
        memory_budget: int | str,
        target: Target = None,
        additional_forward_args: Any = None,
    ) -> Tiling:
        """How `attribute` makes an explanation with such a budget: a plan to print.

        Takes its arguments as `attribute` does, and raises what it raises. Nothing is explained;
        of `target`, only counts how many there are.
        """
        tensors, arguments = self._arguments(inputs, additional_forward_args)
        if _space(arguments) < self.LEAST_SPACE:
            raise InvalidInputError(
                f"{type(self).__name__} makes tiles of inputs of at least {self.LEAST_SPACE + 2} "
                f"dimensions; got {', '.join(str(tuple(x.shape)) for x in tensors)}"
            )
        with explaining():
            planner, _ = self.planner(arguments, count_targets(target), self.SWEEPS)
            return plan_tiles(planner, as_bytes(memory_budget))[0]

    def _tiles(
        self,
        arguments: Sequence[Any],
        memory_budget: int | str | None,
        target: Target,
        layers: Layers = None,
        sweeps: float = 1.0,
        cuda_graph: bool = False,
        books: Books | None = None,
    ) -> TiledPass | None:
        """The sweeps of an explanation by tiles, if it does not fit into the budget otherwise."""
        if memory_budget is None or _space(arguments) < self.LEAST_SPACE:
            return None
        if torch.is_grad_enabled():
            raise InvalidInputError(
                "memory_budget must be None with create_graph=True, as all activations are needed "
                f"for gradients of the explanation; got {memory_budget!r}"
            )
        budget = as_bytes(memory_budget)
        planner, constants = self.planner(arguments, count_targets(target), sweeps, layers)
        if books is not None:
            planner = replace(planner, sweep=planner.sweep.keeping_all())
        tiling, cuts = plan_tiles(planner, budget)
        if not cuts:
            return None
        if cuda_graph:
            raise InvalidInputError(
                "leave out cuda_graph where an explanation is made by tiles; give a memory_budget "
                f"of at least {in_units(tiling.untiled)} for it as a whole"
            )
        rules = Rules(planner.sweep, self.METHOD, constants, {*planner.layers.values()}, books)
        return TiledPass(cuts, tiling, rules, planner.sizes.shapes, planner.layers)

    @contextmanager
    def _saying_what_fits(self, inputs: Inputs, target: Target, more: Any) -> Iterator[None]:
        """Where the GPU runs out of memory, say what would fit; takes what `tiling` does."""
        device = (inputs[0] if isinstance(inputs, tuple) else inputs).device
        taken = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        try:
            yield
            return
        except torch.OutOfMemoryError as error:
            traceback.clear_frames(error.__traceback__)  # they hold the activations
        fitting = self._what_fits(inputs, target, more, free_memory(device, taken))
        raise OutOfMemoryError(f"the GPU ran out of memory: {fitting}")

    def _what_fits(self, inputs: Inputs, target: Target, more: Any, free: int) -> str:
        budget = max(1, int(SPARE * free))
        try:
            tiling = self.tiling(inputs, budget, target, more)
        except InvalidInputError as refused:
            return str(refused)
        takes = f"an explanation takes about {in_units(tiling.untiled)}"
        if torch.is_grad_enabled():
            return (
                f"{takes}, and with create_graph several times that, where {in_units(free)} are "
                "free; explain fewer examples at a time"
            )
        if not tiling.boxes:
            return f"{takes}, and {in_units(free)} are free; give a memory_budget of less than that"
        return (
            f"{takes}, and {in_units(free)} are free; memory_budget='{in_units(budget)}' makes it "
            f"by {len(tiling.boxes)} tiles"
        )

    def planner(
        self, arguments: Sequence[Any], targets: int, sweeps: float, layers: Layers = None
    ) -> tuple[Planner, Snapshot]:
        """What decides about tiles, and the weights as they are now.

        Of the model's arguments, only the sizes matter.
        """
        plan = self._plan(arguments, sparing=True)
        named = find_layers(plan.graph, self.model, layers)
        sweep, constants = plan.keeping(named.values()), plan.constants()
        sizes = plan.sizes(arguments)
        return Planner(sweep, sizes, constants, self.METHOD, sweeps, targets, named), constants

    def seeds_of(self, target: Target, output: Tensor) -> tuple[list[Tensor], bool]:
        """For every target what to send back from the output, and whether there are many."""
        return seeds(target, output)

    def _by_tiles(
        self, tiles: TiledPass, inputs: Sequence[Tensor], arguments: Sequence[Any], target: Target
    ) -> tuple[list[tuple[Tensors, dict[str, Tensor], Tensor]], bool]:
        """For every target what reaches the inputs and layers, and the score; whether many."""
        filled = tiles.fill(name_inputs(tiles.graph, arguments))
        run = tiles.through_head(filled)
        output = run.values[tiles.graph.output]
        each, many = self.seeds_of(target, output)
        scores = [require_finite(per_example(output * seed)) for seed in each]
        found = [
            (tiles.of_inputs(sums, inputs), tiles.of_layers(sums, inputs[0]), score)
            for sums, score in zip(tiles.back([run], [filled], each), scores, strict=True)
        ]
        return found, many


def free_memory(device: torch.device, taken: int) -> int:
    """Bytes of a GPU that nobody has, or torch beyond those that were `taken` before."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - taken


def _space(arguments: Sequence[Any]) -> int:
    """How many dimensions of space the model's images have."""
    return max(argument.dim() for argument in arguments if isinstance(argument, Tensor)) - 2
