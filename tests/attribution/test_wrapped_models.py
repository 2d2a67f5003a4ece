"""Models with something of torch's around them are explained as the model within."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import relprop
from relprop.compat import captum


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """A group of this process alone."""
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def compiled(model: nn.Module) -> nn.Module:
    wrapped: nn.Module = torch.compile(model, backend="eager")
    return wrapped


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "DataParallel": nn.DataParallel,
    "DistributedDataParallel": nn.parallel.DistributedDataParallel,
    "compiled": compiled,
    "compiled in place": compiled_in_place,
    "DataParallel of a compiled model": lambda m: nn.DataParallel(compiled(m)),
}


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3))


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_model_is_explained_as_the_model_within(wrapper: str) -> None:
    x, plain = torch.randn(2, 2, 8), network()
    wrapped = WRAPPERS[wrapper](network())
    composite = relprop.Composite([("0", relprop.rules.lrp.ZPlus())])
    for model in (wrapped, plain):
        model(x)  # compiles it, if that is what it is for
    R, layers = relprop.LRP(wrapped, composite).attribute(x, target=1, layers=["1"])
    expected, at_layer = relprop.LRP(plain, composite).attribute(x, target=1, layers=["1"])
    assert torch.equal(R, expected)
    assert torch.equal(layers["1"], at_layer["1"])
    found = relprop.DeepLift(wrapped).attribute(x, target=1)
    assert torch.equal(found, relprop.DeepLift(plain).attribute(x, target=1))


def test_a_compiled_model_is_explained_under_captums_names() -> None:
    x, plain = torch.randn(2, 2, 8), network()
    for method in (captum.LRP, captum.DeepLift):
        found = method(compiled(network())).attribute(x, target=1)
        assert torch.equal(found, method(plain).attribute(x, target=1))


def test_the_weights_of_a_wrapped_model_are_read_as_they_are() -> None:
    x, model = torch.randn(2, 2, 8), network()
    method = relprop.LRP(nn.DataParallel(model), "epsilon")
    method.attribute(x, target=0)
    with torch.no_grad():
        model[0].weight.mul_(-2)
    assert torch.equal(
        method.attribute(x, target=0), relprop.LRP(model, "epsilon").attribute(x, target=0)
    )
