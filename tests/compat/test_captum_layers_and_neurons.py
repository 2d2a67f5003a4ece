"""Layer and neuron classes of DeepLIFT under captum's names, equal to captum's."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relprop.compat import captum as ours
from tests.compat.peer import EXACT, call, captum, inputs, network

#: Layers, and whether what they read is attributed to.
LAYERS = [
    ("conv", False),
    ("conv", True),
    ("rise", False),
    ("pool", False),
    ("pool", True),
    ("pair", False),
    ("head", False),
    ("head.out", True),
]


def compare(name: str, path: str, *args: Any, settings: Any = None, **kwargs: Any) -> Any:
    """Both packages' answers are the same; returns ours."""
    model, settings = network(), settings or {}
    expected = call(captum(name, model, path, **settings), *args, **kwargs)
    layer = model.get_submodule(path)
    got = getattr(ours, name)(model, layer, **settings).attribute(*args, **kwargs)
    assert type(got) is type(expected)
    torch.testing.assert_close(got, expected, **EXACT)
    return got


@pytest.mark.parametrize(("path", "of_input"), LAYERS)
@pytest.mark.parametrize("name", ["LayerDeepLift", "LayerDeepLiftShap"])
def test_attributions_of_a_layer(name: str, path: str, of_input: bool) -> None:
    settings = {"attribute_to_layer_input": of_input, "return_convergence_delta": True}
    compare(name, path, inputs(3), inputs(3), [0, 2, 1], **settings)


@pytest.mark.parametrize("name", ["LayerDeepLift", "LayerDeepLiftShap"])
def test_multipliers_and_functions_of_a_layer(name: str) -> None:
    x, x0 = inputs(3), inputs(3)
    settings = {"multiply_by_inputs": False}
    compare(name, "pair", x, x0, 1, return_convergence_delta=True, settings=settings)

    def function(m: Any, a: Any, a0: Any) -> Any:
        return tuple(t * u - u0 for t, u, u0 in zip(m, a, a0, strict=True))

    more = {"custom_attribution_func": function, "return_convergence_delta": True}
    compare(name, "pair", x, x0, 1, (2.0,), **more)


NEURONS: list[tuple[str, Any, bool]] = [
    ("conv", (1, 2, 3), False),
    ("conv", (1, 2, 3), True),
    ("conv", (slice(None), 2, slice(1, 4)), False),
    ("rise", (3, 0, 1), False),
    ("pair", lambda pair: (pair[0] * pair[1])[:, 0, 0, 0] + pair[1].sum((1, 2, 3)), False),
    ("head.dense", 2, False),
    ("head.out", (4,), True),
    ("head.out", lambda a: a[:, 1] * a[:, 2], True),
]


@pytest.mark.parametrize(("path", "selector", "of_input"), NEURONS)
@pytest.mark.parametrize("name", ["NeuronDeepLift", "NeuronDeepLiftShap"])
def test_attributions_of_the_inputs_to_a_neuron(
    name: str, path: str, selector: Any, of_input: bool
) -> None:
    multiply = path != "rise"
    x, x0 = inputs(3), inputs(3)
    of_both = path.startswith("head")
    model = network() if of_both else one_input()
    given, baselines = (x, x0) if of_both else (x[0], x0[0])
    settings = {"attribute_to_neuron_input": of_input}
    theirs = captum(name, model, path, multiply_by_inputs=multiply)
    expected = call(theirs, given, selector, baselines, **settings)
    explainer = getattr(ours, name)(model, model.get_submodule(path), multiply)
    got = explainer.attribute(given, selector, baselines, **settings)
    torch.testing.assert_close(got, expected, **EXACT)
    assert not explainer.has_convergence_delta()


class OneInput(nn.Module):
    """The network of one input: captum refuses inputs that a neuron does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        whole = network()
        self.conv, self.rise, self.pair = whole.conv, whole.rise, whole.pair

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.pair(self.rise(self.conv(x)))
        return (a + b).flatten(1)


@functools.cache
def one_input() -> OneInput:
    return OneInput()


def test_an_input_that_a_neuron_does_not_depend_on_has_no_part_in_it() -> None:
    model = network()
    x, x0 = inputs(3), inputs(3)
    found = ours.NeuronDeepLift(model, model.conv).attribute(x, (0, 1, 1), x0)
    assert found[0].abs().max() > 0 and torch.equal(found[1], torch.zeros_like(x[1]))


def test_a_layer_that_nothing_depends_on_has_attributions_of_zero() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(3, 2), nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            self.idle(x)
            return self.used(x)

    model = Idle().double()
    x = torch.randn(2, 3).double()
    kwargs = {"materialize_grads": True}
    found = ours.LayerDeepLift(model, model.idle).attribute(x, target=0, grad_kwargs=kwargs)
    expected = call(captum("LayerDeepLift", model, "idle"), x, target=0, grad_kwargs=kwargs)
    assert torch.equal(found, torch.zeros(2, 4).double()) and torch.equal(found, expected)


def test_a_convolution_is_a_layer_of_its_own_beside_a_batch_norm() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Conv2d(3, 1, 8))
    model = model.append(nn.Flatten()).double().eval()
    for tensor in (*model[1].parameters(), model[1].running_var):
        nn.init.uniform_(tensor, 0.5, 2)
    x, x0 = torch.randn(2, 1, 10, 10).double(), torch.randn(2, 1, 10, 10).double()
    for path in ("0", "1"):
        theirs = captum("LayerDeepLift", model, path, multiply_by_inputs=False)
        mine = ours.LayerDeepLift(model, model.get_submodule(path), multiply_by_inputs=False)
        torch.testing.assert_close(mine.attribute(x, x0), call(theirs, x, x0), **EXACT)
        theirs = captum("NeuronDeepLift", model, path)
        mine_neuron = ours.NeuronDeepLift(model, model.get_submodule(path))
        expected = call(theirs, x, (2, 3, 4), x0)
        torch.testing.assert_close(mine_neuron.attribute(x, (2, 3, 4), x0), expected, **EXACT)


def test_a_layers_attributions_can_be_brought_to_the_size_of_an_input() -> None:
    found = torch.randn(2, 3, 4, 4)
    expected = nn.functional.interpolate(found, (8, 8), mode="nearest")
    assert torch.equal(ours.LayerDeepLift.interpolate(found, (8, 8)), expected)
    assert torch.equal(ours.LayerLRP.interpolate(found, (8, 8)), expected)
