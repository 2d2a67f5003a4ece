"""Sums add up on networks that hypothesis draws: any mixture of layers, any geometry."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import relprop

ACTIVATIONS = {"relu": F.relu, "relu6": F.relu6, "sigmoid": torch.sigmoid, "tanh": torch.tanh}
STEPS = (
    *("conv", "strided", "grouped", "dilated", "norm", "max pool", "overlapping max pool"),
    *("avg pool", "residual", "branches", "gate", "pad", "shuffle", "in place", "scale"),
)


class RandomNetwork(nn.Module):
    """The steps named, one after another, and a dense head."""

    def __init__(self, steps: list[str], activations: list[str], channels: int) -> None:
        super().__init__()
        self.steps, self.activations = steps, activations
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in steps)
        self.strided = nn.Conv2d(channels, channels, 2, stride=2, padding=1)
        self.grouped = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.dilated = nn.Conv2d(channels, channels, 2, dilation=2, padding=2)
        self.norm = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, 3)
        nn.init.normal_(self.norm.running_mean)
        nn.init.normal_(self.norm.weight)
        self.double().eval()

    def step(self, name: str, x: Tensor, index: int) -> Tensor:
        conv = self.convs[index]
        match name:
            case "strided" | "grouped" | "dilated" | "norm":
                return getattr(self, name)(x)
            case "max pool":
                return F.max_pool2d(x, 2, ceil_mode=True)
            case "overlapping max pool":
                return F.max_pool2d(x, 3, stride=1, padding=1)
            case "avg pool":
                return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            case "residual":
                return x + conv(x)
            case "branches":
                c = x.shape[1]
                return torch.cat([conv(x), x], 1)[:, c // 2 : c // 2 + c]
            case "gate":
                return conv(x) * torch.sigmoid(x.mean((2, 3), keepdim=True))
            case "pad":
                return F.pad(x, (1, 0, 0, 2))
            case "shuffle":
                return x.flip(3).transpose(2, 3)
            case "in place":
                y = conv(x)
                y += x
                return F.relu_(y)
            case "scale":
                return (x * 1.5 - 0.25) / 2
        return conv(x)

    def forward(self, x: Tensor) -> Tensor:
        for index, (name, function) in enumerate(zip(self.steps, self.activations, strict=True)):
            x = self.step(name, x, index)
            x = ACTIVATIONS[function](x) if function in ACTIVATIONS else x
        return self.head(x.mean((2, 3)))


@dataclass(frozen=True)
class Case:
    """What to build: prints small when it fails."""

    steps: list[str]
    activations: list[str]
    channels: int
    shape: tuple[int, int, int]
    common_baseline: bool
    seed: int

    def build(self) -> tuple[RandomNetwork, Tensor, Tensor]:
        """A network, inputs, and a baseline."""
        torch.manual_seed(self.seed)
        model = RandomNetwork(self.steps, self.activations, self.channels)
        n, h, w = self.shape
        x = torch.randn(n, self.channels, h, w, dtype=torch.float64)
        return model, x, torch.randn_like(x[:1] if self.common_baseline else x)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Some steps, with some activation function after each."""
    steps = draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=5))
    function = st.sampled_from([*ACTIVATIONS, "none"])
    activations = draw(st.lists(function, min_size=len(steps), max_size=len(steps)))
    size = st.integers(7, 11)
    shape = (draw(st.integers(1, 3)), draw(size), draw(size))
    channels, seed = draw(st.integers(2, 4)), draw(st.integers(0, 2**16))
    return Case(steps, activations, channels, shape, draw(st.booleans()), seed)


BUDGET = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@BUDGET
@given(cases())
def test_deeplift_sums_to_the_difference(case: Case) -> None:
    model, x, x0 = case.build()
    contributions, delta = relprop.DeepLift(model).attribute(
        x, baselines=x0, target=1, return_convergence_delta=True
    )
    difference = (model(x) - model(x0))[:, 1]
    assert (contributions.flatten(1).sum(1) - difference).abs().max() < 1e-9
    assert delta.abs().max() < 1e-9


@BUDGET
@given(
    cases(),
    st.sampled_from(["epsilon", "epsilon_plus", "epsilon_plus_flat"]),
    st.sampled_from(["absorb", "ignore", "redistribute"]),
)
def test_lrp_accounts_for_the_score(case: Case, composite: str, bias: str) -> None:
    """With a stabilizer that keeps relevances within bounds, all of the score is accounted for."""
    model, x, _ = case.build()
    lrp = relprop.LRP(model, composite, bias=bias, epsilon=0.1, stabilizer=0.1)
    R = lrp.attribute(x, target=1)
    report = lrp.report(x, target=1)
    largest = max([1.0, *(abs(account.received) for account in report.accounts)])
    largest = max(largest, R.abs().max().item())
    assert abs(report.score - model(x)[:, 1].sum().item()) < 1e-9
    assert abs(report.shortfall) < 1e-9 * largest
    assert abs(report.relevance - R.sum().item()) < 1e-9 * largest
    if bias == "redistribute":
        assert report.bias == 0 and report.stabilizer == 0
        assert abs(report.score - report.relevance - report.dropped) < 1e-9 * largest
