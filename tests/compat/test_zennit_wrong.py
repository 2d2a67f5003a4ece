"""Where zennit is wrong or limited, as docs/zennit.md says, and we are not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.compat.zennit_peer import EXACT, both, explained, images, plain, residual

pytestmark = pytest.mark.peers


Package = Callable[[str], ModuleType]


class By(nn.Module):
    """A function between two layers without bias."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 6, bias=False), nn.Linear(6, 2, bias=False)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.function(self.one(x)))


class Late(nn.Module):
    """The last layer is made first."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.first = nn.Linear(6, 2, bias=False), nn.Linear(4, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).relu())


def dense(*between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6, bias=False), *between, nn.Linear(6, 2, bias=False))


def normalised() -> nn.Sequential:
    norm = nn.BatchNorm1d(6)
    assert norm.running_var is not None
    nn.init.uniform_(norm.running_var, 0.5, 2)
    nn.init.normal_(norm.weight)
    return dense(norm, nn.ReLU())


def dense_alone(package: Package) -> Any:
    pairs = [(nn.Linear, package("rules").Epsilon()), (nn.ReLU, package("rules").Pass())]
    return package("composites").LayerMapComposite(pairs)


#: Networks without biases on which zennit's relevance does not add up to the score.
SUMS: dict[str, tuple[str | Callable[[Package], Any], Callable[[], nn.Module]]] = {
    "a functional tanh": ("EpsilonPlus", lambda: By(torch.tanh)),
    "a functional GELU": ("EpsilonPlus", lambda: By(F.gelu)),
    "a factor": ("EpsilonPlus", lambda: By(lambda x: 3 * x.relu())),
    "a bare addition": ("EpsilonPlus", lambda: By(lambda x: x + x.tanh())),
    "a product": ("EpsilonPlus", lambda: By(lambda x: x * x.sigmoid())),
    "a functional average": ("EpsilonPlus", lambda: By(lambda x: F.avg_pool1d(x, 3, 1, 1))),
    "the last layer made first": ("EpsilonPlusFlat", Late),
    "a batch norm that is not canonized": (dense_alone, normalised),
}


@pytest.mark.parametrize("name", SUMS)
def test_relevance_sums_to_the_score_where_zennits_does_not(name: str) -> None:
    composite, make = SUMS[name]

    def made(package: Package) -> Any:
        return (
            composite(package)
            if callable(composite)
            else getattr(package("composites"), composite)()
        )

    torch.manual_seed(1)
    model = make().double()
    x = torch.randn(16, 4).double()

    def shortfall(side: int) -> float:
        by_side = made(lambda module: both(module)[side])
        R = explained(both("attribution")[side], model, by_side, x, one_logit)[1]
        score = model.eval()(x)[:, 1].detach()
        return float((R.sum(1) - score).abs().max() / score.abs().max())

    assert shortfall(1) < 1e-4
    assert shortfall(0) > 1e-2


def one_logit(output: Tensor) -> Tensor:
    return output * torch.eye(2).double()[1]


def test_a_layer_that_is_called_twice_has_both_calls() -> None:
    torch.manual_seed(3)
    layer = nn.Linear(4, 4)
    once = nn.Sequential(layer, nn.ReLU(), copy.deepcopy(layer), nn.ReLU(), nn.Linear(4, 2))
    twice = nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), once[-1])
    x = torch.randn(5, 4)
    (theirs, ours), composites = both("attribution"), both("composites")
    expected = explained(ours, once, composites[1].EpsilonPlus(), x)
    got = explained(ours, twice, composites[1].EpsilonPlus(), x)
    torch.testing.assert_close(got, expected)
    wrong = explained(theirs, twice, composites[0].EpsilonPlus(), x)
    assert (wrong[1] - expected[1]).abs().max() > 0.1 * expected[1].abs().max()


def test_functional_relus_are_guided_too() -> None:
    torch.manual_seed(3)
    module, function = dense(nn.ReLU()), By(F.relu)
    function.one, function.two = module[0], module[2]
    x = torch.randn(5, 4)
    (theirs, ours), composites = both("attribution"), both("composites")
    for name in ("GuidedBackprop", "DeconvNet", "BetaSmooth"):
        composite = getattr(composites[1], name)()
        expected = explained(ours, module, composite, x)
        torch.testing.assert_close(explained(ours, function, composite, x), expected)
        missed = explained(theirs, function, getattr(composites[0], name)(), x)
        assert (missed[1] - expected[1]).abs().max() > 1e-3


def test_a_relu_in_place_is_smoothed_by_what_it_read() -> None:
    torch.manual_seed(3)
    model = dense(nn.ReLU())
    other = nn.Sequential(model[0], nn.ReLU(inplace=True), model[2])
    x = torch.randn(5, 4)
    (theirs, ours), composites = both("attribution"), both("composites")
    expected = explained(theirs, model, composites[0].BetaSmooth(), x)
    got = explained(ours, other, composites[1].BetaSmooth(), x)
    torch.testing.assert_close(got, expected)
    wrong = explained(theirs, other, composites[0].BetaSmooth(), x)
    assert (wrong[1] - expected[1]).abs().max() > 1e-3


def test_a_resnet_needs_no_canonizer() -> None:
    x = images(size=33)
    _, composites = both("composites")
    _, attribution = both("attribution")
    canonizer = both("torchvision")[1].ResNetCanonizer()
    canonized = explained(
        attribution, residual(), composites.EpsilonPlus(canonizers=[canonizer]), x
    )
    plainly = explained(attribution, residual(), composites.EpsilonPlus(), x)
    torch.testing.assert_close(plainly, canonized, **EXACT)


def test_folding_leaves_the_output_as_it_is() -> None:
    """zennit's canonizer leaves a batch norm's epsilon where it was, as a factor below 1."""
    torch.manual_seed(4)
    model = normalised().double().eval()
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm1d)
    norm.eps = 0.1
    x = torch.randn(5, 4).double()
    found = []
    for side in (0, 1):
        canonizer = both("canonizers")[side].SequentialMergeBatchNorm()
        composite = both("composites")[side].EpsilonPlus(canonizers=[canonizer])
        found.append(explained(both("attribution")[side], model, composite, x)[0])
    torch.testing.assert_close(found[1], model(x).detach(), **EXACT)
    assert (found[0] - model(x)).abs().max() > 1e-3


def test_the_model_is_neither_changed_nor_hooked() -> None:
    model, x = copy.deepcopy(plain()).train(), images().requires_grad_()
    before = copy.deepcopy(model.state_dict())
    _, composites = both("composites")
    with composites.EpsilonPlusFlat().context(model) as modified:
        y = modified(x)
        y.sum().backward()
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    for one, other in zip(before.values(), model.state_dict().values(), strict=True):
        assert torch.equal(one, other)


ACTIVATIONS: dict[str, Any] = {
    **{"PReLU": nn.PReLU(), "Softsign": nn.Softsign(), "Tanhshrink": nn.Tanhshrink()},
    **{"Hardshrink": nn.Hardshrink(), "RReLU": nn.RReLU(), "LayerNorm": nn.LayerNorm(6)},
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_relevance_passes_a_module_of_several_steps_as_in_zennit(name: str) -> None:
    model = dense(ACTIVATIONS[name]).double().eval()
    x = torch.randn(5, 4).double()
    found = []
    for side in (0, 1):
        passing = [(nn.LayerNorm, both("rules")[side].Pass())]
        composite = both("composites")[side].EpsilonPlus(layer_map=passing)
        found.append(explained(both("attribution")[side], model, composite, x))
    torch.testing.assert_close(found[1], found[0], **EXACT)
