"""An explanation as a program of tensors: exported, compiled, saved, and equal to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.errors import InvalidInputError

METHODS: dict[str, Callable[[nn.Module], Any]] = {
    "alpha-beta": lambda m: relprop.LRP(m, "epsilon_alpha2_beta1", bias="redistribute"),
    "DeepLIFT": lambda m: relprop.DeepLift(m, "reveal_cancel", "shapley", mean_normalized=True),
    "input x gradient": relprop.InputXGradient,
    "integrated gradients": relprop.IntegratedGradients,
    "SmoothGrad": relprop.SmoothGrad,
    "Taylor": relprop.Taylor,
}
#: Those that compare an input with a baseline.
COMPARING = {"DeepLIFT", "integrated gradients", "Taylor"}


@cache
def network() -> nn.Sequential:
    """With layers for every kernel of convolutions, and one that autograd transposes."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(32, 8, 1),
        nn.Flatten(), nn.Linear(8 * 16, 5),
    ).eval()  # fmt: skip


def operators(program: torch.export.ExportedProgram) -> set[str]:
    """relprop's own among the operators of a program, in whatever part of it."""
    graphs = [m.graph for m in program.graph_module.modules() if hasattr(m, "graph")]
    names = {str(node.target) for graph in graphs for node in graph.nodes}
    return {name.split(".")[1] for name in names if name.startswith("relprop.")}


@pytest.mark.parametrize("name", METHODS)
def test_an_exported_explanation_is_the_same_for_batches_of_all_sizes(name: str) -> None:
    method = METHODS[name](network())
    program = method.export(torch.randn(1, 3, 16, 16))
    explain = program.module()
    for n in (1, 2, 7):
        x, target = torch.randn(n, 3, 16, 16), torch.arange(n) % 5
        baseline = (torch.zeros(1, 3, 16, 16),) if name in COMPARING else ()
        torch.manual_seed(n)
        expected = method.attribute(x, target=target)
        torch.manual_seed(n)
        assert torch.equal(explain(x, *baseline, target), expected)
    assert "max_pool_shapley" if name == "DeepLIFT" else "max_pool_winner" in operators(program)


def test_an_exported_explanation_is_compiled_as_one_graph() -> None:
    torch.compiler.reset()
    method, x, target = relprop.LRP(network()), torch.randn(3, 3, 16, 16), torch.tensor([0, 4, 2])
    explain = torch.compile(method.export(x).module(), fullgraph=True, backend="aot_eager")
    assert torch.equal(explain(x, target), method.attribute(x, target=target))


def test_an_exported_explanation_is_saved_and_loaded(tmp_path: Path) -> None:
    method, x, target = relprop.LRP(network()), torch.randn(3, 3, 16, 16), torch.tensor([0, 4, 2])
    torch.export.save(method.export(x), tmp_path / "lrp.pt2")
    explain = torch.export.load(tmp_path / "lrp.pt2").module()
    assert torch.equal(explain(x, target), method.attribute(x, target=target))


def test_an_exported_explanation_keeps_the_weights_of_its_time_and_records_no_gradients() -> None:
    model, x, target = nn.Linear(4, 3), torch.randn(2, 4), torch.tensor([0, 2])
    method = relprop.LRP(model)
    before, explain = method.attribute(x, target=target), method.export(x).module()
    with torch.no_grad():
        model.weight.mul_(-3)
    found = explain(x.requires_grad_(), target)
    assert torch.equal(found, before) and not found.requires_grad


class Pair(nn.Module):
    """Two inputs, an argument that is not explained, and an output of two dimensions."""

    def forward(self, a: Tensor, b: Tensor, scale: Tensor, power: int) -> Tensor:
        return torch.stack([a * scale, (b * scale) ** power], 2).relu()


KINDS = [relprop.LRP, relprop.DeepLift, relprop.IntegratedGradients, relprop.Taylor]


@pytest.mark.parametrize("kind", [*KINDS, relprop.SmoothGrad])
def test_several_inputs_and_further_arguments_are_exported(kind: Any) -> None:
    method, scale = kind(Pair()), torch.rand(3, 1)
    inputs = (torch.randn(3, 4), torch.randn(3, 4))
    torch.manual_seed(1)
    expected = method.attribute(inputs, target=(1, 1), additional_forward_args=(scale, 2))
    explain = method.export(inputs, additional_forward_args=(scale, 2)).module()
    baselines = (torch.zeros(3, 4),) * 2 if kind in KINDS[1:] else ()
    torch.manual_seed(1)
    found = explain(*inputs, *baselines, scale, torch.tensor([[1, 1]] * 3))
    assert all(map(torch.equal, found, expected))


def test_a_distribution_of_baselines_is_not_exported() -> None:
    many = relprop.Distribution(torch.zeros(2, 4))
    with pytest.raises(InvalidInputError, match="has one baseline an example; got 2"):
        relprop.DeepLift(nn.Linear(4, 3)).export(torch.randn(2, 4), many)


@pytest.mark.parametrize("n_steps", [6, 7])
def test_a_path_too_long_for_one_sweep_is_swept_in_equal_parts(n_steps: int) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    method, x = relprop.IntegratedGradients(model), torch.randn(2, 4).double()
    program = method.export(x, n_steps=n_steps, method="riemann_left", internal_batch_size=5)
    target, x0 = torch.tensor([2, 0]), torch.zeros(1, 4).double()
    points = [x * k / n_steps for k in range(n_steps)]
    gradients = [relprop.Gradient(model).attribute(point, target=target) for point in points]
    expected = x * torch.stack(gradients).mean(0)
    torch.testing.assert_close(program.module()(x, x0, target), expected)


def test_an_export_of_smooth_grad_leaves_the_generator_as_it_was() -> None:
    method, state = relprop.SmoothGrad(nn.Linear(4, 3)), torch.get_rng_state()
    method.export(torch.ones(2, 4), n_samples=2)
    assert torch.equal(torch.get_rng_state(), state)


def test_smooth_grad_with_a_generator_of_its_own_is_not_exported() -> None:
    with pytest.raises(InvalidInputError, match="seed must be None for an exported SmoothGrad"):
        relprop.SmoothGrad(nn.Linear(4, 3)).export(torch.ones(2, 4), seed=5)
