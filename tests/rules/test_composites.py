"""Which rule a composite puts where; and presets equal to zennit's."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

import relprop
from relprop.rules import lrp as rules
from relprop.rules.lrp.selectors import KINDS

X = torch.randn(2, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
            *(nn.Conv2d(4, 5, 3), nn.ReLU(), nn.MaxPool2d(2)),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(20, 6), nn.ReLU(), nn.Linear(6, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))


def placed(*pairs: Any) -> dict[str, str]:
    """The rule of every module of the network."""
    table = relprop.LRP(Network().double(), relprop.Composite(pairs)).rules(X)
    return {module: rule for _, module, rule in table.rows}


def test_the_first_pair_that_fits_is_taken() -> None:
    rule = placed((rules.first(), rules.Flat()), ("features.*", rules.ZPlus()))
    assert rule["features.0"] == "flat" and rule["features.3"] == "zplus"
    assert rule["features.1"] == "pass" and rule["features.2"] == rule["head.1"] == "epsilon"


def test_layers_are_selected_by_position() -> None:
    rule = placed((rules.last(), rules.WSquare()), (rules.depth(0, 0.5), rules.Gamma(0.5)))
    layers = ("features.0", "features.3", "head.1", "head.3")
    assert [rule[name] for name in layers] == ["gamma0.5", "gamma0.5", "epsilon", "wsquare"]


def test_layers_are_selected_by_a_module_and_by_a_function() -> None:
    rule = placed(("head", rules.ZPlus()), (lambda n: "3" in n.where.module, rules.AlphaBeta(3, 2)))
    layers = ("features.0", "features.3", "head.1", "head.3")
    assert [rule[name] for name in layers] == ["epsilon", "alpha3-beta2", "zplus", "zplus"]


def test_the_table_of_rules_is_aligned() -> None:
    lines = str(relprop.LRP(Network().double(), "epsilon_plus_flat").rules(X)).splitlines()
    assert lines[0].split() == ["node", "module", "rule"]
    column = lines[0].index("module")
    assert lines[1].split() == ["conv2d", "features.0", "flat"]
    assert all(line[column - 1] == " " and line[column] != " " for line in lines)


WRONG = {
    "a pattern that matches nothing": (
        lambda: placed(("feature.*", rules.Flat())),
        "match a module of the model; got 'feature.\\*', while modules are 'features.0'",
    ),
    "a class for a rule": (lambda: placed(("dense", rules.Flat)), "write Flat()"),
    "no pair": (lambda: placed("dense"), "list of \\(selector, rule\\); got 'dense'"),
    "a number for a selector": (lambda: placed((3, rules.Flat())), "selector must be"),
    "alpha - beta": (lambda: rules.AlphaBeta(2, 2), "alpha - beta must be 1"),
    "gamma": (lambda: rules.Gamma(-1), "gamma must be a finite number >= 0; got -1"),
    "one bound": (lambda: rules.ZBox(low=0), "low and high must be given together"),
    "depth": (lambda: rules.depth(0.5, 0.5), "start=0.5, stop=0.5"),
    "kind of stabilizer": (lambda: rules.Stabilizer(1, "soft"), "'clip'; got 'soft'"),
    "a rule that never fits a kind": (
        lambda: relprop.Composite([("add", rules.AlphaBeta())]),
        "got AlphaBeta for 'add', but it can only fit 'convolution', 'dense', 'batch_norm'$",
    ),
    "a rule for layers on max pools": (
        lambda: relprop.Composite([("dense", rules.Flat()), ("max_pool", rules.Epsilon())]),
        "Epsilon for 'max_pool', but it can only fit .*'batch_norm', 'average_pool'$",
    ),
    "a rule for pools on layers": (
        lambda: relprop.Composite([(rules.first(), rules.Winner())]),
        r"Winner for First\(\), but it can only fit 'max_pool'$",
    ),
    "a pool passed": (
        lambda: relprop.LRP(
            Network().double(), relprop.Composite([("max_pool", rules.Pass())])
        ).attribute(X, target=0),
        "keep the shape; 'max_pool2d' in module 'features.5'",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_met_by_one_sentence(name: str) -> None:
    call, message = WRONG[name]
    with pytest.raises((relprop.InvalidInputError, relprop.InvalidTypeError), match=message):
        call()


@pytest.mark.parametrize("rule", [rules.Flat, rules.WSquare])
@pytest.mark.parametrize("setting", [{"stabilizer": 1.0}, {"bias": "ignore"}])
def test_a_rule_takes_no_setting_that_its_formula_lacks(rule: Any, setting: Any) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{next(iter(setting))}'"):
        rule(**setting)


@pytest.mark.parametrize("told", ["winner", "shared", "proportional"])
def test_a_rule_for_max_pools_in_a_composite_goes_before_what_lrp_is_told(told: str) -> None:
    for rule in (rules.Winner(), rules.Shared(), rules.ProportionalPool()):
        lrp = relprop.LRP(Network(), relprop.Composite([("max_pool", rule)]), max_pool=told)
        rows = {module: name for _, module, name in lrp.rules(X.float()).rows}
        assert rows["features.5"] == rule.name


def test_every_kind_has_rules_that_fit_it() -> None:
    """And these are the ones that the package offers."""
    fitting = {
        "convolution": rules.Gamma(),
        "dense": rules.ZBox(0, 1),
        "batch_norm": rules.AlphaBeta(),
        "max_pool": rules.Shared(),
        "average_pool": rules.Epsilon(),
        "add": rules.Proportional(stabilizer=1.0),
        "mul": rules.Halves(),
        "matmul": rules.HalvesOfSums(),
        "activation": rules.Pass(),
    }
    assert list(fitting) == list(KINDS)
    assert len(relprop.Composite(fitting.items()).pairs) == len(KINDS)


THEIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "epsilon_plus": ("EpsilonPlus", {}),
    "epsilon_plus_flat": ("EpsilonPlusFlat", {}),
    "epsilon_gamma_box": ("EpsilonGammaBox", {"low": -5.0, "high": 5.0}),
    "epsilon_alpha2_beta1": ("EpsilonAlpha2Beta1", {}),
    "epsilon_alpha2_beta1_flat": ("EpsilonAlpha2Beta1Flat", {}),
    "excitation_backprop": ("ExcitationBackprop", {}),
}


def by_zennit(model: nn.Module, composite: Any) -> torch.Tensor:
    x = X.clone().requires_grad_()
    with composite.context(model) as modified:
        y = modified(x)
        seed = torch.zeros_like(y)
        seed[:, 1] = y[:, 1].detach()
        return torch.autograd.grad(y, x, seed)[0]


@pytest.mark.parametrize("name", THEIRS)
def test_a_preset_is_as_in_zennit(name: str) -> None:
    """But for flat's stabilizer, which ours has no need of; so it is 0 there."""
    composites = pytest.importorskip("zennit.composites")
    model = Network().double()
    their_name, bounds = THEIRS[name]
    expected = by_zennit(model, getattr(composites, their_name)(stabilizer=1e-12, **bounds))
    settings = {"stabilizer": 1e-12, **bounds}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", relprop.InexactWarning)
        got = relprop.LRP(model, name, **settings).attribute(X, target=1)
    torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-9)
