"""What a sweep keeps, what it computes a second time, and what it lets go."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.attribution.attributor import Plan, name_inputs
from relprop.graph.node import Run
from relprop.graph.nonlinear import Activation

X = torch.randn(2, 3, 8, 8, dtype=torch.float64)


def explained() -> tuple[relprop.DeepLift, Plan]:
    model = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 2), nn.ReLU6()),
        *(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4, 3)),
    )
    method = relprop.DeepLift(model.double().eval(), rule="reveal_cancel").prepare(X)
    return method, method._plans[0]


def swept(plan: Plan, x: Tensor) -> Run:
    with torch.no_grad():
        return plan.sweep.forward(plan.constants(), name_inputs(plan.graph, (x,)))


def relu_of(plan: Plan) -> Activation:
    return next(n for n in plan.graph.nodes if isinstance(n, Activation) and n.name == "relu")


def test_a_relu_of_what_is_kept_is_computed_again_when_a_rule_reads_it() -> None:
    _, plan = explained()
    relu, run = relu_of(plan), swept(plan, X)
    assert relu.output not in run.values and relu.inputs[0] in run.values
    assert torch.equal(run.values[relu.output], run.values[relu.inputs[0]].relu())
    assert relu.output in run.values


def test_an_example_of_a_run_computes_its_own() -> None:
    _, plan = explained()
    relu, run = relu_of(plan), swept(plan, X)
    whole, own = run.values[relu.output], run.example(1).values[relu.output]
    assert torch.equal(own, whole[1:])


def test_a_kept_baseline_does_not_keep_what_was_computed_again() -> None:
    method, plan = explained()
    method.attribute(X, target=0, baselines=0)
    assert plan.kept is not None and plan.kept.run.lasting
    kept = plan.kept.run.values
    before = dict(kept)
    method.attribute(X, target=[0, 1], baselines=0)
    assert relu_of(plan).output not in kept and kept.keys() == before.keys()


def test_an_activation_that_nobody_kept_is_a_key_error() -> None:
    _, plan = explained()
    run = swept(plan, X)
    with pytest.raises(KeyError, match="no activation"):
        run.values["no activation"]
