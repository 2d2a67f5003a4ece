"""Composites under zennit's names give what zennit's give, where these are right."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relprop.compat.zennit.composites import COMPOSITES
from tests.compat.zennit_peer import (
    BOX,
    EXACT,
    assert_same,
    both,
    explained,
    images,
    plain,
    residual,
)

pytestmark = pytest.mark.peers

Package = Callable[[str], ModuleType]
#: zennit's flat rule divides by `n + stabilizer`, ours by n.
NEXT_TO_NONE = 1e-13


def settings_of(name: str) -> dict[str, Any]:
    box = BOX if "box" in name else {}
    return {"stabilizer": NEXT_TO_NONE, **box} if name.endswith("flat") else dict(box)


def test_there_are_zennits_composites() -> None:
    theirs, ours = both("composites")
    assert ours.COMPOSITES.keys() == theirs.COMPOSITES.keys()
    for name, composite in theirs.COMPOSITES.items():
        assert ours.COMPOSITES[name].__name__ == composite.__name__


#: What to send back: the output, one of its elements, or that of which there is more.
SENT: dict[str, Any] = {
    "output": None,
    "one-hot": torch.eye(5)[[3, 1]],
    "logit": lambda output: output * torch.eye(5).double()[[0, 0]],
}


@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize("name", COMPOSITES)
def test_relevance_of_a_plain_network_is_zennits(name: str, sent: str) -> None:
    attr_output = SENT[sent].double() if isinstance(SENT[sent], Tensor) else SENT[sent]

    def make(package: Package) -> Any:
        return package("composites").COMPOSITES[name](**settings_of(name))

    assert_same(plain(), make, images(), attr_output)


#: zennit's smooth slope takes a ReLU that is called twice for one that is called once.
RESIDUAL = [name for name in COMPOSITES if name != "beta_smooth"]


@pytest.mark.parametrize("name", RESIDUAL)
def test_relevance_of_a_residual_network_is_zennits_with_its_canonizers(name: str) -> None:
    def make(package: Package) -> Any:
        canonizers = [package("torchvision").ResNetCanonizer()]
        return package("composites").COMPOSITES[name](canonizers=canonizers, **settings_of(name))

    assert_same(residual(), make, images(size=33), torch.eye(5).double()[[3, 1]])


@pytest.mark.parametrize("name", ["epsilon_gamma_box", "epsilon_plus_flat", "guided_backprop"])
def test_a_context_gives_a_model_whose_gradient_is_relevance(name: str) -> None:
    theirs, ours = both("composites")
    found = []
    x = images().requires_grad_()
    for package, model in ((theirs, copy.deepcopy(plain()).eval()), (ours, plain())):
        composite = package.COMPOSITES[name](**settings_of(name))
        with composite.context(model) as modified:
            y = modified(x)
            (by_output,) = torch.autograd.grad(y, x, y, retain_graph=True)
            (of_sum,) = torch.autograd.grad(y[:, 1].sum(), x)
        found.append((y.detach(), by_output, of_sum))
    torch.testing.assert_close(found[1], found[0], **EXACT)


def test_a_second_way_back_needs_a_graph_that_was_retained() -> None:
    _, ours = both("composites")
    x = images().requires_grad_()
    with ours.EpsilonPlus().context(plain()) as modified:
        y = modified(x).sum()
    y.backward(retain_graph=True)
    first = x.grad.clone()
    y.backward()
    torch.testing.assert_close(x.grad, 2 * first, **EXACT)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()


def test_a_registered_composite_serves_until_it_is_removed() -> None:
    (_, composites), (_, attribution) = both("composites"), both("attribution")
    composite = composites.EpsilonPlus()
    modified = composite.register(plain())
    assert modified.model is plain()
    x = images().requires_grad_()
    y = modified(x)
    (relevance,) = torch.autograd.grad(y, x, y)
    composite.remove()
    _, expected = explained(attribution, plain(), composite, x.detach())
    torch.testing.assert_close(relevance, expected, **EXACT)


def layer_map(package: Package) -> Any:
    rules, types = package("rules"), package("types")
    pairs = [
        (types.AvgPool, rules.Norm()),
        (types.Activation, rules.Pass()),
        (types.Convolution, rules.Gamma(0.5)),
    ]
    return package("composites").LayerMapComposite(pairs)


def name_map(package: Package) -> Any:
    rules = package("rules")
    pairs = [
        (["0", "5"], rules.AlphaBeta(3, 2)),
        (("13",), rules.Epsilon(0.1)),
        (["1"], rules.Pass()),
    ]
    return package("composites").NameMapComposite(pairs)


def first_map(package: Package) -> Any:
    rules, types = package("rules"), package("types")
    layers = [(nn.Linear, rules.Epsilon()), (types.Convolution, rules.ZPlus(zero_params="bias"))]
    first = [(types.Convolution, rules.WSquare(1e-15, zero_params=["bias"]))]
    return package("composites").SpecialFirstLayerMapComposite(layers, first)


def mixed(package: Package) -> Any:
    composites, rules = package("composites"), package("rules")
    relus = composites.NameMapComposite([(["3", "6"], rules.ReLUGuidedBackprop())])
    return composites.MixedComposite(
        [relus, layer_map(package), composites.EpsilonPlusFlat(stabilizer=NEXT_TO_NONE)]
    )


def name_layer_map(package: Package) -> Any:
    rules = package("rules")
    return package("composites").NameLayerMapComposite(
        [(["0"], rules.Flat(1e-15)), (["7"], rules.Norm(0.1))],
        [(nn.Linear, rules.Gamma()), (nn.Conv2d, rules.Epsilon(1e-3))],
    )


def module_map(package: Package) -> Any:
    rules = package("rules")

    def rule(notes: dict[str, int], name: str, module: nn.Module) -> Any:
        if isinstance(module, nn.Conv2d):
            notes["convolutions"] = notes.get("convolutions", 0) + 1
            return rules.Gamma(1 / notes["convolutions"])
        return rules.Epsilon() if isinstance(module, nn.Linear) else None

    return package("core").Composite(rule)


MAPS = [layer_map, name_map, first_map, mixed, name_layer_map, module_map]


@pytest.mark.parametrize("make", MAPS, ids=lambda make: make.__name__)
def test_what_no_map_has_a_rule_for_is_crossed_as_in_zennit(make: Callable[[Package], Any]) -> None:
    """As a gradient would cross it: dense layers among others here."""
    assert_same(plain(), make, images())
    assert_same(plain(), make, images(), torch.eye(5).double()[[3, 1]])


Stabilizers = dict[str, Callable[[Package], Any]]
OF_NUMBERS: Stabilizers = {
    "number": lambda package: 0.1,
    "stabilizer": lambda package: package("core").Stabilizer(0.1),
    "clip": lambda package: package("core").Stabilizer(0.1, clip=True),
    "function": lambda package: lambda z: torch.where(z < 0, z * 1.5 - 0.1, z * 1.5 + 0.1),
}
OF_TENSORS: Stabilizers = {
    "scaled": lambda package: package("core").Stabilizer(0.1, norm_scale=True),
    "scaled clip": lambda package: package("core").Stabilizer(0.1, clip=True, norm_scale=True),
    "scaled by channel": lambda package: package("core").Stabilizer(0.1, norm_scale=True, dim=(1,)),
    "function": lambda package: lambda z: z + z.abs().amax() * (2 * (z >= 0) - 1),
}


@pytest.mark.parametrize("stabilizer", OF_NUMBERS)
def test_a_stabilizer_may_be_a_number_or_a_function(stabilizer: str) -> None:
    def make(package: Package) -> Any:
        given = OF_NUMBERS[stabilizer](package)
        settings = {"epsilon": given, "stabilizer": given, **BOX}
        return package("composites").EpsilonGammaBox(**settings)

    assert_same(plain(), make, images())


@pytest.mark.parametrize("stabilizer", OF_TENSORS)
def test_a_stabilizer_may_read_all_denominators_at_once(stabilizer: str) -> None:
    """With the gamma rule, zennit's reads what is not divided by, too."""

    def make(package: Package) -> Any:
        given, rules = OF_TENSORS[stabilizer](package), package("rules")
        dense = [(nn.Linear, rules.ZPlus(given))]
        first = [(nn.Conv2d, rules.ZBox(**BOX, stabilizer=given))]
        return package("composites").SpecialFirstLayerMapComposite(
            [*package("composites").EpsilonAlpha2Beta1(given, given, layer_map=dense).layer_map],
            first,
        )

    assert_same(plain(), make, images())


@pytest.mark.parametrize("name", ["epsilon_plus", "excitation_backprop", "guided_backprop"])
def test_relevance_may_be_sent_from_where_a_last_relu_is_off(name: str) -> None:
    torch.manual_seed(6)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.ReLU()).double()

    def make(package: Package) -> Any:
        return package("composites").COMPOSITES[name]()

    x = torch.randn(3, 4, dtype=torch.float64)
    assert (model(x) == 0).any()
    assert_same(model, make, x, torch.randn(3, 5, dtype=torch.float64))


class Nested(nn.Module):
    """Modules by name, one of them called twice, activation functions, and a sum as a module."""

    def __init__(self, total: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.Tanh())
        self.one, self.two = nn.Conv1d(4, 4, 3, padding=1), nn.Conv1d(4, 4, 1, bias=False)
        self.relu, self.total = nn.ReLU(), total
        self.up, self.out = nn.ConvTranspose1d(4, 2, 2, stride=2), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.total(torch.stack([self.relu(self.one(x)), self.two(x)], dim=-1))
        x = F.max_pool1d(self.up(self.relu(x)), 4)
        return self.out(x.flatten(1))


@pytest.mark.parametrize(
    "name", ["epsilon_plus", "epsilon_alpha2_beta1_flat", "excitation_backprop"]
)
def test_relevance_through_a_sum_of_zennits_is_zennits(name: str) -> None:
    theirs, ours = both("layer")
    x = torch.randn(3, 2, 4, dtype=torch.float64)
    torch.manual_seed(3)
    model = Nested(theirs.Sum()).double()
    own = Nested(ours.Sum()).double()
    own.load_state_dict(model.state_dict())
    found = []
    for side, one in enumerate((model, own)):
        composite = both("composites")[side].COMPOSITES[name](**settings_of(name))
        found.append(explained(both("attribution")[side], one, composite, x))
    torch.testing.assert_close(found[1], found[0], **EXACT)
