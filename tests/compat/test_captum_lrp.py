"""LRP and LayerLRP under captum's names, equal to captum's where these are right."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relprop.compat import captum as ours
from tests.compat.peer import EXACT, call, captum

RULES: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "defaults": {},
    "epsilon": {"0": ("EpsilonRule", {"epsilon": 0.1}), "8": ("EpsilonRule", {"epsilon": 1e-3})},
    "gamma": {"0": ("GammaRule", {}), "4": ("GammaRule", {"gamma": 1.0})},
    "gamma without bias": {"4": ("GammaRule", {"gamma": 0.5, "set_bias_to_zero": True})},
    "z+": {"0": ("Alpha1_Beta0_Rule", {}), "4": ("Alpha1_Beta0_Rule", {})},
    "z+ without bias": {"4": ("Alpha1_Beta0_Rule", {"set_bias_to_zero": True})},
    "identity": {"1": ("IdentityRule", {})},
    "all": {
        "0": ("GammaRule", {"gamma": 0.1}),
        "1": ("IdentityRule", {}),
        "3": ("EpsilonRule", {}),
        "4": ("Alpha1_Beta0_Rule", {}),
        "8": ("EpsilonRule", {"epsilon": 0.25}),
    },
}


def network() -> nn.Sequential:
    """What captum has rules for."""
    torch.manual_seed(5)
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(4, 5, 2), nn.Tanh(), nn.AvgPool2d(2), Flat(), nn.Linear(20, 6)),
        *(nn.Dropout(), nn.ReLU(), nn.Linear(6, 3)),
    )
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None
    nn.init.uniform_(norm.running_var, 0.5, 2)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return model.double().eval()


class Flat(nn.Module):
    """A layer that captum, which knows no `nn.Flatten`, looks into, as it has a child."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).flatten(1)


def images(n: int = 3) -> Tensor:
    return torch.randn(n, 1, 13, 13).double()


def ruled(model: nn.Module, rules: dict[str, tuple[str, dict[str, Any]]], package: Any) -> Any:
    """A copy of the model, with a package's rules set on modules."""
    own = copy.deepcopy(model)
    for path, (name, settings) in rules.items():
        own.get_submodule(path).rule = getattr(package, name)(**settings)
    return own


def their_rules() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("captum.attr._utils.lrp_rules")


@pytest.mark.parametrize("rules", RULES)
def test_relevance_is_captums_with_every_rule(rules: str) -> None:
    model, x = network(), images()
    theirs = captum("LRP", ruled(model, RULES[rules], their_rules()))
    settings = {"target": [0, 2, 1], "return_convergence_delta": True}
    expected = call(theirs, x, **settings)
    got = ours.LRP(ruled(model, RULES[rules], ours)).attribute(x, **settings)
    torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("of_input", [False, True])
@pytest.mark.parametrize("rules", ["defaults", "all"])
def test_relevance_of_layers_is_captums(rules: str, of_input: bool) -> None:
    model, x = network(), images()
    paths = ["0", "1", "4", "6", "8"]
    settings = {
        "target": 1,
        "return_convergence_delta": True,
        "attribute_to_layer_input": of_input,
    }
    if of_input and rules == "all":
        paths.remove("1")  # captum has no relevance where an identity rule passes it on
    own = ruled(model, RULES[rules], ours)
    for path in paths:
        theirs = captum("LayerLRP", ruled(model, RULES[rules], their_rules()), path)
        got = ours.LayerLRP(own, own.get_submodule(path)).attribute(x, **settings)
        torch.testing.assert_close(got, call(theirs, x, **settings), rtol=1e-7, atol=1e-9)


def test_a_list_of_layers_has_lists_of_relevance_and_of_deltas() -> None:
    model, x = network(), images()
    paths = ["0", "8"]
    explainer = ours.LayerLRP(model, [model.get_submodule(p) for p in paths])
    R, delta = explainer.attribute(x, 2, return_convergence_delta=True)
    assert isinstance(R, list) and isinstance(delta, list)
    for path, one, missing in zip(paths, R, delta, strict=True):
        alone = ours.LayerLRP(model, model.get_submodule(path))
        expected = alone.attribute(x, 2, return_convergence_delta=True)
        torch.testing.assert_close((one, missing), expected, **EXACT)
    with_input = explainer.attribute(x, 2, attribute_to_layer_input=True)
    torch.testing.assert_close(with_input[0], ours.LRP(model).attribute(x, 2), rtol=1e-7, atol=1e-9)


class Added(nn.Module):
    """captum's way of writing an addition: as a module."""

    def __init__(self, module: bool) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 2)
        self.add = Addition() if module else None

    def forward(self, x: Tensor, v: Tensor) -> Tensor:
        a, b = self.one(x), self.two(v)
        return self.out(F.relu(a + b if self.add is None else self.add(a, b)))


class Addition(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


def test_branches_of_an_addition_module_get_what_captum_gives_them() -> None:
    model = Added(module=True).double()
    x, v = torch.randn(4, 3).double(), torch.randn(4, 3).double()
    rules: dict[str, tuple[str, dict[str, Any]]] = {"add": ("EpsilonRule", {"epsilon": 0.01})}
    theirs, own = ruled(model, rules, their_rules()), ruled(model, rules, ours)
    expected = call(captum("LRP", theirs), (x, v), 1, return_convergence_delta=True)
    got = ours.LRP(own).attribute((x, v), 1, return_convergence_delta=True)
    torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-9)
    theirs = ruled(model, rules, their_rules())
    expected = call(captum("LayerLRP", theirs, "add"), (x, v), 1, attribute_to_layer_input=True)
    layer = ours.LayerLRP(own, own.add).attribute((x, v), 1, attribute_to_layer_input=True)
    assert isinstance(layer, tuple)
    # captum has the branches in the order in which it goes back
    torch.testing.assert_close(layer, tuple(expected[::-1]), rtol=1e-7, atol=1e-9)


def test_a_bare_addition_is_split_as_the_module_is() -> None:
    torch.manual_seed(2)
    model = Added(module=True).double()
    bare = Added(module=False).double()
    bare.load_state_dict(model.state_dict())
    inputs = torch.randn(4, 3).double(), torch.randn(4, 3).double()
    expected = ours.LRP(model).attribute(inputs, 1)
    torch.testing.assert_close(ours.LRP(bare).attribute(inputs, 1), expected, **EXACT)
    doubled = call(captum("LRP", bare), inputs, 1)
    assert sum((a - b).abs().max() for a, b in zip(doubled, expected, strict=True)) > 1e-3


def test_modules_called_twice_and_layers_without_a_rule_in_captum() -> None:
    relu = nn.ReLU()
    model = nn.Sequential(nn.Conv1d(1, 3, 3, bias=False), relu, nn.Conv1d(3, 3, 3, bias=False))
    model = model.extend([relu, nn.Flatten(), nn.SiLU(), nn.Linear(18, 2, bias=False)]).double()
    x = torch.randn(2, 1, 10).double()
    R, delta = ours.LRP(model).attribute(x, 1, return_convergence_delta=True)
    torch.testing.assert_close(R.flatten(1).sum(1), model(x)[:, 1].detach(), rtol=1e-6, atol=1e-8)
    assert delta.abs().max() < 1e-6


def test_rules_stay_where_they_are_set_and_weights_as_they_are() -> None:
    model, x = network(), images()
    rule = ours.GammaRule(0.5)
    model[0].rule = rule
    before = copy.deepcopy(model.state_dict())
    explainer = ours.LRP(model)
    first = explainer.attribute(x, 1)
    assert model[0].rule is rule and torch.equal(first, explainer.attribute(x, 1))
    assert all(
        torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True)
    )
    rule.gamma = 0.0
    plain = ours.LRP(network()).attribute(x, 1)
    torch.testing.assert_close(explainer.attribute(x, 1), plain, rtol=1e-7, atol=1e-9)
    del model[0].rule
    torch.testing.assert_close(explainer.attribute(x, 1), plain, rtol=1e-7, atol=1e-9)


def test_verbose_says_which_rule_is_applied(capsys: pytest.CaptureFixture[str]) -> None:
    model = network()
    model[4].rule = ours.GammaRule()
    ours.LRP(model).attribute(images(), 1, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert f"Applied reweighted1.25-1 on layer {model[4]}" in lines
    assert f"Applied epsilon on layer {model[0]}" in lines


def test_the_delta_of_relevance_at_hand() -> None:
    model, x = network(), images()
    explainer = ours.LRP(model)
    R, delta = explainer.attribute(x, 1, return_convergence_delta=True)
    score = model(x)[:, 1].detach()
    torch.testing.assert_close(explainer.compute_convergence_delta(R, score), delta, **EXACT)
    assert explainer.has_convergence_delta() and explainer.multiplies_by_inputs
