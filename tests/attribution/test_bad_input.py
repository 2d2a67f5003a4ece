"""Every mistake of a user is met by one sentence, and leaves nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relprop


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )


IMAGE = torch.rand(2, 3, 8, 8)


class Two(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * 2, x * 3


class Erf(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.erfinv(self.inner(x))


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rand(1)


def lrp(**settings: Any) -> Callable[..., Any]:
    return lambda x=IMAGE, target=0: relprop.LRP(network(), **settings).attribute(x, target=target)


def deeplift(x: Any = IMAGE, target: Any = 0, **arguments: Any) -> Any:
    return relprop.DeepLift(network()).attribute(x, target=target, **arguments)


MISTAKES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no batch": (
        lambda: lrp()(IMAGE[0]),
        ValueError,
        r"batch dimension, shape \(N, 3, 8, 8\).*got \(3, 8, 8\)",
    ),
    "wrong rank": (
        lambda: lrp()(IMAGE[None]),
        RuntimeError,
        r"could not capture.*\(1, 2, 3, 8, 8\)",
    ),
    "wrong channels": (lambda: lrp()(IMAGE[:, :2]), RuntimeError, r"could not capture.*3 channels"),
    "integers": (lambda: lrp()(IMAGE.byte()), TypeError, "floating-point tensor; got torch.uint8"),
    "wrong dtype": (
        lambda: lrp()(IMAGE.double()),
        TypeError,
        "dtype torch.float32; got torch.float64",
    ),
    "wrong device": (lambda: lrp()(IMAGE.to("meta")), ValueError, "device cpu; got meta"),
    "not a tensor": (
        lambda: lrp()(IMAGE.numpy()),
        TypeError,
        "must be a torch tensor; got ndarray",
    ),
    "NaN": (lambda: lrp()(IMAGE / 0 * 0), ValueError, "must be finite; 384 of its values"),
    "no example": (lambda: lrp()(IMAGE[:0]), ValueError, r"N >= 1; got \(0, 3, 8, 8\)"),
    "no input": (lambda: lrp()(()), ValueError, "empty tuple"),
    "class too large": (lambda: lrp()(target=5), ValueError, r"target 5 is out of range.*\(2, 5\)"),
    "class too small": (lambda: lrp()(target=-6), ValueError, "target -6 is out of range"),
    "target by name": (lambda: lrp()(target="cat"), TypeError, "target must be an int.*got str"),
    "target of floats": (lambda: lrp()(target=torch.ones(2)), ValueError, "must hold integers"),
    "target missing": (
        lambda: lrp()(target=None),
        ValueError,
        r"which of the model's outputs.*\(2, 5\)",
    ),
    "targets too many": (lambda: lrp()(target=[1, 2, 3]), ValueError, "each of 2 examples; got 3"),
    "target too deep": (
        lambda: lrp()(target=(1, 2)),
        ValueError,
        r"one index for each.*got \(1, 2\)",
    ),
    "composite": (lambda: lrp(composite="plus")(), ValueError, "one of 'epsilon',.*got 'plus'"),
    "bias": (lambda: lrp(bias="drop")(), ValueError, "bias must be one of 'absorb'.*got 'drop'"),
    "epsilon": (
        lambda: lrp(epsilon=-1)(),
        ValueError,
        "epsilon must be a finite number >= 0; got -1",
    ),
    "stabilizer": (
        lambda: lrp(stabilizer=float("nan"))(),
        ValueError,
        "stabilizer must be.*got nan",
    ),
    "box without bounds": (lambda: lrp(composite="epsilon_plus_box")(), ValueError, "low=None"),
    "bounds without box": (
        lambda: lrp(low=0, high=1)(),
        ValueError,
        "and with no other; got low=0",
    ),
    "unsupported": (lambda: lrp(unsupported="skip")(), ValueError, "unsupported must be one of"),
    "model": (lambda: relprop.LRP(lambda x: x), TypeError, "torch.nn.Module or .*; got function"),
    "two outputs": (
        lambda: relprop.LRP(Two()).attribute(IMAGE, target=0),
        RuntimeError,
        "returns 2 tensors.*say which by output=, one of 0, 1; none was named",
    ),
    "operator": (
        lambda: relprop.LRP(Erf()).attribute(torch.rand(1, 3), target=0),
        NotImplementedError,
        r"operator 'erfinv' in the model's own forward \(.*test_bad_input.py:\d+\).*='gradient'",
    ),
    "random model": (
        lambda: relprop.LRP(Noise()).attribute(torch.rand(1, 3), target=0),
        RuntimeError,
        "must compute what the model does",
    ),
    "rule": (
        lambda: relprop.DeepLift(network(), rule="scale"),
        ValueError,
        "rule must be one of 'rescale'",
    ),
    "max_pool": (
        lambda: relprop.DeepLift(network(), max_pool="x"),
        ValueError,
        "max_pool must be one of",
    ),
    "memory budget": (
        lambda: deeplift(memory_budget="2 apples"),
        ValueError,
        "memory_budget must be a positive number of bytes, or such as '2GiB'; got '2 apples'",
    ),
    "no memory": (lambda: deeplift(memory_budget=0), ValueError, "memory_budget must be.*got 0"),
    "baseline's name": (
        lambda: deeplift(baselines="grey"),
        ValueError,
        "one of 'blank', 'blur'.*'grey'",
    ),
    "baseline's shape": (
        lambda: deeplift(baselines=IMAGE[:, :, 1:]),
        ValueError,
        r"got \(2, 3, 7, 8\)",
    ),
    "baseline's batch": (
        lambda: deeplift(baselines=torch.rand(3, 3, 8, 8)),
        ValueError,
        "along its batch",
    ),
    "baseline's dtype": (
        lambda: deeplift(baselines=IMAGE.double()),
        TypeError,
        "got torch.float64",
    ),
    "baseline's kind": (lambda: deeplift(baselines=[0]), TypeError, "got list"),
    "baseline's NaN": (lambda: deeplift(baselines=IMAGE * torch.nan), ValueError, "must be finite"),
    "baselines' number": (
        lambda: deeplift(baselines=(0, 0)),
        ValueError,
        "each of 1 inputs; got 2",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_met_by_one_sentence(mistake: str) -> None:
    act, kind, sentence = MISTAKES[mistake]
    with pytest.raises(kind, match=sentence) as caught:
        act()
    assert isinstance(caught.value, relprop.RelpropError)
    assert "\n" not in str(caught.value)


def test_an_output_that_is_no_number_is_named() -> None:
    class Infinite(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * float("inf")

    with pytest.raises(relprop.InvalidInputError, match="output for the target must be finite"):
        relprop.LRP(Infinite()).attribute(torch.ones(1, 2), target=0)


def test_autocast_is_met_before_anything_is_cast() -> None:
    sentence = r"torch.autocast must be off; got autocast to torch.bfloat16: leave it, or explain"
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(relprop.InvalidInputError, match=sentence),
    ):
        lrp()()


def test_relevance_that_overflows_is_an_error_and_not_a_map() -> None:
    layers = [nn.Linear(2, 2, bias=False) for _ in range(20)]
    for layer in layers:  # 1 = 1000 - 999: each layer makes differences 1999 times as large
        layer.weight.data = torch.tensor([[1000.0, -999.0], [-999.0, 1000.0]])
    with pytest.raises(relprop.NumericalError, match=r"overflowed torch.float32.*larger epsilon"):
        relprop.LRP(nn.Sequential(*layers), "epsilon").attribute(torch.ones(1, 2), target=0)


def test_relevance_that_lost_its_digits_is_warned_of() -> None:
    layers = [nn.Linear(2, 2, bias=False) for _ in range(6)]
    for layer in layers:
        layer.weight.data = torch.tensor([[100.1, -99.1], [-99.1, 100.1]])
    lrp = relprop.LRP(nn.Sequential(*layers), "epsilon", bias="redistribute")
    with pytest.warns(relprop.InexactWarning, match="score of 1, but its parts grew to"):
        lrp.attribute(torch.ones(1, 2), target=0)


def test_gradient_for_an_unsupported_operator_is_the_users_choice() -> None:
    x = torch.rand(1, 3, dtype=torch.float64) / 2
    model = Erf().double()
    got = relprop.DeepLift(model, unsupported="gradient").attribute(x, baselines=x, target=0)
    assert torch.equal(got, torch.zeros_like(x))
    report = relprop.LRP(model, "epsilon", unsupported="gradient").report(x, target=0)
    assert report.dropped != 0
    assert abs(report.shortfall) < 1e-12
