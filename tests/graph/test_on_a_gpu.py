"""Off the CPU the sweeps take no way that is for CPUs alone, and never wait for the host."""

from __future__ import annotations

import pytest
import torch
from on_a_gpu import Asked, OffCpu, off_cpu
from torch import Tensor, nn

import relprop
from relprop.attribution.difference_passes import Pass, contributions_of
from relprop.attribution.relevance_passes import sent_back
from relprop.ops import backends
from relprop.rules.deeplift.multiplier import DifferenceContext
from relprop.rules.lrp import COMPOSITES
from relprop.rules.lrp.relevance import LrpContext

CPU_ALONE = {
    f"relprop::{name}"
    for name in ("winograd_convolution", "pointwise_convolution", "few_channel_transpose")
}


class Network(nn.Module):
    """Large enough for every shortcut that there is on CPUs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 7, stride=2, padding=3)
        self.wide = nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(64)
        self.narrow = nn.Conv2d(64, 64, 1)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.head = nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = self.pool(torch.relu(self.norm(self.wide(x))))
        x = torch.relu(self.narrow(x)) + x
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return Network().eval().requires_grad_(False)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 64, 64)


def asked_of_lrp(lrp: relprop.LRP, x: Tensor) -> tuple[Asked, Tensor]:
    plan, x = lrp._plan((x,)), off_cpu(x)
    with torch.no_grad(), Asked() as asked:
        run = plan.sweep.forward(OffCpu(plan.constants()), {plan.graph.inputs[0]: x})
        seed = torch.zeros_like(run.values[plan.graph.output])
        context = LrpContext(run, plan.graph.nonnegative, plan.sweep.stand_in)
        found, _ = sent_back(plan.sweep, context, (x,), seed, {}, last=True)
    return asked, found.inputs[0]


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("bias", ["absorb", "redistribute"])
def test_lrp_asks_a_gpu_for_nothing_that_is_for_cpus(
    composite: str, bias: str, model: nn.Module, x: Tensor
) -> None:
    bounds = {"low": -1.0, "high": 1.0} if COMPOSITES[composite].needs_bounds else {}
    lrp = relprop.LRP(model, composite, bias=bias, **bounds)
    asked, relevance = asked_of_lrp(lrp, x)
    assert relevance.is_meta and relevance.shape == x.shape
    assert asked.operators.isdisjoint(CPU_ALONE)
    assert asked.with_host == []


@pytest.mark.parametrize("max_pool", ["winner", "shared", "proportional"])
def test_max_pools_of_lrp_never_wait_for_the_host(
    max_pool: str, model: nn.Module, x: Tensor
) -> None:
    asked, _ = asked_of_lrp(relprop.LRP(model, "epsilon", max_pool=max_pool), x)
    assert asked.with_host == []


@pytest.mark.parametrize("max_pool", ["shared", "proportional"])
def test_windows_that_overlap_are_not_added_in_whatever_order(
    max_pool: str, model: nn.Module, x: Tensor
) -> None:
    asked, _ = asked_of_lrp(relprop.LRP(model, "epsilon", max_pool=max_pool), x)
    assert asked.operators.isdisjoint({"aten::index_add_", "aten::scatter_add_"})


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel", "genomics"])
@pytest.mark.parametrize("max_pool", ["winner", "shapley"])
def test_deeplift_asks_a_gpu_for_nothing_that_is_for_cpus(
    rule: str, max_pool: str, model: nn.Module, x: Tensor
) -> None:
    deeplift = relprop.DeepLift(model, rule, max_pool)
    plan = deeplift._plan((x,))
    x, x0, constants = off_cpu(x), off_cpu(x[:1]), OffCpu(plan.constants())
    with torch.no_grad(), Asked() as asked:
        pass_ = Pass(plan, constants, plan.sweep, {}, contributions_of)
        runs = pass_.forward((x,)), pass_.forward((x0,))
        context = DifferenceContext(*runs, plan.makers)
        seed = torch.zeros_like(runs[0].values[plan.graph.output])
        found, _ = pass_.sent_back(context, seed, ((x,), (x0,)), runs)
    assert found.inputs[0].is_meta
    assert asked.operators.isdisjoint(CPU_ALONE)
    assert asked.with_host == []


@pytest.mark.parametrize("name", sorted(CPU_ALONE))
def test_a_shortcut_is_taken_on_a_cpu_where_its_kernel_is(
    name: str, model: nn.Module, x: Tensor
) -> None:
    """Else the tests above would hold of a network for which there are none."""
    if backends().serving(name.split("::")[1], "cpu").serves != "native":
        pytest.skip("its kernel is not built")
    lrp = relprop.LRP(model, "epsilon_alpha2_beta1").prepare(x)
    with Asked() as asked:
        lrp.attribute(x, target=1)
    assert name in asked.operators
