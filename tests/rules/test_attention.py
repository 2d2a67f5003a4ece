"""Products of two activations as matrices, and attention, which consists of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import relprop
from relprop.rules import lrp

N, L, E = 3, 5, 8


def tokens(seed: int = 1, batch: int = N) -> Tensor:
    return torch.randn(
        batch, L, E, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


class Multiplied(nn.Module):
    """Two dense layers, multiplied as matrices by an operator of torch; a value a token."""

    def __init__(self, product: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.product = nn.Linear(E, 4), nn.Linear(E, 4), product

    def forward(self, x: Tensor) -> Tensor:
        return self.product(self.a(x), self.b(x)).flatten(1)


def affinity(a: Tensor, b: Tensor) -> Tensor:
    return a @ b.transpose(1, 2)


PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "matmul": affinity,
    "bmm": lambda a, b: torch.bmm(a.transpose(1, 2), b),
    "baddbmm": lambda a, b: torch.baddbmm(torch.ones(L, L, dtype=a.dtype), a, b.mT),
    "einsum": lambda a, b: torch.einsum("nik,njk->nij", a, b),
    "einsum, summed": lambda a, b: torch.einsum("nik,njl->nkl", a, b),
    "einsum of a weight": lambda a, b: torch.einsum("nik,jk->nij", a + b, torch.eye(4).double()),
    "einsum of one": lambda a, b: torch.einsum("nik->nk", (a * b).relu()),
    "of different dimensions": lambda a, b: a[:, None] @ b.mT[:, None],
}


@pytest.fixture(params=PRODUCTS)
def multiplied(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return Multiplied(PRODUCTS[request.param]).double().eval()


def test_contributions_add_up_through_products(multiplied: nn.Module) -> None:
    x, x0 = tokens(), tokens(2)
    for rule in ("rescale", "reveal_cancel"):
        C, delta = relprop.DeepLift(multiplied, rule).attribute(
            x, x0, target=3, return_convergence_delta=True
        )
        change = (multiplied(x) - multiplied(x0))[:, 3]
        torch.testing.assert_close(C.sum((1, 2)), change, rtol=1e-11, atol=1e-11)
        assert delta.abs().max() <= 1e-11


def test_gradients_are_those_of_autograd(multiplied: nn.Module) -> None:
    x = tokens().requires_grad_()
    (expected,) = torch.autograd.grad(multiplied(x)[:, 3].sum(), x)
    found = relprop.Gradient(multiplied).attribute(x.detach(), target=3)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_weight_may_depend_on_the_input() -> None:
    model = Multiplied(lambda a, b: F.linear(a, b[0], torch.ones(L).double())).double()
    x = tokens(batch=1)
    C = relprop.DeepLift(model, "reveal_cancel").attribute(x, 0.5, target=1)
    change = model(x) - model(torch.full_like(x, 0.5))
    torch.testing.assert_close(C.sum(), change[0, 1])


class TwoSided(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a @ b).flatten(1)


def test_both_factors_get_their_shapley_values() -> None:
    a, b = torch.randn(2, 3, 4).double(), torch.randn(2, 4, 2).double()
    a0, b0 = torch.randn(2, 3, 4).double(), torch.randn(2, 4, 2).double()
    model = TwoSided()
    found = relprop.DeepLift(model).attribute((a, b), (a0, b0), target=2)

    def value(has_a: bool, has_b: bool) -> Tensor:
        return model(a if has_a else a0, b if has_b else b0)[:, 2]

    # Of two players, each is the first in one of two orders, and the second in the other.
    of_a = (value(True, False) - value(False, False) + value(True, True) - value(False, True)) / 2
    of_b = (value(False, True) - value(False, False) + value(True, True) - value(True, False)) / 2
    for contributions, shapley in zip(found, (of_a, of_b), strict=True):
        torch.testing.assert_close(contributions.sum((1, 2)), shapley)


@pytest.mark.parametrize("bias", ["absorb", "redistribute"])
def test_relevance_of_a_product_is_halved(bias: str) -> None:
    a, b = torch.randn(2, 3, 4).double(), torch.randn(2, 4, 2).double()
    explainer = relprop.LRP(TwoSided(), stabilizer=0.1, bias=bias)
    R_a, R_b = explainer.attribute((a, b), target=3)
    z = a @ b
    R = torch.zeros_like(z)
    R[:, 1, 1] = z[:, 1, 1]
    terms = torch.einsum("nik,nkj->nikj", a, b)
    left = 0.1 * torch.sign(z)
    if bias == "redistribute":  # what the stabilizer takes goes to all terms of the sum alike
        terms = terms + (left / 4)[:, :, None]
    shares = terms * (R / (z + left))[:, :, None] / 2
    torch.testing.assert_close(R_a, shares.sum(3))
    torch.testing.assert_close(R_b, shares.sum(1))
    if bias == "redistribute":
        torch.testing.assert_close(R_a.sum((1, 2)) + R_b.sum((1, 2)), z[:, 1, 1])


def test_a_report_says_what_the_stabilizer_of_a_product_took() -> None:
    a, b = torch.randn(1, 3, 4).double(), torch.randn(1, 4, 2).double()
    composite = lrp.Composite([("matmul", lrp.HalvesOfSums(stabilizer=0.5))])
    report = relprop.LRP(TwoSided(), composite).report((a, b), target=0)
    z = (a @ b)[0, 0, 0].item()
    taken = sum(node["stabilizer"] for node in report.as_dict()["nodes"])
    assert taken == pytest.approx(0.5 * z / (abs(z) + 0.5))


class Attention(nn.Module):
    """One head, through torch's operator, with a mask or a scale."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(E, 3 * E), nn.Linear(E, 2)
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        y = F.scaled_dot_product_attention(q, k, v, **self.settings)
        return self.out(y).mean(1)


MASK = torch.ones(L, L).tril()
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaled": {"scale": 0.3},
    "masked": {"attn_mask": MASK.bool()},
    "masked by numbers": {"attn_mask": ((1 - MASK) * -1e30 + torch.randn(L, L)).double()},
    "masked by infinities": {"attn_mask": MASK.log().double()},
}


@pytest.mark.parametrize("settings", SETTINGS)
def test_attention_adds_up_under_any_mask(settings: str) -> None:
    model = Attention(**SETTINGS[settings]).double().eval()
    x, x0 = tokens(), tokens(2)
    for rule in ("rescale", "reveal_cancel"):
        C = relprop.DeepLift(model, rule).attribute(x, x0, target=1)
        change = (model(x) - model(x0))[:, 1]
        torch.testing.assert_close(C.sum((1, 2)), change, rtol=1e-10, atol=1e-10)
    x.requires_grad_()
    (expected,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    found = relprop.Gradient(model).attribute(x.detach(), target=1)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_gradients_pass_scores_that_a_mask_made_infinite() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(E, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x, attn_mask=MASK.log().double())[0].mean(1)

    model, x = Masked().double().eval(), tokens().requires_grad_()
    (expected,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    found = relprop.Gradient(model).attribute(x.detach(), target=1)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_what_a_mask_hides_contributes_nothing() -> None:
    class Causal(Attention):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.qkv(x).chunk(3, -1)
            return self.out(F.scaled_dot_product_attention(q, k, v, **self.settings))[:, 2]

    C = relprop.DeepLift(Causal(attn_mask=MASK.bool()).double()).attribute(tokens(), target=0)
    assert C[:, :3].abs().min() > 0 and C[:, 3:].abs().max() == 0


class Pooled(nn.Module):
    """torch's own layer, its tokens averaged."""

    def __init__(self, layer: nn.Module, **settings: Any) -> None:
        super().__init__()
        self.layer, self.settings = layer, settings

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.layer, nn.MultiheadAttention):
            return self.layer(x, x, x, **self.settings)[0].mean(1)
        return self.layer(x).mean(1)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "attention with weights": lambda: Pooled(nn.MultiheadAttention(E, 2, batch_first=True)),
    "attention alone": lambda: Pooled(
        nn.MultiheadAttention(E, 4, batch_first=True), need_weights=False
    ),
    "encoder": lambda: Pooled(
        nn.TransformerEncoder(
            nn.TransformerEncoderLayer(E, 2, 16, batch_first=True, norm_first=True),
            2,
            enable_nested_tensor=False,
        )
    ),
    "encoder, gelu": lambda: Pooled(
        nn.TransformerEncoderLayer(E, 2, 16, activation="gelu", batch_first=True)
    ),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_transformers_layers_add_up(layer: str) -> None:
    torch.manual_seed(0)
    model = LAYERS[layer]().double().eval()
    explainer = relprop.DeepLift(model, "reveal_cancel")
    for batch in (N, 2):
        x, x0 = tokens(batch=batch), tokens(2, batch)
        C = explainer.attribute(x, x0, target=1)
        change = (model(x) - model(x0))[:, 1]
        torch.testing.assert_close(C.sum((1, 2)), change, rtol=1e-9, atol=1e-9)


class Token(nn.Module):
    """A learned token before the others, as in vision transformers; and one behind."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, E))
        self.end = nn.Parameter(torch.randn(2, E))
        self.mixed, self.out = nn.Linear(L + 3, 4), nn.Linear(E, 2)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        x = torch.cat([self.token.expand(n, -1, -1), x, self.end.expand(n, -1, -1)], dim=1)
        return self.out(self.mixed(x.mT).mT.relu().sum(1))


def test_a_learned_token_stands_beside_the_others() -> None:
    model = Token().double().eval()
    for x, x0 in itertools.product((tokens(), tokens(3, 2)), (0.0, 1.5)):
        C = relprop.DeepLift(model, "reveal_cancel").attribute(x, x0, target=0)
        change = (model(x) - model(torch.full_like(x, x0)))[:, 0]
        torch.testing.assert_close(C.sum((1, 2)), change)
    report = relprop.LRP(model, "epsilon", epsilon=0).report(tokens(), target=0)
    beside = next(node for node in report.as_dict()["nodes"] if node["node"] == "cat")
    # The token's share no input gets; and the books say so.
    assert beside["received"] == pytest.approx(beside["passed"] + beside["bias"])


class Heads(nn.Module):
    """Examples and heads in one dimension, as in torch's attention; or behind the tokens."""

    def __init__(self, merged: bool) -> None:
        super().__init__()
        self.merged, self.first, self.out = merged, nn.Linear(E, E), nn.Linear(E, 2)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        y = self.first(x)
        if self.merged:
            y = y.view(n, L, 2, E // 2).transpose(1, 2).flatten(0, 1).tanh().unflatten(0, (n, 2))
            y = y.transpose(1, 2).flatten(2)
        else:
            y = y.transpose(0, 1).tanh().transpose(0, 1)
        return self.out(y).mean(1)


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("examples", [1, 3, 5])
def test_common_baselines_serve_models_with_examples_in_any_dimension(
    merged: bool, examples: int
) -> None:
    model, x, samples = Heads(merged).double().eval(), tokens(batch=examples), tokens(3, 5)
    explainer = relprop.DeepLift(model, "reveal_cancel")
    for K in (1, 3, 5):
        C = explainer.attribute(x, relprop.Distribution(samples[:K]), target=1)
        alone = [
            relprop.DeepLift(model, "reveal_cancel").attribute(x[i : i + 1], one[None], target=1)
            for i, one in itertools.product(range(examples), samples[:K])
        ]
        expected = torch.cat(alone).unflatten(0, (examples, K)).mean(1)
        torch.testing.assert_close(C, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.peers
def test_a_vision_transformer_adds_up() -> None:
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    model = models.VisionTransformer(
        image_size=16, patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16,
        num_classes=3,
    ).double().eval()  # fmt: skip
    nn.init.normal_(model.heads.head.weight)  # zeros as it is made
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    for rule in ("rescale", "reveal_cancel"):
        C = relprop.DeepLift(model, rule).attribute(x, target=2)
        change = (model(x) - model(torch.zeros_like(x)))[:, 2]
        torch.testing.assert_close(C.sum((1, 2, 3)), change, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"is_causal": True}, "without is_causal"), ({"dropout_p": 0.5}, "drops out at random")],
)
def test_attention_that_has_no_rule_is_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(relprop.UnsupportedOperatorError, match=reason):
        relprop.DeepLift(Attention(**settings).double().eval()).attribute(tokens(), target=0)
