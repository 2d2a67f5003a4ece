"""Gradients are autograd's, on any network; and captum's, on networks that hooks get right."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import relprop
from relprop.graph.sweep import Sweep

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def autograd(model: Callable[..., Tensor], x: Tensor, target: Any) -> Tensor:
    x = x.clone().requires_grad_()
    y = model(x)
    score = y[torch.arange(len(y)), target].sum()
    return torch.autograd.grad(score, x)[0]


class Block(nn.Module):
    """A ResNet's: its one ReLU is used twice, in place, and again as a function."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.norm(self.first(x)))
        y = self.second(y)
        y += x
        return F.relu(self.relu(y) - 0.1)


class Rewritten(nn.Module):
    """`Block` with a module of its own for every ReLU, none of them in place."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relus[0](self.block.norm(self.block.first(x)))
        y = self.block.second(y) + x
        return self.relus[2](self.relus[1](y) - 0.1)


def residual(block: Callable[[nn.Module], nn.Module] = lambda b: b) -> nn.Module:
    torch.manual_seed(1)
    one = Block(4)
    nn.init.normal_(one.norm.running_mean)
    return (
        nn.Sequential(
            *(nn.Conv2d(3, 4, 3, stride=2), block(one), nn.MaxPool2d(3, 2, 1)),
            *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)),
        )
        .double()
        .eval()
    )


def plain() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 6, 3)),
        *(nn.ReLU(), nn.Flatten(), nn.Linear(96, 10), nn.ReLU(), nn.Linear(10, 4)),
    ).double()


X = torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(0)).double()
TARGETS = torch.tensor([0, 3, 1])


def test_gradient_is_autograds_through_reused_functional_and_in_place_relus() -> None:
    model = residual()
    got = relprop.Gradient(model).attribute(X, target=TARGETS)
    torch.testing.assert_close(got, autograd(model, X, TARGETS), **EXACT)


class Everything(nn.Module):
    """Nodes of every kind, operators that no node describes among them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(3, 4, 3, stride=2)
        self.norm, self.prelu, self.head = nn.LayerNorm(4), nn.PReLU(), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = F.adaptive_max_pool2d(F.gelu(self.conv(x)), 3).flatten(2).transpose(1, 2)
        y = y + torch.bmm(y, y.transpose(1, 2)).softmax(2) @ y
        y = torch.where(y > 0.1, torch.erf(y), y.flip(1) * torch.sigmoid(self.norm(y)))
        y = self.prelu(y) / (1 + y.abs()) - 0.3 * y.softmax(1)
        return self.head(torch.cat([y.mean(1), y.amax(1)], 1))


def test_gradient_is_autograds_through_operators_of_every_kind() -> None:
    model = Everything().double().eval()
    got = relprop.Gradient(model).attribute(X, target=TARGETS)
    torch.testing.assert_close(got, autograd(model, X, TARGETS), **EXACT)


KINKS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "relu6": F.relu6,
    "hardtanh": lambda x: F.hardtanh(x, 0, 1),
    "clamp": lambda x: x.clamp(0, 1),
    "clamp from below": lambda x: x.clamp(min=0),
    "threshold": lambda x: F.threshold(x, 0, 0),
    "leaky relu": F.leaky_relu,
    "elu": lambda x: F.elu(x, 0.5),
    "abs": torch.abs,
    "prelu": lambda x: F.prelu(x, torch.tensor([0.2], dtype=x.dtype)),
    "max pool of equals": lambda x: F.max_pool1d(x[:, None], 2)[:, 0],
}


@pytest.mark.parametrize("name", KINKS)
def test_gradient_at_a_kink_is_autograds(name: str) -> None:
    class Kink(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return KINKS[name](x * 1).sum(1)

    x = torch.tensor([[-1.0, 0.0, 0.0, 1.0, 6.0, 6.0]], dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(Kink()(x).sum(), x)
    assert torch.equal(relprop.Gradient(Kink()).attribute(x), expected)


def test_gradient_passes_changes_of_type() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.Softmax(1), nn.Linear(4, 3))
    x = torch.randn(3, 5)
    got = relprop.Gradient(model).attribute(x, target=2)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, autograd(model, x, 2), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "method, theirs, settings",
    [
        ("Gradient", "Saliency", {"abs": False}),
        ("InputXGradient", "InputXGradient", {}),
        ("Deconvnet", "Deconvolution", {}),
        ("GuidedBackprop", "GuidedBackprop", {}),
    ],
)
def test_equal_to_captum(method: str, theirs: str, settings: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attr = pytest.importorskip("captum.attr")
        explainer = getattr(attr, theirs)(copy.deepcopy(plain_model := plain()))
        expected = explainer.attribute(X.clone().requires_grad_(), target=TARGETS, **settings)
    got = getattr(relprop, method)(plain_model).attribute(X, target=TARGETS)
    torch.testing.assert_close(got, expected.detach(), **EXACT)


class Backward(torch.autograd.Function):
    """A ReLU whose way back is `rule(m, x)`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.rule = rule
        return x.relu()

    @staticmethod
    def backward(ctx: Any, m: Tensor) -> tuple[Tensor, None]:
        return ctx.rule(m, *ctx.saved_tensors), None


RULES = {
    "Deconvnet": lambda m, x: m.relu(),
    "GuidedBackprop": lambda m, x: m.relu() * (x > 0),
}


@pytest.mark.parametrize("method", RULES)
def test_every_relu_of_a_residual_block_is_crossed_by_the_rule(method: str) -> None:
    """Also those that are functions, or used twice: as if each were a function of its own."""
    rewritten = residual(Rewritten)
    for module in list(rewritten.modules()):
        if isinstance(module, nn.ReLU):
            module.forward = lambda x: Backward.apply(x, RULES[method])
    got = getattr(relprop, method)(residual()).attribute(X, target=TARGETS)
    torch.testing.assert_close(got, autograd(rewritten, X, TARGETS), **EXACT)
    assert not torch.allclose(got, autograd(residual(), X, TARGETS))


@pytest.mark.parametrize("method", RULES)
def test_the_relus_inside_a_prelu_are_crossed_by_their_gradient(method: str) -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.PReLU(), nn.Linear(5, 2)).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    got = getattr(relprop, method)(model).attribute(x, target=1)
    torch.testing.assert_close(got, autograd(model, x, 1), **EXACT)


def test_input_times_gradient_sums_to_the_score_without_biases() -> None:
    model = plain()
    for module in model:
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
    method = relprop.InputXGradient(model)
    R, delta = method.attribute(X, target=TARGETS, return_convergence_delta=True)
    score = model(X)[torch.arange(3), TARGETS].detach()
    torch.testing.assert_close(R.flatten(1).sum(1), score, **EXACT)
    torch.testing.assert_close(delta, torch.zeros(3, dtype=torch.float64), **EXACT)
    biased, missing = relprop.InputXGradient(plain()).attribute(
        X, target=1, return_convergence_delta=True
    )
    assert biased.shape == X.shape and (missing != 0).all()


def test_many_targets_come_from_one_forward_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    model, targets = residual(), torch.tensor([[0, 2], [1, 1], [4, 0]])
    method = relprop.InputXGradient(model)
    columns = [X * autograd(model, X, targets[:, t]) for t in (0, 1)]
    method.prepare(X)
    sweeps, forward = [], Sweep.forward
    monkeypatch.setattr(Sweep, "forward", lambda *a: sweeps.append(a) or forward(*a))
    got, delta = method.attribute(X, target=targets, return_convergence_delta=True)
    assert len(sweeps) == 1 and delta.shape == (3, 2)
    torch.testing.assert_close(got, torch.stack(columns, 1), **EXACT)


def test_several_inputs_and_further_arguments() -> None:
    class Three(nn.Module):
        def forward(self, x: Tensor, y: Tensor, unused: Tensor, scale: Tensor) -> Tensor:
            return (x * y * scale).sum(1)

    x, y, z = torch.randn(3, 2, 4, dtype=torch.float64)
    scale = torch.rand(2, 1, dtype=torch.float64)
    got = relprop.Gradient(Three()).attribute((x, y, z), additional_forward_args=scale)
    for tensor, expected in zip(got, (y * scale, x * scale, 0 * z), strict=True):
        torch.testing.assert_close(tensor, expected, **EXACT)


METHODS = ("Gradient", "InputXGradient", "Deconvnet", "GuidedBackprop", "SmoothGrad")
METHODS = (*METHODS, "IntegratedGradients", "Taylor")


@pytest.mark.parametrize("name", METHODS)
def test_model_inputs_and_modes_are_as_before(name: str) -> None:
    model = residual().train()
    model[0].weight.requires_grad_(False)
    x = X.clone().requires_grad_()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    versions = [p._version for p in (*model.parameters(), *model.buffers())]
    R = getattr(relprop, name)(model).attribute(x, target=1)
    assert R.shape == X.shape and not R.requires_grad
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert versions == [p._version for p in (*model.parameters(), *model.buffers())]
    assert all(m.training and not m._forward_hooks for m in model.modules())
    assert [p.requires_grad for p in model.parameters()].count(False) == 1
    assert all(p.grad is None for p in model.parameters()) and x.grad is None
    assert torch.is_grad_enabled() and torch.equal(x, X)


@pytest.mark.parametrize("name", METHODS)
def test_a_mistake_is_met_by_one_sentence(name: str) -> None:
    method = getattr(relprop, name)(plain())
    for arguments, sentence in (
        ({"inputs": X, "target": 4}, r"target 4 is out of range.*\(3, 4\)"),
        ({"inputs": X}, "target must say which"),
        ({"inputs": X[0], "target": 0}, "batch dimension"),
        ({"inputs": X / 0, "target": 0}, "must be finite"),
    ):
        with pytest.raises(relprop.InvalidInputError, match=sentence):
            method.attribute(**arguments)
    with pytest.raises(relprop.InvalidTypeError, match=r"dtype torch.float64; got torch.float32"):
        method.attribute(X.float(), target=0)
