"""Packages that compute LRP, each behind one function of one shape.

Biases are left out of the denominators wherever a package can do so: then relevance sums to the
score. Batch norms that a package does not fold hand their relevance through, as it advises.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

import relprop
from benchmarks.peers.lrp.networks import Subject
from benchmarks.peers.outcome import Absent, Outcome, outcome
from benchmarks.torchvision_operators import define_torchvision_operators
from relprop.rules import lrp

EPSILON = 1e-9
"""Of every stabilizer of every package: nothing but a guard against division by zero."""
TOLERANCE = 1e-4
"""The error of a sum, relative to the score, that counts as rounding or as stabilizers' share."""
GAMMA = 0.25


@dataclass(frozen=True)
class Rules:
    """What a table is about: the names of the rules on dense layers and on convolutions."""

    title: str
    dense: str
    convolution: str


RULES = (
    Rules("epsilon", "epsilon", "epsilon"),
    Rules("z+, also called alpha1-beta0", "z+", "z+"),
    Rules("z+ on convolutions, epsilon on dense layers", "epsilon", "z+"),
    Rules("alpha2-beta1", "alpha2-beta1", "alpha2-beta1"),
    Rules("gamma, 0.25", "gamma", "gamma"),
)

Explain = Callable[[Rules, Subject], Tensor]
"""From rules and what to explain, with a model that may be changed, to relevance."""


@dataclass(frozen=True)
class Package:
    """A column of the tables.

    Attributes:
        package: what has to be installed, by the name that Python and PyPI both know.
        explain: imports it only when called.
        rules: the names of those that it has.
    """

    title: str
    package: str
    explain: Explain
    rules: tuple[str, ...]

    def has(self, rules: Rules) -> bool:
        return {rules.dense, rules.convolution} <= set(self.rules)


def by_relprop(bias: str) -> Explain:
    made = {
        "epsilon": lrp.Epsilon(),
        "z+": lrp.ZPlus(),
        "alpha2-beta1": lrp.AlphaBeta(2, 1),
        "gamma": lrp.Gamma(GAMMA),
    }

    def explain(rules: Rules, subject: Subject) -> Tensor:
        pairs = [("dense", made[rules.dense]), ("convolution", made[rules.convolution])]
        composite = relprop.Composite(pairs)
        settings = {"bias": bias, "epsilon": EPSILON, "stabilizer": EPSILON}
        method = relprop.LRP(subject.model, composite, **settings)
        found: Tensor = method.attribute(subject.x, subject.target)
        return found

    return explain


def by_captum(rules: Rules, subject: Subject) -> Tensor:
    """Its epsilon rule is its gamma rule of gamma 0, which alone can leave biases out."""
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, GammaRule, IdentityRule

    made: dict[str, Callable[[], object]] = {
        "epsilon": lambda: GammaRule(0, set_bias_to_zero=True),
        "z+": lambda: Alpha1_Beta0_Rule(set_bias_to_zero=True),
        "gamma": lambda: GammaRule(GAMMA, set_bias_to_zero=True),
    }
    for module in subject.model.modules():
        if isinstance(module, nn.Linear):
            module.rule = made[rules.dense]()
        elif isinstance(module, nn.modules.conv._ConvNd):
            module.rule = made[rules.convolution]()
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.rule = IdentityRule()
    found: Tensor = LRP(subject.model).attribute(subject.x, subject.target)
    return found


def by_zennit(canonized: bool) -> Explain:
    """With or without the canonizer that it has for torchvision's ResNets, and for batch norms."""

    def explain(rules: Rules, subject: Subject) -> Tensor:
        define_torchvision_operators()
        from zennit.composites import LayerMapComposite, layer_map_base
        from zennit.rules import AlphaBeta, Epsilon, Gamma, ZPlus
        from zennit.torchvision import ResNetCanonizer
        from zennit.types import Convolution

        bias = ["bias"]
        made = {
            "epsilon": Epsilon(EPSILON, zero_params=bias),
            "z+": ZPlus(EPSILON, zero_params=bias),
            "alpha2-beta1": AlphaBeta(2, 1, EPSILON, zero_params=bias),
            "gamma": Gamma(GAMMA, EPSILON, zero_params=bias),
        }
        layers = [(Convolution, made[rules.convolution]), (nn.Linear, made[rules.dense])]
        composite = LayerMapComposite(
            [*layer_map_base(EPSILON), *layers],
            canonizers=[ResNetCanonizer()] if canonized else [],
        )
        x = subject.x.clone().requires_grad_()
        with composite.context(subject.model) as modified:
            y = modified(x)
            seed = torch.zeros_like(y)
            seed[:, subject.target] = y.detach()[:, subject.target]
            (found,) = torch.autograd.grad(y, x, seed)
        return found

    return explain


def by_lxt(rules: Rules, subject: Subject) -> Tensor:
    """Modules wrapped by its rules, as its `Composite` does, which needs a part of transformers."""
    from lxt.explicit.rules import EpsilonRule, IdentityRule

    handed_down = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.modules.batchnorm._BatchNorm)
    for parent in list(subject.model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, handed_down):
                setattr(parent, name, IdentityRule(child))
            elif not list(child.children()):
                setattr(parent, name, EpsilonRule(child, EPSILON))
    x = subject.x.clone().requires_grad_()
    y = subject.model(x)[:, subject.target]
    (found,) = torch.autograd.grad(y, x, y.detach())
    return found


def by_autolrp(rules: Rules, subject: Subject) -> Tensor:
    """Scaled by the score: its own relevance is a share of one."""
    from autolrp import BASE, LRPConfig, tensor

    made = {
        "epsilon": "epsilon",
        "z+": "zplus",
        "alpha2-beta1": ("alpha_beta", {"alpha": 2.0, "beta": 1.0}),
        "gamma": ("gamma", {"gamma": GAMMA}),
    }
    dense = dict.fromkeys(("AddmmBackward", "MmBackward"), made[rules.dense])
    convolution = {"ConvolutionBackward": made[rules.convolution]}
    config = LRPConfig(rule={**BASE, **dense, **convolution}, eps=EPSILON)
    found = []
    for x in subject.x.split(1):
        wrapped = tensor(x)
        score = subject.model(wrapped)[0, subject.target]
        score.lrp(config=config)
        found.append(wrapped.relevance.detach() * float(score))
    return torch.cat(found)


ANALYZERS = {
    ("epsilon", "epsilon"): "lrp.z",
    ("z+", "z+"): "lrp.z_plus",
    ("alpha2-beta1", "alpha2-beta1"): "lrp.alpha_2_beta_1_IB",
}
"""iNNvestigate's names for rules on dense layers and convolutions, IB for those without biases."""


def by_innvestigate(rules: Rules, subject: Subject) -> Tensor:
    """As it was kept: it needs TensorFlow, which is not installed beside torch."""
    analyzer = ANALYZERS.get((rules.dense, rules.convolution), "")
    if analyzer not in subject.maps:
        raise Absent("no map kept")
    return subject.maps[analyzer]


ALL = ("epsilon", "z+", "alpha2-beta1", "gamma")
OURS = Package("relprop", "relprop", by_relprop("ignore"), ALL)
PACKAGES = (
    OURS,
    Package("relprop, redistributing", "relprop", by_relprop("redistribute"), ALL),
    Package("captum `LRP`", "captum", by_captum, ("epsilon", "z+", "gamma")),
    Package("zennit", "zennit", by_zennit(canonized=False), ALL),
    Package("zennit, `ResNetCanonizer`", "zennit", by_zennit(canonized=True), ALL),
    Package("lxt `EpsilonRule`", "lxt", by_lxt, ("epsilon",)),
    Package("autolrp", "autolrp", by_autolrp, ALL),
    Package("iNNvestigate 2.1.2", "benchmarks", by_innvestigate, ALL[:3]),
)


def ask(package: Package, rules: Rules, subject: Subject) -> Outcome:
    """What `package` makes of a copy of the model: most of them change what they explain."""
    with torch.no_grad():
        score = subject.model(subject.x)[:, subject.target]
    return outcome(
        package.package,
        lambda: package.explain(
            rules, replace(subject, model=deepcopy(subject.model), x=subject.x.clone())
        ),
        score,
    )
