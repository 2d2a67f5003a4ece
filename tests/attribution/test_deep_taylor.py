"""Deep Taylor decomposition: positive, conserving, and the paper's formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import relprop


def network() -> nn.Module:
    """No bias is positive, as in the paper: a neuron that is on has inputs to thank for it."""
    model = nn.Sequential(
        *(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 2), nn.ReLU()),
    ).double()
    with torch.no_grad():
        for layer in (model[0], model[3], model[6], model[8]):
            layer.bias.abs_().mul_(-0.01)
        model[8].weight.abs_()
    return model


@pytest.mark.parametrize("bounds", [{}, {"low": -2.0, "high": 2.0}], ids=["w^2", "z^B"])
def test_relevance_is_positive_and_sums_to_the_score(bounds: dict[str, float]) -> None:
    model = network()
    x = torch.rand(3, 2, 8, 8, dtype=torch.float64) * 4 - 2
    scores = model(x).detach()
    targets = scores.argmax(1)
    R, delta = relprop.DeepTaylor(model, **bounds).attribute(
        x, target=targets, return_convergence_delta=True
    )
    assert scores.amax(1).max() > 0 and R.min() >= -1e-12
    assert delta.abs().max() <= 1e-3 * scores.max()


@pytest.mark.parametrize("bounds", [{}, {"low": -2.0, "high": 2.0}], ids=["w^2", "z^B"])
def test_two_dense_layers_are_the_papers_sums(bounds: dict[str, float]) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1)).double()
    with torch.no_grad():
        model[2].weight.abs_()
        model[2].bias.fill_(0.3)
    x = torch.rand(1, 4, dtype=torch.float64) * 4 - 2
    a = model[1](model[0](x))[0].detach()
    w, v = model[0].weight.detach(), model[2].weight.detach()[0]
    R_hidden = a * v / (a * v).sum() * model(x).item()
    q = x * w + 2 * w.clamp(min=0) - 2 * w.clamp(max=0) if bounds else w**2
    expected = (q / q.sum(1, keepdim=True) * R_hidden[:, None]).sum(0)
    R = relprop.DeepTaylor(model, **bounds).attribute(x, target=0)[0]
    torch.testing.assert_close(R, expected, rtol=1e-4, atol=1e-6)
