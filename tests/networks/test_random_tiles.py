"""Tiles add up to the whole on networks that hypothesis draws, wherever these can be cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_network import Case, cases
from torch import Tensor, nn

import relprop
from relprop.attribution import tiled
from relprop.attribution.tiled import Tiled
from relprop.attribution.tiling.in_memory import Division, tiling_of
from relprop.attribution.tiling.planner import Planner
from relprop.attribution.tiling.tiling import Tiling
from relprop.graph.cut import Cut

METHODS: dict[str, Callable[[nn.Module], Tiled]] = {
    "LRP": lambda net: relprop.LRP(net, epsilon=0.1, stabilizer=0.1),
    "gradient": relprop.Gradient,
    "Rescale": lambda net: relprop.DeepLift(net, "rescale", "winner"),
    "RevealCancel": lambda net: relprop.DeepLift(net, "reveal_cancel", "shapley"),
}


def planners_cuts(explain: Callable[[], Tensor]) -> int:
    """How many cuts there are for an explanation, which is not made."""
    numbers: list[int] = []

    def count(planner: Planner, budget: int) -> tuple[Tiling, tuple[Cut, ...]]:
        numbers.append(len(planner.cuts()[0]))
        return Tiling(budget, budget, budget), ()

    with patch.object(tiled, "plan_tiles", count):
        explain()
    return numbers[0]


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(cases(), st.sampled_from(sorted(METHODS)), st.integers(1, 4))
def test_tiles_add_up_to_the_whole(case: Case, method: str, edge: int) -> None:
    model, x, x0 = case.build()
    explainer = METHODS[method](model)
    options: dict[str, Any] = {"baselines": x0} if method in ("Rescale", "RevealCancel") else {}
    try:
        whole = explainer.attribute(x, target=1, **options)
    except relprop.UnsupportedOperatorError:  # LRP does not explain a softmax
        return

    def explain() -> Tensor:
        R: Tensor = explainer.attribute(x, target=1, memory_budget=1, **options)
        return R

    for number in range(planners_cuts(explain)):

        def plan(
            planner: Planner, budget: int, number: int = number
        ) -> tuple[Tiling, tuple[Cut, ...]]:
            cuts: tuple[Cut, ...] = (planner.cuts()[0][number],)
            above = planner.cuts(cuts[0].head)[0] if number % 2 else []
            if above and above[-1].body.inputs == (cuts[0].body.cut,):
                cuts = (*cuts, above[number % len(above)])
            return tiling_of(planner, Division(cuts, (edge,) * len(cuts)), budget), cuts

        with patch.object(tiled, "plan_tiles", plan):
            R = explain()
        assert (R - whole).abs().max() <= 1e-9 * max(whole.abs().max().item(), 1e-6)
