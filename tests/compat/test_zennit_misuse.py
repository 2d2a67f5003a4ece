"""Mistakes, and what of zennit cannot be had here, each met by one sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relprop.compat.zennit import attribution, canonizers, composites, core, rules, torchvision
from relprop.errors import InvalidInputError, InvalidTypeError, UnsupportedOperatorError

X = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def explain(composite: Any, attr_output: Any = None, x: Any = X, **settings: Any) -> Any:
    return attribution.Gradient(model(), composite, attr_output, **settings)(x)


def named(rule: rules.Hook, *names: str) -> core.Composite:
    return composites.NameMapComposite([(names, rule)])


class Own(canonizers.Canonizer):
    def apply(self, root_module: nn.Module) -> list[canonizers.Canonizer]:
        return [self]


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


TYPES: dict[str, tuple[Callable[[], Any], str]] = {
    "a rule that is none": (
        lambda: composites.LayerMapComposite([(nn.Linear, "epsilon")]),
        r"layer_map must be a list of pairs, the second .* got \(<class",
    ),
    "a class for a rule": (
        lambda: explain(core.Composite(lambda notes, name, module: rules.Pass)),
        r"the rule of module '' must be one of those .* such as Epsilon\(\)",
    ),
    "a composite that is none": (lambda: explain("epsilon_plus"), "composite must be one of"),
    "a composite's class": (lambda: explain(composites.EpsilonPlus), "such as EpsilonPlus"),
    "a stabilizer that is none": (lambda: rules.ZPlus("small"), "stabilizer must be a number, or"),
    "an output to send back that is none": (
        lambda: explain(None, lambda output: 3),
        "attr_output must be a tensor, or a function .* got int",
    ),
    "an input that is none": (lambda: explain(None, x=[1.0]), "the input must be a tensor"),
    "an input of whole numbers": (lambda: explain(None, x=X.long()), "must be a floating-point"),
    "a model that is none": (
        lambda: composites.EpsilonPlus().register(torch.relu),
        r"the model must be a torch\.nn\.Module",
    ),
    "a rule on a module": (
        lambda: rules.Epsilon().register(nn.Linear(2, 2)),
        "must be put on modules by a composite",
    ),
    "a rule made of functions": (
        lambda: core.BasicHook(input_modifiers=[torch.relu]),
        "BasicHook cannot be a rule here, as modules are not hooked",
    ),
    "an attribute canonizer": (
        lambda: canonizers.AttributeCanonizer(lambda name, module: {}),
        "models are never changed here: set the attributes on a copy",
    ),
    "a canonizer of one's own": (
        lambda: composites.EpsilonPlus(canonizers=[Own()]),
        "a canonizer must be one of those in .* got .*Own: apply it to a copy",
    ),
    "a window that is none": (
        lambda: attribution.Occlusion(model(), window=(2, 0.5)),
        "window must be an int or a tuple of ints",
    ),
}
INPUTS: dict[str, tuple[Callable[[], Any], str]] = {
    "weights left out": (
        lambda: rules.Epsilon(zero_params=["weight", "bias"]),
        "zero_params must be 'bias', a list of it, or None",
    ),
    "alpha and beta": (lambda: rules.AlphaBeta(2, 2), "alpha - beta must be 1"),
    "a negative stabilizer": (lambda: rules.Gamma(stabilizer=-1.0), "must be a finite number >= 0"),
    "another shape to send back": (
        lambda: explain(None, torch.eye(3)),
        r"attr_output must have the shape of the model's output, \(2, 3\)",
    ),
    "bounds of another shape": (
        lambda: explain(named(rules.ZBox(torch.zeros(3), torch.ones(3)), "0")),
        r"low must be a number, or broadcast to the layer's input of shape \(2, 4\); got \(3,\)",
    ),
    "a rule that does not fit": (
        lambda: explain(named(rules.Gamma(), "1")),
        "a rule must fit the module .* got Gamma for module '1', a ReLU that computes 'relu'",
    ),
    "a rule for a layer's slope": (
        lambda: explain(named(rules.ReLUDeconvNet(), "0")),
        "got ReLUDeconvNet for module '0', a Linear that computes 'linear'",
    ),
    "a rule for several modules": (
        lambda: explain(named(rules.Epsilon(), "")),
        "a rule must be for a module without modules in it; got Epsilon for '', a Sequential",
    ),
    "passing what changes its shape": (
        lambda: explain(named(rules.Pass(), "0")),
        "the pass rule needs nodes that keep the shape",
    ),
    "a batch norm of two layers": (
        lambda: canonizers.NamedMergeBatchNorm([(("a", "b"), "norm")]),
        "must come with the one layer before it",
    ),
    "an unknown way with operators": (
        lambda: explain(composites.EpsilonPlus(), unsupported="ignore"),
        "unsupported must be one of 'error', 'gradient'",
    ),
    "no gradients": (
        lambda: attribution.SmoothGrad(model(), n_iter=0),
        "n_iter must be an int >= 1; got 0",
    ),
    "no points on the path": (
        lambda: attribution.IntegratedGradients(model(), n_iter=0),
        "n_iter must be an int >= 1; got 0",
    ),
    "windows that stay where they are": (
        lambda: attribution.Occlusion(model(), stride=(2, 0)),
        "stride must be 1 or more",
    ),
    "more windows than dimensions": (
        lambda: attribution.Occlusion(model(), window=(1, 1), stride=1)(X),
        "must have at most a number for each of 1 dimensions",
    ),
}


@pytest.mark.parametrize("mistake", TYPES)
def test_what_is_of_the_wrong_kind_is_named(mistake: str) -> None:
    call, sentence = TYPES[mistake]
    with pytest.raises(InvalidTypeError, match=sentence):
        call()


@pytest.mark.parametrize("mistake", INPUTS)
def test_what_cannot_be_used_is_named(mistake: str) -> None:
    call, sentence = INPUTS[mistake]
    with pytest.raises(InvalidInputError, match=sentence):
        call()


def test_who_calls_the_model_itself_is_told() -> None:
    """It is not hooked: its gradient would be taken for relevance."""
    net, x = model(), X.clone().requires_grad_()
    with (
        pytest.warns(UserWarning, match="the model itself is never changed: call what the"),
        composites.EpsilonPlus().context(net),
    ):
        net(x)
    composite = composites.EpsilonPlus()
    composite.register(net)
    with pytest.warns(UserWarning, match="call what the composite gives"):
        composite.remove()
    with composites.EpsilonPlus().context(net) as modified:
        assert modified.model is net
        modified(x)
    with pytest.raises(KeyError), composites.EpsilonPlus().context(net):
        raise KeyError


def test_operators_without_a_rule_are_crossed_only_if_told_to() -> None:
    net = nn.Sequential(nn.Linear(4, 5), Sine(), nn.Linear(5, 3))
    with pytest.raises(UnsupportedOperatorError, match=r"'sin' .* is not supported"):
        attribution.Gradient(net, composites.EpsilonPlus())(X)
    told = attribution.Gradient(net, composites.EpsilonPlus(), unsupported="gradient")
    assert told(X)[1].abs().sum() > 0


class Two(nn.Module):
    """Two outputs, two inputs, one of them of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor, shift: Tensor, power: int = 1) -> tuple[Tensor, Tensor]:
        return self.first(x) * power, F.relu(self.second(x)) + shift


def test_one_of_two_outputs_is_explained_with_further_arguments() -> None:
    torch.manual_seed(1)
    net, x = Two(), X.clone().requires_grad_()
    with composites.EpsilonPlus().context(net, output=0) as modified:
        y = modified(x, torch.ones(2, 2, dtype=torch.long), 2)
        (R,) = torch.autograd.grad(y, x, y)
    alone = attribution.Gradient(nn.Sequential(net.first), composites.EpsilonPlus())
    torch.testing.assert_close(R, 2 * alone(X)[1])


def test_canonizers_change_nothing() -> None:
    net = model()
    for canonizer in (
        canonizers.SequentialMergeBatchNorm(),
        canonizers.NamedMergeBatchNorm([(("0",), "1")]),
        canonizers.CompositeCanonizer([torchvision.ResNetCanonizer(), torchvision.VGGCanonizer()]),
    ):
        assert canonizer.apply(net) == []
        canonizer.remove()
        assert composites.EpsilonPlus(canonizers=[canonizer]).canonizers == [canonizer]


def test_zennit_need_not_be_installed() -> None:
    code = (
        "import sys; sys.modules['zennit'] = None\n"
        "from relprop.compat.zennit import attribution, canonizers, composites, core\n"
        "from relprop.compat.zennit import layer, rules, torchvision, types\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
