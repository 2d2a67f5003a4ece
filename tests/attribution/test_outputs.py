"""Models that return several tensors: one of them is explained."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

import relprop


class Pair(NamedTuple):
    coarse: Tensor
    fine: Tensor


class Heads(nn.Module):
    """A trunk with two heads, whose outputs `form` puts together."""

    def __init__(self, form: object) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2), nn.Linear(6, 3)
        self.form = form
        self.double()

    def forward(self, x: Tensor) -> object:
        h = torch.relu(self.trunk(x))
        return self.form(self.a(h), self.b(h))


class One(nn.Module):
    """What one head of the same network returns, alone."""

    def __init__(self, heads: Heads, name: str) -> None:
        super().__init__()
        self.trunk, self.head = heads.trunk, getattr(heads, name)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.trunk(x)))


FORMS = {
    "tuple": (lambda a, b: (a, b), 0, 1),
    "dict": (lambda a, b: {"out": a, "aux": b}, "out", "aux"),
    "named tuple": (Pair, "coarse", "fine"),
    "nested": (lambda a, b: {"logits": [a, None], "aux": (b,)}, ("logits", 0), "aux"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "method",
    [relprop.LRP, relprop.DeepLift, relprop.DeepTaylor, relprop.InputXGradient, relprop.Taylor],
)
def test_each_output_is_explained_as_if_it_were_the_only_one(form: str, method: type) -> None:
    make, *outputs = FORMS[form]
    model, x = Heads(make), torch.randn(3, 4).double()
    for output, name in zip(outputs, "ab", strict=True):
        got = method(model, output=output).attribute(x, target=1)
        assert torch.equal(got, method(One(model, name)).attribute(x, target=1))


def test_a_model_with_one_tensor_in_a_dict_needs_no_choice() -> None:
    model, x = Heads(lambda a, b: {"out": a + b.sum(1, keepdim=True)}), torch.randn(2, 4).double()
    _, delta = relprop.DeepLift(model).attribute(x, target=0, return_convergence_delta=True)
    assert delta.abs().max() < 1e-12


@pytest.mark.parametrize("output", [None, "aus", 0, ("out", 1)])
def test_a_wrong_choice_is_told_what_there_is(output: object) -> None:
    model = Heads(lambda a, b: {"out": a, "aux": b})
    with pytest.raises(relprop.CaptureError, match=r"returns 2 tensors.*one of 'out', 'aux'"):
        relprop.LRP(model, output=output).attribute(torch.ones(1, 4).double(), target=0)
