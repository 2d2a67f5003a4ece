"""LRP's rules for max pools against their formulas, written out window by window."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.ops.pool_windows import add_in_order
from relprop.rules.lrp import Stabilizer

EPSILON = 0.01
POOLS = {
    "plain 1d": (nn.MaxPool1d(2), (6,)),
    "overlapping": (nn.MaxPool2d(3, 2), (7, 5)),
    "padded, dilated": (nn.MaxPool2d(2, 1, padding=1, dilation=2), (5, 4)),
    "ceil mode": (nn.MaxPool2d(3, 2, padding=1, ceil_mode=True), (6, 6)),
    "3d": (nn.MaxPool3d(2, 1), (3, 2, 3)),
    "adaptive": (nn.AdaptiveMaxPool2d((2, 3)), (5, 4)),
    "global": (nn.AdaptiveMaxPool2d(1), (3, 4)),
}


def members(pool: nn.Module, x: Tensor) -> Tensor:
    """Whether output j sees input i: it turns infinite if input i does."""
    rows = []
    for i in range(x.numel()):
        marked = torch.zeros_like(x).flatten()
        marked[i] = torch.inf
        rows.append(pool(marked.reshape(1, 1, *x.shape)).flatten().isinf())
    return torch.stack(rows)


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("rule", ["shared", "proportional"])
@pytest.mark.parametrize("bias", ["absorb", "redistribute"])
def test_pool_rule_is_its_formula(name: str, rule: str, bias: str) -> None:
    pool, shape = POOLS[name]
    x = torch.randint(1, 4, shape).double()  # many ties
    seen, y = members(pool, x), pool(x[None, None])
    head = nn.Sequential(pool, nn.Flatten(1), nn.Linear(y.numel(), 1, bias=False)).double()
    expected, values = torch.zeros(x.numel(), dtype=torch.float64), x.flatten()
    weight = head[2].weight.detach()[0]
    for j, maximum in enumerate(y.flatten()):
        inside = seen[:, j]
        # The head is a z rule without bias; its epsilon is 0.
        R = weight[j] * maximum
        if rule == "shared":
            part = (inside & (values == maximum)).double()
            expected += R * part / part.sum()
        else:
            total = (values * inside).sum()
            extra = EPSILON / inside.sum().item() if bias == "redistribute" else 0.0
            expected += R * (values + extra) * inside / (total + EPSILON)
    settings = {"epsilon": 0, "stabilizer": EPSILON, "bias": bias, "max_pool": rule}
    lrp = relprop.LRP(head, "epsilon", **settings)
    got = lrp.attribute(x[None, None], target=0).flatten()
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    assert lrp.report(x[None, None], target=0).shortfall == pytest.approx(0, abs=1e-10)


STABILIZERS = {
    "absolute": Stabilizer(EPSILON),
    "relative": Stabilizer(EPSILON, "relative"),
    "clip": Stabilizer(0.5, "clip"),
}


@pytest.mark.parametrize("kind", STABILIZERS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_proportional_pool_takes_relevance_through_an_activation(
    kind: str, memory_format: torch.memory_format
) -> None:
    model = nn.Sequential(nn.MaxPool2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(24, 1, bias=False))
    model = model.double()
    x = torch.randn(2, 2, 6, 8, dtype=torch.float64).contiguous(memory_format=memory_format)
    lrp = relprop.LRP(
        model, "epsilon", epsilon=0, stabilizer=STABILIZERS[kind], max_pool="proportional"
    )
    got = lrp.attribute(x, target=0)

    windows = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)  # (batch, channels, rows, columns, taps)
    R = model[3].weight.detach()[0].reshape(2, 3, 4) * windows.amax(-1).tanh()
    z = windows.sum(-1)
    sign = torch.where(z < 0, -1.0, 1.0).double()
    stabilized = {
        "absolute": z + EPSILON * sign,
        "relative": z + EPSILON * z.abs().mean((1, 2, 3), keepdim=True) * sign,
        "clip": torch.where(z.abs() < 0.5, 0.5 * sign, z),
    }[kind]
    s = (R / stabilized).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(got, x * s, rtol=1e-10, atol=1e-12)


def test_adding_in_order_adds_all_that_belongs_to_a_place() -> None:
    places, parts = torch.tensor([4, 0, 4, 1, 4]), torch.randn(2, 3, 5, dtype=torch.float64)
    expected = torch.zeros(2, 3, 6, dtype=torch.float64)
    for k, place in enumerate(places.tolist()):
        expected[..., place] += parts[..., k]
    got = add_in_order(torch.zeros(2, 3, 6, dtype=torch.float64), places, parts)
    torch.testing.assert_close(got, expected)
