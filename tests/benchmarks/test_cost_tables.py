"""What is measured must fit together: methods, peers, floors, operators, extents."""

from __future__ import annotations

from dataclasses import fields
from itertools import product

import pytest
import torch
from torch import nn

from benchmarks.cost import floor, scaling
from benchmarks.cost.limits import LIMITS
from benchmarks.cost.methods import BY_NAME, METHODS, PLAIN, Calls, Passes
from benchmarks.cost.networks import FULL, NETWORKS, QUICK, settle_batch_norm
from benchmarks.cost.operators import OPERATORS, bytes_moved
from benchmarks.cost.peers import PEERS, batch_norms, own_copy
from benchmarks.gpu.convolutions import CONVOLUTIONS
from relprop.ops.library import SCHEMAS


def test_names_are_given_once() -> None:
    names = [one.name for one in (*METHODS, *PEERS)]
    assert len(set(names)) == len(names)
    assert len({str(row) for row in OPERATORS}) == len(OPERATORS)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_computes_what_one_of_ours_does(peer: object) -> None:
    assert peer.computes in BY_NAME


def test_every_operator_is_measured_against_a_limit_that_there_is() -> None:
    assert {row.name for row in (*OPERATORS, *CONVOLUTIONS)} == set(SCHEMAS)
    assert {row.limit for row in OPERATORS} == set(LIMITS)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_goal_is_no_stricter_than_the_calls_allow(method: object) -> None:
    """In units of calls, a gradient takes two for each layer."""
    calls = method.passes.convolution
    assert (calls.forward + calls.backward) / 2 <= method.goal.time


@pytest.mark.parametrize("part", FULL)
def test_what_is_measured_in_minutes_is_a_part_of_everything(part: str) -> None:
    assert set(QUICK[part].cases()) <= set(FULL[part].cases())
    assert set(FULL[part].networks) == set(NETWORKS)
    assert QUICK[part].seconds <= FULL[part].seconds


def test_methods_are_timed_on_all_networks_batches_and_sides() -> None:
    cases = {(c.network, c.batch, c.pixels) for c in FULL["methods"].cases()}
    assert cases == set(product(NETWORKS, (1, 8), (224, 512)))


@pytest.mark.parametrize("scale", [scaling.QUICK, scaling.FULL])
def test_growth_is_measured_along_pixels_batches_and_threads(scale: scaling.Scale) -> None:
    assert set(scale.methods) <= set(BY_NAME) and set(scale.networks) <= set(NETWORKS)
    cases = list(scale.cases())
    assert len(set(cases)) == len(cases)
    for network in scale.networks:
        own = [case for case in cases if case.network == network]
        side = min(case.pixels for case in own)
        assert all(0.05 <= case.megapixels < 8.1 and case.batch <= 32 for case in own)
        assert len({case.batch for case in own if case.pixels == side}) >= 2
        for threads in (1, 2):
            alone = [c.pixels for c in own if c.batch == 1 and c.threads == threads]
            assert len(alone) >= 2 and alone == sorted(alone)


def test_growth_reaches_eight_megapixels() -> None:
    largest = {}
    for case in scaling.FULL.cases():
        largest[case.network] = max(case.megapixels, largest.get(case.network, 0))
    assert largest == dict.fromkeys(scaling.FULL.networks, pytest.approx(7.93, abs=0.01))


@pytest.mark.parametrize("row", OPERATORS, ids=str)
def test_an_operator_gets_arguments_that_it_takes(row: object) -> None:
    arguments = row.arguments(row.small)
    got, expected = row.call(arguments), row.reference(arguments)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    LIMITS[row.limit](arguments, got)()


def test_bytes_are_those_of_all_tensors() -> None:
    assert bytes_moved((torch.zeros(3), 2, None), (torch.zeros(5),)) == 32


def network() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1, groups=2)),
        *(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1, groups=2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
    ).eval()


def test_the_floor_counts_every_layer_with_its_shapes() -> None:
    layers = floor.layers_of(network(), torch.zeros(2, 3, 9, 9))
    assert layers == {
        floor.Layer("first", (2, 3, 9, 9), (4, 3, 3, 3), ((2, 2), (0, 0), (1, 1), 1)): 1,
        floor.Layer("convolution", (2, 4, 4, 4), (4, 2, 3, 3), ((1, 1), (1, 1), (1, 1), 2)): 2,
        floor.Layer("dense", (2, 4), (5, 4)): 1,
    }
    seconds = {"first": 1.0, "convolution": 10.0, "dense": 100.0}
    costs = {x: floor.Cost(seconds[x.kind], 2 * seconds[x.kind]) for x in layers}
    assert floor.floor_of(PLAIN, layers, costs) == 3 * 1 + 2 * 3 * 10 + 3 * 100
    passes = Passes(first=Calls(1, 0), convolution=Calls(2, 1), dense=Calls(1, 1))
    assert floor.floor_of(passes, layers, costs) == 1 + 2 * 4 * 10 + 3 * 100
    assert {f.name for f in fields(Passes)} == {x.kind for x in layers}


def test_the_calls_of_a_floor_are_the_layer_and_its_transpose() -> None:
    for layer in floor.layers_of(network(), torch.zeros(2, 3, 9, 9)):
        forward, backward = floor.calls_of(layer)
        assert backward().shape == layer.x
        assert forward().shape[:2] == (layer.x[0], layer.weight[0])


def test_settled_batch_norms_give_mean_0_and_variance_1() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    settle_batch_norm(model)
    assert not model.training and model[1].momentum == 0.1
    y = model(torch.empty(8, 3, 64, 64).uniform_(-2, 2))
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=0.1)
    torch.testing.assert_close(y.var((0, 2, 3)), torch.ones(4), rtol=0.1, atol=0)


def test_a_peer_changes_no_weight_of_the_model() -> None:
    model = network()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    own = own_copy(model)
    assert own[0].weight.data_ptr() == model[0].weight.data_ptr()
    own[0].weight.data = torch.zeros_like(own[0].weight)
    own[3].running_var.data = torch.ones(4)
    own[0].register_forward_hook(lambda *_: 1 / 0)
    for name, t in model.state_dict().items():
        assert t.equal(before[name])
    model(torch.zeros(1, 3, 9, 9))


def test_a_batch_norm_belongs_to_the_convolution_before_it() -> None:
    assert batch_norms(network()) == [(["2"], "3")]
