"""Attributions at inner layers: those of the part of the network above them, from the same pass."""

from __future__ import annotations

from collections import OrderedDict

import captum.attr
import pytest
import torch
from torch import Tensor, nn

import relprop

X = torch.randn(3, 2, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
X0 = torch.full_like(X[:1], 0.3)


def network(norm: bool = False) -> nn.Sequential:
    torch.manual_seed(1)
    layers = OrderedDict(
        conv=nn.Conv2d(2, 4, 3),
        relu=nn.ReLU(inplace=True),
        deep=nn.Sequential(nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5) if norm else nn.Identity()),
        rise=nn.ReLU(inplace=True),
        pool=nn.AvgPool2d(2),
        flat=nn.Flatten(),
        head=nn.Linear(20, 3),
    )
    model = nn.Sequential(layers).double().eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, -1, 1)
            nn.init.normal_(part.running_mean)
            nn.init.normal_(part.bias)
    return model


def split(model: nn.Sequential, name: str) -> tuple[nn.Sequential, nn.Sequential]:
    """The parts of the model up to a layer, and above it."""
    names = [n for n, _ in model.named_children()]
    at = names.index(name) + 1
    return model[:at], model[at:]


@pytest.mark.parametrize("name", ["conv", "relu", "rise", "pool", "flat"])
def test_deeplift_at_a_layer_is_deeplift_of_the_network_above_it(name: str) -> None:
    model = network(norm=True)
    below, above = split(model, name)
    inputs, layers = relprop.DeepLift(model).attribute(X, X0, target=1, layers=[name])
    with torch.no_grad():
        x, x0 = below(X.clone()), below(X0.clone())
    expected = relprop.DeepLift(above).attribute(x, x0, target=1)
    torch.testing.assert_close(layers[name], expected, rtol=1e-10, atol=1e-12)
    assert torch.equal(inputs, relprop.DeepLift(model).attribute(X, X0, target=1))


@pytest.mark.parametrize("name", ["conv", "relu", "rise", "pool", "flat"])
@pytest.mark.parametrize("composite", ["epsilon", "epsilon_plus"])
def test_lrp_at_a_layer_is_lrp_of_the_network_above_it(name: str, composite: str) -> None:
    model = network(norm=True)
    below, above = split(model, name)
    inputs, layers = relprop.LRP(model, composite).attribute(X, target=1, layers=[name])
    with torch.no_grad():
        x = below(X.clone())
    expected = relprop.LRP(above, composite).attribute(x, target=1)
    # What is below a ReLU is known to be >= 0 in the whole network alone: same rule, other sums.
    torch.testing.assert_close(layers[name], expected, rtol=1e-9, atol=1e-12)
    assert torch.equal(inputs, relprop.LRP(model, composite).attribute(X, target=1))


def test_layers_are_those_of_captum() -> None:
    """Except at an activation function's input, where captum's do not sum to the difference."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 5), nn.Tanh())
    model = model.append(nn.Linear(5, 2)).double()
    x, x0 = torch.randn(3, 4).double(), torch.randn(3, 4).double()
    for path in ("0", "1", "2", "3"):
        layer = model.get_submodule(path)
        linear = isinstance(layer, nn.Linear)
        for side, of_input in ((path, False), (f"{path}:input", True))[: 1 + linear]:
            _, got = relprop.DeepLift(model).attribute(x, x0, target=0, layers=[side])
            expected = captum.attr.LayerDeepLift(model, layer).attribute(
                x, x0, target=0, attribute_to_layer_input=of_input
            )
            torch.testing.assert_close(got[side], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel", "genomics"])
@pytest.mark.parametrize("max_pool", ["winner", "shapley"])
def test_every_layer_sums_to_the_difference(rule: str, max_pool: str) -> None:
    model = network(norm=True)
    model.pool = nn.MaxPool2d(2)
    names = ["conv", "relu", "deep.0", "deep.1", "deep", "rise", "pool", "flat", "head"]
    sides = [*names, "relu:input", "pool:input", "conv:input"]
    _, delta, layers = relprop.DeepLift(model, rule, max_pool).attribute(
        X, X0, target=1, return_convergence_delta=True, layers=sides
    )
    with torch.no_grad():
        difference = (model(X) - model(X0))[:, 1]
    assert list(layers) == sides
    assert delta.abs().max() < 1e-12
    for side in sides:
        torch.testing.assert_close(
            layers[side].flatten(1).sum(1), difference, rtol=1e-9, atol=1e-12
        )


def test_layers_of_many_targets_and_of_a_distribution() -> None:
    model, samples = network(), torch.randn(4, 2, 9, 9, dtype=torch.float64)
    baselines = relprop.Distribution(samples)
    deeplift = relprop.DeepLift(model)
    _, got = deeplift.attribute(X, baselines, target=[[0, 2]] * 3, layers=["deep", "pool"])
    for position, target in enumerate((0, 2)):
        one_by_one = [
            deeplift.attribute(X, sample[None], target=target, layers=["deep", "pool"])[1]
            for sample in samples
        ]
        for name in ("deep", "pool"):
            expected = torch.stack([layers[name] for layers in one_by_one]).mean(0)
            torch.testing.assert_close(got[name][:, position], expected, rtol=1e-9, atol=1e-12)


def test_a_batch_norm_and_its_convolution_are_one_layer() -> None:
    model = network(norm=True)
    _, got = relprop.LRP(model, "epsilon").attribute(X, target=0, layers=["deep.0", model.deep[1]])
    assert list(got) == ["deep.0", "deep.1"]
    assert torch.equal(got["deep.0"], got["deep.1"])


class Reused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.first, self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.unread = nn.Linear(4, 4)
        self.relu = nn.ReLU(inplace=True)
        self.never = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        self.unread(x)
        return self.head(self.relu(self.second(x) + x))


def test_each_call_of_a_reused_module_is_a_layer() -> None:
    model, x = Reused().double(), torch.randn(3, 4).double()
    _, got = relprop.DeepLift(model).attribute(
        x, target=1, layers=["relu@0", "relu@1", "relu@1:input"]
    )
    zero = torch.zeros(1, 4).double()

    def inner(x: Tensor) -> tuple[Tensor, Tensor]:
        a = torch.relu(model.first(x))
        return a, torch.relu(model.second(a) + a)

    with torch.no_grad():
        (a, b), (_, b0) = inner(x), inner(zero)
        torch.testing.assert_close(got["relu@1"], model.head.weight[1] * (b - b0))
        torch.testing.assert_close(got["relu@1:input"], got["relu@1"])
        difference = (model(x) - model(zero))[:, 1]
    assert got["relu@0"].shape == a.shape
    torch.testing.assert_close(got["relu@0"].sum(1), difference)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (["frist"], "a layer must be the path of a module that the model runs, such as 'first'"),
        (["first:output"], "with ':input' after it for its input; got 'first:output'"),
        (["relu"], "module 'relu' is called 2 times: ask for one of 'relu@0', 'relu@1'"),
        (["relu@2"], "is called 2 times.*got 'relu@2'"),
        (["never"], "that the model runs.*got 'never'"),
        (["unread"], "'unread' has no relevance of its own"),
        ([nn.ReLU()], r"must be a module of the model; ReLU\(\) is not part of it"),
        ("first", "layers must be a list of modules or of their paths; got str"),
        ([3], "a layer must be a module of the model or its path; got int"),
    ],
)
@pytest.mark.parametrize("method", [relprop.LRP, relprop.DeepLift])
def test_a_layer_that_is_not_there_is_named(method: type, layers: object, said: str) -> None:
    explainer = method(Reused().double())
    with pytest.raises(relprop.RelpropError, match=said):
        explainer.attribute(torch.ones(1, 4).double(), target=0, layers=layers)


def test_a_layer_beside_the_way_to_the_output_has_no_relevance() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.side = nn.Linear(4, 2), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.main(x), self.side(x)

    explainer = relprop.LRP(Beside().double(), output=0)
    with pytest.raises(relprop.InvalidInputError, match="'side' has no relevance of its own"):
        explainer.attribute(torch.ones(1, 4).double(), target=0, layers=["side"])


@pytest.mark.parametrize("norm", [False, True])
def test_layers_that_can_be_asked_for_are_listed_with_their_shapes(norm: bool) -> None:
    model = network(norm)
    seen: dict[str, torch.Size] = {}
    hooks = [
        part.register_forward_hook(lambda m, x, y, name=name: seen.update({name: y.shape}))
        for name, part in model.named_modules()
        if name
    ]
    copied = X.clone()
    model(copied)
    for hook in hooks:
        hook.remove()
    for method in (relprop.LRP(model), relprop.DeepLift(model)):
        shapes = method.layer_shapes(X)
        assert set(shapes) <= set(seen)
        assert {"conv", "relu", "deep.0", "deep", "rise", "pool", "flat", "head"} <= set(shapes)
        assert all(shapes[name] == seen[name] for name in shapes)
        _, layers = method.attribute(X, target=0, layers=list(shapes))
        assert {name: found.shape for name, found in layers.items()} == shapes


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dense(self.dense(x).relu())
        return y.sum(1, keepdim=True)


def test_every_call_of_a_layer_is_listed_in_order() -> None:
    shapes = relprop.LRP(Twice().eval()).layer_shapes(torch.randn(2, 4))
    assert list(shapes.items()) == [("dense@0", (2, 4)), ("dense@1", (2, 4))]
