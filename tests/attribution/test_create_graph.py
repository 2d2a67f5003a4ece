"""Relevance that can be differentiated: by the input, and by the weights that it was made with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import relprop
from relprop.errors import InvalidInputError
from relprop.rules import lrp

Explain = Callable[..., Tensor]


class Branches(nn.Module):
    """Batch norms that can and cannot be folded, a sum, a concatenation, a gate, and pools."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.side = nn.Conv2d(3, 3, 1, bias=False)
        self.late = nn.BatchNorm2d(3)
        self.gate = nn.Linear(3, 3)
        self.head = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(x + self.late(F.max_pool2d(self.side(x), 3, 1, 1)))
        x = x * torch.sigmoid(self.gate(x.mean((2, 3))))[:, :, None, None]
        x = torch.cat([F.max_pool2d(x, 2), F.adaptive_max_pool2d(-x, 2)], 1)
        return self.head(x.flatten(1))


class Mixed(nn.Module):
    """Smooth functions, and what is told apart by torch alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 6)
        self.norm = nn.LayerNorm(6)
        self.slope = nn.PReLU()
        self.matrix = nn.Parameter(torch.randn(6, 6))
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.norm(self.first(x)))
        x = F.silu(self.slope(x) @ self.matrix) / (1.5 + torch.sigmoid(x))
        return self.last(x)


class Unknown(nn.Module):
    """An operator without a rule, one of whose operands is a function of the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(torch.hypot(x, x.exp()))


@cache
def network(kind: str) -> tuple[nn.Module, Tensor]:
    """A network in float64 with statistics of its own, and two examples for it.

    It is captured once for all tests, which leave it as it is.
    """
    torch.manual_seed(0)
    models: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
        "branches": (Branches, (2, 2, 4, 4)),
        "mixed": (Mixed, (2, 5)),
        "unknown": (Unknown, (2, 4)),
    }
    make, shape = models[kind]
    model = make().double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean)
            nn.init.normal_(module.bias)
    return model, torch.randn(shape, dtype=torch.float64, requires_grad=True)


def composites() -> dict[str, Callable[[nn.Module], relprop.LRP]]:
    """A way of setting LRP for every rule that layers have."""
    relative = lrp.Stabilizer(0.1, "relative")
    first = {
        "flat": lrp.Flat(),
        "w^2": lrp.WSquare(),
        "z^B": lrp.ZBox(low=-4.0, high=torch.full((2, 1, 1), 5.0, dtype=torch.float64)),
    }
    inner: dict[str, Any] = {
        "zplus": lrp.ZPlus(),
        "alpha-beta": lrp.AlphaBeta(3, 2),
        "gamma": lrp.Gamma(0.5),
        "reweighted": lrp.Reweighted(1.5, 0.5),
        "epsilon": lrp.Epsilon(relative),
    }
    made: dict[str, relprop.Composite] = {
        **{n: relprop.Composite([(lrp.first(), rule)]) for n, rule in first.items()},
        **{
            n: relprop.Composite([("convolution", rule), ("dense", rule)])
            for n, rule in inner.items()
        },
    }

    def setting(composite: relprop.Composite, **more: Any) -> Callable[[nn.Module], relprop.LRP]:
        return lambda model: relprop.LRP(model, composite, epsilon=0.1, **more)

    return {
        **{name: setting(composite) for name, composite in made.items()},
        **{
            f"{name}, {bias}": setting(made[name], bias=bias)
            for name in ("zplus", "gamma", "epsilon")
            for bias in ("ignore", "redistribute")
        },
        **{
            f"{pool} pool": setting(made["zplus"], max_pool=pool)
            for pool in ("shared", "proportional")
        },
    }


def gradients(loss: Tensor, by: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The gradients, 0 where there are none."""
    found: tuple[Tensor, ...] = torch.autograd.grad(loss, by, materialize_grads=True)
    return found


def require_derivatives(explain: Explain, model: nn.Module, x: Tensor) -> None:
    """Torch's own comparison with finite differences, by x and by all weights."""
    weights = [p for p in model.parameters() if p.requires_grad]
    assert torch.autograd.gradcheck(lambda *_: explain(x), (x, *weights), fast_mode=True)
    assert any(g.any() for g in gradients(explain(x).square().sum(), weights))


@pytest.mark.parametrize("name", composites())
def test_relevance_by_every_rule_has_the_derivatives_of_finite_differences(name: str) -> None:
    model, x = network("branches")
    method = composites()[name](model)

    def explain(x: Tensor) -> Tensor:
        return method.attribute(x, target=[0, 2], create_graph=True)

    require_derivatives(explain, model, x)
    torch.testing.assert_close(explain(x), method.attribute(x, target=[0, 2]))


@pytest.mark.parametrize("kind", ["branches", "mixed"])
@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
@pytest.mark.parametrize("max_pool", ["winner", "shapley"])
def test_contributions_of_deeplift_have_the_derivatives_of_finite_differences(
    kind: str, rule: str, max_pool: str
) -> None:
    model, x = network(kind)
    method = relprop.DeepLift(model, rule, max_pool)
    common = max_pool == "shapley"
    x0 = torch.randn_like(x[:1] if common else x).requires_grad_()

    def explain(x: Tensor) -> Tensor:
        return method.attribute(x, x0, target=1, create_graph=True)

    require_derivatives(explain, model, x)
    assert torch.autograd.gradcheck(lambda _: explain(x), (x0,), fast_mode=True)
    torch.testing.assert_close(explain(x), method.attribute(x, x0, target=1))


METHODS: dict[str, Callable[[nn.Module], Explain]] = {
    "deep Taylor": lambda m: relprop.DeepTaylor(m, low=-5.0, high=5.0).attribute,
    "gradient": lambda m: relprop.Gradient(m).attribute,
    "input x gradient": lambda m: relprop.InputXGradient(m).attribute,
    "guided backprop": lambda m: relprop.GuidedBackprop(m).attribute,
    "Taylor": lambda m: lambda x, **k: relprop.Taylor(m).attribute(x, lambda x: x / 2, **k),
    "integrated gradients": lambda m: (
        lambda x, **k: relprop.IntegratedGradients(m).attribute(x, n_steps=4, **k)
    ),
    "SmoothGrad": lambda m: (
        lambda x, **k: relprop.SmoothGrad(m).attribute(x, n_samples=2, seed=0, **k)
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_the_derivatives_of_finite_differences(name: str) -> None:
    model, x = network("mixed" if "Taylor" not in name else "branches")
    attribute = METHODS[name](model)

    def explain(x: Tensor) -> Tensor:
        return attribute(x, target=1, create_graph=True)

    require_derivatives(explain, model, x)
    torch.testing.assert_close(explain(x), attribute(x, target=1))


@pytest.mark.parametrize("kind", [relprop.LRP, relprop.DeepLift])
def test_an_operator_crossed_by_its_gradient_has_the_derivatives_of_finite_differences(
    kind: Any,
) -> None:
    model, x = network("unknown")
    method = kind(model, unsupported="gradient")
    require_derivatives(lambda x: method.attribute(x, target=1, create_graph=True), model, x)


def test_the_gradient_of_the_gradient_is_that_of_autograd() -> None:
    model, x = network("mixed")
    (expected,) = torch.autograd.grad(model(x)[:, 1].sum(), x, create_graph=True)
    found = relprop.Gradient(model).attribute(x, target=1, create_graph=True)
    torch.testing.assert_close(found, expected)
    by = (x, *model.parameters())
    for a, b in zip(*(gradients(t.square().sum(), by) for t in (found, expected)), strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_are_finite_where_neurons_are_dead_and_nothing_changed() -> None:
    model = nn.Sequential(
        nn.Conv1d(1, 4, 3), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(8, 4), nn.ReLU(),
        nn.Linear(4, 2),
    ).double()  # fmt: skip
    with torch.no_grad():
        model[0].bias.fill_(-1.0)
    x = torch.zeros(1, 1, 6, dtype=torch.float64, requires_grad=True)
    methods = [
        relprop.LRP(model, "epsilon", epsilon=0.0),
        relprop.LRP(model, "epsilon_alpha2_beta1", stabilizer=0.0),
        relprop.DeepLift(model, "reveal_cancel", "shapley"),
    ]
    for method in methods:
        R = method.attribute(x, target=0, create_graph=True)
        found = gradients(R.sum(), (x, *model.parameters()))
        assert all(g.isfinite().all() for g in found)


def test_a_step_down_the_gradient_moves_relevance_off_what_it_shall_not_be_on() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(36, 3),
    )  # fmt: skip
    x, background = torch.rand(4, 1, 6, 6), torch.ones(6, 6).triu(1)
    method = relprop.LRP(model.eval(), "epsilon_plus", epsilon=0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    def on_background(**settings: bool) -> Tensor:
        R = method.attribute(x, target=[0, 1, 2, 0], **settings)
        return (R * background).square().sum() / R.square().sum()

    before = on_background()
    for _ in range(5):
        optimizer.zero_grad()
        loss = on_background(create_graph=True)
        loss.backward()
        optimizer.step()
    assert on_background() < 0.9 * before


def test_weights_are_read_anew_by_explanations_with_and_without_a_graph() -> None:
    model, x = network("branches")
    model = copy.deepcopy(model)
    method = relprop.DeepLift(model)
    for _ in range(3):
        with_graph = method.attribute(x, target=0, create_graph=True)
        torch.testing.assert_close(with_graph, method.attribute(x, target=0))
        fresh = relprop.DeepLift(model).attribute(x, target=0)
        torch.testing.assert_close(with_graph, fresh)
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1.1)


def test_layers_many_targets_and_the_delta_have_graphs_too() -> None:
    model, x = network("branches")
    found = relprop.LRP(model).attribute(
        x,
        target=[[0, 1], [1, 2]],
        return_convergence_delta=True,
        layers=["side"],
        create_graph=True,
    )
    R, delta, layers = found
    assert all(t.requires_grad for t in (R, delta, layers["side"]))


def test_nothing_has_a_graph_that_was_not_asked_for() -> None:
    model, x = network("branches")
    R, delta = relprop.LRP(model).attribute(x, target=0, return_convergence_delta=True)
    assert not R.requires_grad and not delta.requires_grad


def test_a_graph_is_refused_where_torch_records_none() -> None:
    model, x = network("mixed")
    method = relprop.LRP(model)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode(), pytest.raises(InvalidInputError, match="create_graph must be False where"):
            method.attribute(x, target=0, create_graph=True)


def test_a_graph_is_refused_by_tiles() -> None:
    model, x = network("branches")
    with pytest.raises(InvalidInputError, match="memory_budget must be None with create_graph"):
        relprop.LRP(model).attribute(x, target=0, memory_budget="1GiB", create_graph=True)
