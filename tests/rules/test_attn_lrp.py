"""LRP through attention and normalisations, by the rules of Achtibat et al. (2024), AttnLRP.

Without stabilizers, every rule but those of convolutions is that of a gradient times the input, of
a network in which some factors are held: what a normalisation divides by, the ratio f(z) / z of an
activation function, and half of what flows through a product. Such a network is written out here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import relprop
from relprop.rules import lrp

E, L = 8, 5


def tokens(batch: int = 2) -> Tensor:
    return torch.randn(batch, L, E, dtype=torch.float64)


def exactly(model: nn.Module, composite: Any = "epsilon", **settings: Any) -> relprop.LRP:
    """LRP without stabilizers."""
    return relprop.LRP(model, composite, epsilon=0.0, stabilizer=0.0, **settings)


class Softened(nn.Module):
    """A linear function of a softmax."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim, self.last = dim, nn.Linear(E, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x.softmax(self.dim)).sum(1)


@pytest.mark.parametrize("dim", [1, 2])
def test_a_softmax_is_crossed_by_its_expansion(dim: int) -> None:
    """`R_i = x_i (R'_i - s_i sum_j R'_j)` (prop. 3.1)."""
    model, x = Softened(dim).double(), tokens()
    s = x.softmax(dim)
    arrives = s * model.last.weight[1]
    expected = x * (arrives - s * arrives.sum(dim, keepdim=True))
    torch.testing.assert_close(exactly(model).attribute(x, target=1), expected.detach())


class Two(nn.Module):
    """Scores of both dimensions' weights, in a network that ends in neither."""

    def forward(self, x: Tensor) -> Tensor:
        scores = x.sum(2)
        return (scores.softmax(1)[:, :, None] * x).sum(1)


def test_a_softmax_of_rows_is_crossed_alike() -> None:
    """It takes the differences to the largest score, which change nothing."""
    x = tokens().requires_grad_()
    weights = x.sum(2).softmax(1)[:, :, None]
    (gradient,) = torch.autograd.grad((half(weights * x)).sum(1)[:, 3].sum(), x)
    found = exactly(Two()).attribute(x.detach(), target=3)
    torch.testing.assert_close(found, (x * gradient).detach())


def half(z: Tensor) -> Tensor:
    """The same, with half of its gradient (prop. 3.2 and 3.3)."""
    return (z + z.detach()) / 2


def function(f: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """An activation function that hands relevance down as it is (the identity rule)."""
    return z * (f(z) / z).detach()


def normalise(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """A normalisation whose divisor is held (prop. 3.4)."""
    centred = x - x.mean(-1, keepdim=True)
    root = (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt()
    return centred / root.detach() * norm.weight + norm.bias


def attend(x: Tensor, attention: nn.MultiheadAttention, mask: Tensor | float = 0.0) -> Tensor:
    """Self-attention with halves of products."""
    qkv = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    heads = qkv.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    q, k, v = heads
    weights = (half(q @ k.mT) / math.sqrt(q.shape[-1]) + mask).softmax(-1)
    return attention.out_proj(half(weights @ v).transpose(1, 2).flatten(2))


def encode(x: Tensor, layer: nn.TransformerEncoderLayer) -> Tensor:
    """torch's encoder layer, in either order of its normalisations."""

    def forward(x: Tensor) -> Tensor:
        return layer.linear2(function(layer.activation, layer.linear1(x)))

    if layer.norm_first:
        x = x + attend(normalise(x, layer.norm1), layer.self_attn)
        return x + forward(normalise(x, layer.norm2))
    x = normalise(x + attend(x, layer.self_attn), layer.norm1)
    return normalise(x + forward(x), layer.norm2)


class Pooled(nn.Module):
    """A layer of torch's own, its tokens averaged."""

    def __init__(self, layer: nn.Module, **settings: Any) -> None:
        super().__init__()
        self.layer, self.settings = layer, settings
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.5)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.layer, nn.MultiheadAttention):
            return self.layer(x, x, x, **self.settings)[0].mean(1)
        return self.layer(x).mean(1)


MASK = torch.ones(L, L).tril()
INFINITE = MASK.log().double()


def encoder(**settings: Any) -> nn.Module:
    return nn.TransformerEncoderLayer(E, 2, 16, batch_first=True, **settings)


def attention() -> nn.Module:
    return nn.MultiheadAttention(E, 2, batch_first=True)


LAYERS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], Callable[..., Tensor]]] = {
    "attention with weights": (attention, {}, attend),
    "attention alone": (attention, {"need_weights": False}, attend),
    "attention under a mask": (
        attention,
        {"attn_mask": INFINITE},
        lambda x, layer: attend(x, layer, INFINITE),
    ),
    "attention alone, under a mask": (
        attention,
        {"need_weights": False, "attn_mask": MASK.bool().logical_not()},
        lambda x, layer: attend(x, layer, INFINITE),
    ),
    "encoder": (encoder, {}, encode),
    "encoder, gelu first": (lambda: encoder(activation="gelu", norm_first=True), {}, encode),
}


def layer_and_oracle(name: str) -> tuple[Pooled, Callable[..., Tensor]]:
    make, settings, oracle = LAYERS[name]
    torch.manual_seed(0)
    return Pooled(make(), **settings).double().eval(), oracle


@pytest.mark.parametrize("name", LAYERS)
def test_relevance_is_the_input_times_the_gradient_with_factors_held(name: str) -> None:
    model, oracle = layer_and_oracle(name)
    x = tokens().requires_grad_()
    y = oracle(x, model.layer).mean(1)
    torch.testing.assert_close(y, model(x))
    (gradient,) = torch.autograd.grad(y[:, 2].sum(), x)
    found = exactly(model).attribute(x.detach(), target=2)
    torch.testing.assert_close(found, (x * gradient).detach(), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", LAYERS)
def test_the_books_say_where_the_score_went(name: str) -> None:
    model, _ = layer_and_oracle(name)
    report = relprop.LRP(model, "epsilon").report(tokens(), target=2)
    assert report.shortfall == pytest.approx(0, abs=1e-10)
    softmax = [a for a in report.accounts if a.node.part_of and a.rule == "expansion"]
    # What its expansion has no input for is booked as a bias's.
    assert sum(a.bias for a in softmax) != 0
    assert all(math.isfinite(a.received) for a in report.accounts)


def test_a_normalisation_loses_nothing() -> None:
    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.last = nn.GroupNorm(2, E, affine=False), nn.Linear(E, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            y = F.rms_norm(F.layer_norm(x, (E,)), (E,))
            return self.last(self.norm(y.flatten(0, 1))).unflatten(0, (-1, L)).sum(1)

    model, x = Normalised().double().eval(), tokens()
    R = exactly(model).attribute(x, target=1)
    torch.testing.assert_close(R.sum((1, 2)), model(x)[:, 1].detach())


def test_what_a_mask_hides_gets_nothing() -> None:
    class Second(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x, x, x, **self.settings)[0][:, 1]

    model = Second(attention(), attn_mask=INFINITE).double().eval()
    R = relprop.LRP(model, "epsilon").attribute(tokens(), target=0)
    assert R[:, :2].abs().min() > 0 and R[:, 2:].abs().max() == 0


#: Those that differ in dense layers, and in the first one.
PRESETS = ("epsilon", "epsilon_plus_flat", "excitation_backprop", "sequential_preset_b")


@pytest.mark.parametrize("bias", lrp.BIAS_POLICIES)
def test_composites_explain_attention(bias: str) -> None:
    model, _ = layer_and_oracle("encoder")
    for composite in PRESETS:
        report = relprop.LRP(model, composite, bias=bias).report(tokens(), target=1)
        size = sum(abs(account.received) for account in report.accounts)
        assert abs(report.shortfall) <= 1e-12 * size


def test_an_exported_explanation_of_attention_is_the_same() -> None:
    model, _ = layer_and_oracle("attention with weights")
    method, x, target = relprop.LRP(model, "epsilon"), tokens(3), torch.tensor([0, 2, 5])
    explain = method.export(x[:2]).module()
    torch.testing.assert_close(explain(x, target), method.attribute(x, target=target))


def test_an_explanation_of_attention_can_be_differentiated() -> None:
    model, x = layer_and_oracle("attention with weights")[0], tokens(1)[:, :2].requires_grad_()
    method = relprop.LRP(model, "epsilon", epsilon=0.1, stabilizer=0.1)

    def explain(x: Tensor) -> Tensor:
        found: Tensor = method.attribute(x, target=2, create_graph=True)
        return found

    assert torch.autograd.gradcheck(explain, x)


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.LogSoftmax(1)])
def test_a_model_that_ends_in_a_softmax_is_refused(last: nn.Module) -> None:
    with pytest.raises(relprop.UnsupportedOperatorError, match="explain the logits"):
        relprop.LRP(nn.Sequential(nn.Linear(4, 3), last)).attribute(torch.ones(2, 4), target=0)


@pytest.mark.peers
def test_the_rules_are_those_of_lxt() -> None:
    peer = pytest.importorskip("lxt.explicit.functional")
    x, w = tokens().requires_grad_(), torch.randn(E, dtype=torch.float64)
    s = peer.softmax(x, -1)
    # lxt's functions have relevance for gradients.
    (expected,) = torch.autograd.grad(s, x, (s * w).detach())
    model = Softened(-1).double()
    with torch.no_grad():
        model.last.weight[1] = w
    found = exactly(model).attribute(x.detach(), target=1)
    torch.testing.assert_close(found, expected)
    norm = nn.LayerNorm(E).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    y = peer.layer_norm(x, norm.weight, norm.bias, norm.eps)
    (expected,) = torch.autograd.grad(y, x, y.detach() * (torch.arange(E) == 3))
    found = exactly(nn.Sequential(norm)).attribute(x.detach(), target=(0, 3))
    # lxt adds 1e-6 to what it divides by.
    torch.testing.assert_close(found[:, 0], expected[:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.peers
def test_a_vision_transformer_is_explained() -> None:
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    model = models.VisionTransformer(
        image_size=16, patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16,
        num_classes=3,
    ).double().eval()  # fmt: skip
    nn.init.normal_(model.heads.head.weight)  # zeros as it is made
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    for composite in PRESETS:
        report = relprop.LRP(model, composite).report(x, target=2)
        size = sum(abs(account.received) for account in report.accounts)
        assert abs(report.shortfall) <= 1e-12 * size
