"""Where captum raises an error for a mistake, ours is of the same type, and says what to do."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relprop
from relprop.compat import captum as ours
from tests.compat.peer import call, captum


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


X = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _nothing() -> tuple[Tensor, ...]:
    return ()


#: class, arguments, keyword arguments of a call that captum refuses
MISTAKES: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "no target": ("DeepLift", (X,), {}),
    "target out of range": ("DeepLift", (X,), {"target": 3}),
    "target with too many entries": ("DeepLift", (X,), {"target": (1, 1)}),
    "list of another length": ("DeepLift", (X,), {"target": [0, 1, 2]}),
    "list out of range": ("DeepLift", (X,), {"target": [0, 5]}),
    "tensor of another length": ("DeepLift", (X,), {"target": torch.tensor([0, 1, 1])}),
    "list of floats": ("DeepLift", (X,), {"target": [0.5, 1.5]}),
    "target of another kind": ("DeepLift", (X,), {"target": "cat"}),
    "inputs of another kind": ("DeepLift", ([1.0],), {"target": 0}),
    "baseline of another kind": ("DeepLift", (X, "blur", 0), {}),
    "baseline of another shape": ("DeepLift", (X, torch.zeros(3, 4).double(), 0), {}),
    "too many baselines": ("DeepLift", (X, (0, 0), 0), {}),
    "function that is none": ("DeepLift", (X, 0, 0), {"custom_attribution_func": 3}),
    "function of nothing": ("DeepLift", (X, 0, 0), {"custom_attribution_func": _nothing}),
    "a single baseline": ("DeepLiftShap", (X, X[:1], 0), {}),
    "a number for a distribution": ("DeepLiftShap", (X, 0.5, 0), {}),
    "no target, LRP": ("LRP", (X,), {}),
    "target out of range, LRP": ("LRP", (X,), {"target": 7}),
    "inputs of another kind, LRP": ("LRP", ([1.0], 0), {}),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_raise_errors_of_captums_types(mistake: str) -> None:
    name, args, kwargs = MISTAKES[mistake]
    with pytest.raises(Exception) as theirs:
        call(captum(name, model()), *args, **kwargs)
    with pytest.raises(relprop.RelpropError) as mine:
        getattr(ours, name)(model()).attribute(*args, **kwargs)
    assert isinstance(mine.value, theirs.type), (theirs.type, mine.type)


@pytest.mark.parametrize("selector", [9, (1, 2), (1, 2, 3)])
def test_neurons_that_do_not_exist_raise_errors_of_captums_types(selector: Any) -> None:
    net = model()
    with pytest.raises(Exception) as theirs:
        call(captum("NeuronDeepLift", net, "0"), X, selector)
    with pytest.raises(relprop.RelpropError) as mine:
        ours.NeuronDeepLift(net, net[0]).attribute(X, selector)
    assert isinstance(mine.value, theirs.type), (theirs.type, mine.type)


@pytest.mark.parametrize("name", ["LRP", "LayerLRP"])
def test_what_is_no_rule_is_refused_at_once(name: str) -> None:
    net = model()
    net[0].rule = 1
    with pytest.raises(TypeError, match=r"must be one of those in relprop\.compat\.captum"):
        getattr(ours, name)(net, *[net[0]][: name == "LayerLRP"])


def test_a_rule_of_ones_own_is_refused() -> None:
    class Own(ours.PropagationRule):
        pass

    net = model()
    net[0].rule = Own()
    with pytest.raises(relprop.InvalidTypeError, match="got Own"):
        ours.LRP(net).attribute(X, 0)


def test_an_operator_without_a_rule_is_a_type_error_as_in_captum() -> None:
    class Sorted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sort(1).values

    with pytest.raises(TypeError, match="sort"):
        ours.LRP(nn.Sequential(nn.Linear(4, 3), Sorted()).double()).attribute(X, 0)


def test_a_layer_must_be_called_once() -> None:
    relu = nn.ReLU()
    net = nn.Sequential(nn.Linear(4, 4), relu, nn.Linear(4, 4), relu, nn.Linear(4, 1)).double()
    for layer in (relu, nn.ReLU()):
        with pytest.raises(relprop.InvalidInputError, match="calls once"):
            ours.LayerDeepLift(net, layer).attribute(X)


def test_an_error_in_a_users_function_leaves_gradients_on() -> None:
    def function(m: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        assert torch.is_grad_enabled()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ours.DeepLift(model()).attribute(X, 0, 1, custom_attribution_func=function)
    assert torch.is_grad_enabled()


def test_captum_need_not_be_installed() -> None:
    code = "import sys; sys.modules['captum'] = None; import relprop.compat.captum"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_futures_are_not_implemented() -> None:
    for explainer in (ours.DeepLift(model()), ours.LRP(model())):
        with pytest.raises(NotImplementedError):
            explainer.attribute_future()


@pytest.mark.parametrize("name", [n for n in ours.__all__ if n.endswith(("Lift", "Shap", "LRP"))])
def test_signatures_are_captums(name: str) -> None:
    theirs = type(captum(name, model(), *["0"][: name.startswith(("Layer", "Neuron"))]))
    mine = getattr(ours, name)
    for method in ("__init__", "attribute", "compute_convergence_delta"):
        expected, got = (
            [(p.name, p.default) for p in inspect.signature(getattr(c, method)).parameters.values()]
            for c in (theirs, mine)
        )
        assert got == expected
    assert mine.get_name() == theirs.get_name()


@pytest.mark.parametrize("name", ["DeepLift", "LRP"])
def test_captums_noise_tunnel_takes_our_classes(name: str) -> None:
    net = model()
    tunnel = {"nt_samples": 3, "stdevs": 0.1, "target": 1}
    found = []
    for explainer in (getattr(ours, name)(net), captum(name, net)):
        torch.manual_seed(0)
        found.append(call(captum_tunnel(explainer), X, **tunnel))
    torch.testing.assert_close(*found, rtol=1e-7, atol=1e-9)


def captum_tunnel(explainer: Any) -> Any:
    return pytest.importorskip("captum.attr").NoiseTunnel(explainer)
