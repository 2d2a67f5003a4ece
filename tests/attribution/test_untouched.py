"""What an explanation leaves behind: nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relprop

METHODS = [relprop.LRP, relprop.DeepLift]


class Network(nn.Module):
    """Batch norm, dropout, in-place steps, a reused module, a frozen and a trained part."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 2)
        self.norm.eval()
        self.conv.weight.requires_grad_(False)
        self.head.weight.grad = torch.ones_like(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.norm(self.conv(x)))
        y += self.relu(self.conv(x))
        return self.head(self.drop(y.mean((2, 3))))


def snapshot(model: nn.Module) -> dict[str, Any]:
    """All that could have been changed."""
    return {
        "state": {k: v.clone() for k, v in model.state_dict().items()},
        "pointers": [p.data_ptr() for p in model.parameters()],
        "versions": [p._version for p in (*model.parameters(), *model.buffers())],
        "modes": [m.training for m in model.modules()],
        "attributes": [sorted(vars(m)) for m in model.modules()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for m in model.modules()
        ],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "needs grad": [p.requires_grad for p in model.parameters()],
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    for name, state in before["state"].items():
        assert torch.equal(state, after["state"][name])
    for a, b in zip(before["grads"], after["grads"], strict=True):
        assert (a is None and b is None) or torch.equal(a, b)
    for key in ("pointers", "versions", "modes", "attributes", "hooks", "needs grad"):
        assert before[key] == after[key], key


@pytest.mark.parametrize("method", METHODS)
def test_model_and_inputs_are_as_before(method: Any) -> None:
    model = Network().train()
    x = torch.rand(2, 3, 6, 6, requires_grad=True)
    before, kept = snapshot(model), x.detach().clone()
    method(model).attribute(x, target=1)
    assert_same(before, snapshot(model))
    assert torch.equal(x, kept) and x.grad is None and x.requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("step", ["capture", "target", "rule"])
def test_model_is_as_before_when_it_raised(method: Any, step: str, monkeypatch: Any) -> None:
    model = Network().train()
    before = snapshot(model)
    shape, target = (2, 3, 6, 6), 1
    if step == "capture":
        shape = (2, 5, 6, 6)
    elif step == "target":
        target = 7
    else:
        monkeypatch.setattr("relprop.graph.sweep.Sweep.backward", lambda *_, **__: 1 / 0)
    with pytest.raises((relprop.RelpropError, ZeroDivisionError)):
        method(model).attribute(torch.rand(shape), target=target)
    assert_same(before, snapshot(model))
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("method", METHODS)
def test_a_model_in_training_is_explained_as_in_evaluation(method: Any) -> None:
    model = Network()
    x = torch.rand(2, 3, 6, 6)
    training = method(copy.deepcopy(model).train()).attribute(x, target=1)
    evaluation = method(copy.deepcopy(model).eval()).attribute(x, target=1)
    assert torch.equal(training, evaluation)


def test_results_carry_no_graph() -> None:
    x = torch.rand(2, 3, 6, 6, requires_grad=True)
    assert not relprop.LRP(Network()).attribute(x, target=0).requires_grad


def test_captures_do_not_keep_a_model_alive() -> None:
    import gc
    import weakref

    model = Network()
    relprop.LRP(model).attribute(torch.rand(1, 3, 6, 6), target=0)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
