"""A stack is read as a concatenation: what is stacked and summed is as good as added."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import relprop


class Branches(nn.Module):
    """Two branches of one input, and the input itself twice, put together."""

    def __init__(self, stacked_at: int | None) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.stacked_at = stacked_at

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.one(x).relu(), self.two(x).tanh(), x, x]
        if self.stacked_at is None:
            return self.out(parts[0] + parts[1] + (parts[2] + parts[3]))
        return self.out(torch.stack(parts, self.stacked_at).sum(self.stacked_at))


METHODS = {
    "LRP": lambda model: relprop.LRP(model, "epsilon", epsilon=0.01, stabilizer=0),
    "DeepLift": relprop.DeepLift,
    "Gradient": relprop.Gradient,
}


@pytest.mark.parametrize("dim", [1, 2, -1, -2])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_stacked_and_summed_is_explained_as_what_is_added(method: str, dim: int) -> None:
    added, stacked = Branches(None).double(), Branches(dim).double()
    stacked.load_state_dict(added.state_dict())
    x = torch.randn(5, 4, dtype=torch.float64)
    got, expected = (METHODS[method](m).attribute(x, target=1) for m in (stacked, added))
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)
