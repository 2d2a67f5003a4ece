"""The digit experiment must erase what it says, measure what it says, and read foreign weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmarks.mnist_digits import network, results
from benchmarks.mnist_digits.digits import Digits
from benchmarks.mnist_digits.erasing import (
    PIXELS,
    TASKS,
    Outcome,
    Task,
    erase,
    measure,
    measure_all,
)
from benchmarks.mnist_digits.methods import METHODS, integrated_gradient
from relprop import InvalidInputError

FACTS = {"weights": "none", "accuracy": "by chance"}


def digits(n: int = 6) -> Tensor:
    """Pictures with ink, 1 to 255, on about half of their pixels."""
    ink = torch.randint(1, 256, (n, 1, 28, 28)).float()
    return ink * (torch.rand_like(ink) < 0.5)


def linear_network() -> nn.Sequential:
    """The simplest network of which contributions are known: weight times pixel."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def difference_of_weights(model: nn.Sequential, task: Task) -> Tensor:
    weight = model[1].weight
    return (weight[task.source] - weight[task.target]).detach().view(1, 1, 28, 28)


@given(st.integers(0, 99), st.integers(0, 400), st.floats(-3, 3))
@settings(deadline=None, max_examples=50)
def test_only_the_largest_positive_differences_are_erased(
    seed: int, pixels: int, shift: float
) -> None:
    torch.manual_seed(seed)
    images = digits() + 1  # no pixel is black, so that one sees what has been erased
    difference = torch.randn_like(images) + shift
    gone = erase(images, difference, pixels) == 0
    assert (difference[gone] > 0).all()
    for one, d in zip(gone, difference, strict=True):
        assert one.sum() == min(pixels, int((d > 0).sum()))
        if one.any() and not one.all():
            assert d[one].min() > d[~one].max()
    assert erase(images, difference, pixels)[~gone].equal(images[~gone])


def test_no_more_than_a_fifth_of_the_pixels_is_erased() -> None:
    images = digits() + 1
    assert (erase(images, torch.rand_like(images) + 1) == 0).flatten(1).sum(1).tolist() == [157] * 6
    assert PIXELS == 157


def test_nothing_is_erased_where_no_difference_is_positive() -> None:
    images = digits()
    assert erase(images, torch.zeros_like(images)).equal(images)
    assert erase(images, -torch.rand_like(images)).equal(images)


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_change_is_what_the_erased_pixels_contributed(task: Task) -> None:
    model, images = linear_network(), digits()
    explain = METHODS["gradient x input"](model)
    outcome = measure(model, explain, images, task)
    contribution = difference_of_weights(model, task) * images
    largest = contribution.flatten(1).topk(PIXELS).values.clamp_min(0)
    torch.testing.assert_close(outcome.change, largest.sum(1), rtol=1e-4, atol=1e-3)
    assert outcome.erased.equal((largest > 0).sum(1))


def test_the_median_of_an_even_number_of_digits_is_between_the_middle_two() -> None:
    outcome = Outcome(torch.tensor([1.0, 8.0, 2.0, 4.0]), torch.tensor([5, 6, 7, 8]), torch.ones(4))
    assert (outcome.median, outcome.median_erased, outcome.share_turned) == (3.0, 6.5, 1.0)


def test_a_digit_has_turned_if_target_is_likelier_than_source() -> None:
    model, images, task = linear_network(), digits(), Task(8, 3)
    outcome = measure(model, METHODS["gradient x input"](model), images, task)
    erased = erase(images, difference_of_weights(model, task) * images)
    logits = model(erased)
    assert outcome.turned.equal(logits[:, 3] > logits[:, 8])


@pytest.mark.parametrize(
    "name", [name for name in METHODS if "x input" in name or name.startswith(("int", "LRP"))]
)
def test_on_a_linear_network_contributions_are_weight_times_pixel(name: str) -> None:
    model, images = linear_network(), digits()
    with torch.no_grad():
        model[1].bias.zero_()
    expected = model[1].weight[3].view(1, 1, 28, 28) * images
    explained = METHODS[name](model)(images, 3)
    torch.testing.assert_close(explained, expected, rtol=1e-3, atol=1e-3)


def test_integrated_gradients_sum_to_the_difference_of_logits() -> None:
    model, images = network.build().eval(), digits()
    mean_gradient = integrated_gradient(model, 200)(images, 3)
    expected = (model(images) - model(torch.zeros_like(images)))[:, 3]
    torch.testing.assert_close(
        (mean_gradient * images).flatten(1).sum(1), expected, rtol=0.02, atol=0.1
    )


def test_guided_backprop_lets_only_positive_gradients_through() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 2.0, -3.0], [1.0, 1.0, 1.0]]))
        model[0].bias.zero_()
        model[2].weight.copy_(torch.tensor([[2.0, -5.0]]))
    explained = METHODS["guided backprop x input"](model)(torch.ones(1, 3), 0)
    assert not explained.any()  # the first unit is off, the second speaks against
    explained = METHODS["guided backprop x input"](model)(torch.tensor([[1.0, 1.0, 0.5]]), 0)
    assert explained.tolist() == [[2.0, 4.0, -3.0]]


def test_a_method_that_fails_is_shown_with_what_it_says(tmp_path: Path) -> None:
    def refuse(model: nn.Module) -> None:
        raise InvalidInputError("no such rule")

    model = linear_network()
    methods = {"gradient x input": METHODS["gradient x input"], "refused": refuse}
    held_out = Digits(digits(12), torch.tensor([8, 9, 4] * 4))
    said: list[str] = []
    outcomes = measure_all(model, methods, held_out, said.append)  # type: ignore[arg-type]
    assert said == ["gradient x input: done", "refused: FAILED: no such rule"]
    table, record, picture = results.write(outcomes, FACTS, tmp_path / "new")
    assert "| refused | failed | failed | failed | failed |" in table.read_text()
    assert "- refused: InvalidInputError: no such rule" in table.read_text()
    measured = json.loads(record.read_text())["methods"]
    assert measured["refused"]["8->3"] == {"failure": "InvalidInputError: no such rule"}
    assert len(measured["gradient x input"]["4->1"]["change"]) == 4
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_results_can_be_written_where_every_method_fails(tmp_path: Path) -> None:
    def refuse(model: nn.Module) -> None:
        raise InvalidInputError("no such rule")

    outcomes = measure_all(linear_network(), {"refused": refuse}, Digits(digits(), torch.zeros(6)))  # type: ignore[dict-item]
    assert len(results.write(outcomes, FACTS, tmp_path)) == 3


def keras_weights(model: nn.Sequential) -> list[tuple[str, Tensor, Tensor]]:
    """The model's weights as Keras keeps them, element by element."""
    found = []
    for index, (name, layer) in enumerate(model.named_children()):
        if isinstance(layer, nn.Conv2d):
            found.append((f"conv2d_{index}", layer.weight.permute(2, 3, 1, 0), layer.bias))
        elif isinstance(layer, nn.Linear):
            kernel = layer.weight.T
            if kernel.shape[0] == 64 * 5 * 5:
                rows = [c * 25 + h * 5 + w for h in range(5) for w in range(5) for c in range(64)]
                kernel = kernel[rows]
            found.append((f"dense_{name}", kernel, layer.bias))
    return found


def channels_last_logits(layers: list[tuple[str, Tensor, Tensor]], images: Tensor) -> Tensor:
    """What Keras computes with them: convolutions, flattening and dense layers, channels last."""
    x = images.permute(0, 2, 3, 1)
    for index, (_, kernel, bias) in enumerate(layers):
        if kernel.dim() == 4:
            patches = x.unfold(1, 4, 2).unfold(2, 4, 2)  # N, H, W, channels, kernel H, kernel W
            x = torch.einsum("nhwcij,ijco->nhwo", patches, kernel) + bias
        else:
            x = x.flatten(1) @ kernel + bias
        x = x.relu() if index < len(layers) - 1 else x
    return x


def write_keras(file: Path, layers: list[tuple[str, Tensor, Tensor]], group: str) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(file, "w") as root:
        weights = root.require_group(group)
        names = [layers[0][0], "activation_1", *(name for name, _, _ in layers[1:])]
        weights.attrs["layer_names"] = [name.encode() for name in names]
        weights.create_group("activation_1")
        for name, kernel, bias in layers:
            weights[f"{name}/{name}/kernel:0"] = kernel.detach().numpy()
            weights[f"{name}/{name}/bias:0"] = bias.detach().numpy()


@pytest.mark.parametrize("group", ["model_weights", "/"])
def test_keras_weights_compute_in_torch_what_they_compute_in_keras(
    tmp_path: Path, group: str
) -> None:
    layers, images = keras_weights(network.build()), digits()
    write_keras(tmp_path / "weights.h5", layers, group)
    model = network.build()
    network.load_weights(model, tmp_path / "weights.h5")
    assert not model.training
    expected = channels_last_logits(layers, images)
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-3)


def test_keras_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    layers = keras_weights(network.build())
    write_keras(tmp_path / "short.h5", layers[:3], "model_weights")
    with pytest.raises(ValueError, match="must have 4 layers with weights; got 3"):
        network.load_weights(network.build(), tmp_path / "short.h5")
    layers[1] = ("conv2d_again", *layers[0][1:])
    write_keras(tmp_path / "twice.h5", layers, "model_weights")
    with pytest.raises(ValueError, match=r"layer 2 of shape \(64, 32, 4, 4\); got \(32, 1, 4, 4\)"):
        network.load_weights(network.build(), tmp_path / "twice.h5")


def test_saved_weights_can_be_read_again(tmp_path: Path) -> None:
    trained, model = network.build(), network.build()
    torch.save(trained.state_dict(), tmp_path / "weights.pt")
    network.load_weights(model, tmp_path / "weights.pt")
    images = digits()
    assert model(images).equal(trained.eval()(images))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(linear_network().state_dict(), tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "text.pt").write_text("no weights at all")
    for name in ("other.pt", "list.pt", "text.pt"):
        with pytest.raises(ValueError, match=f"{name} must be a torch state dict of this network"):
            network.load_weights(network.build(), tmp_path / name)
    with pytest.raises(ValueError, match="must be a file; there is none"):
        network.load_weights(network.build(), tmp_path / "absent.pt")


def test_an_h5_file_that_keras_did_not_write_is_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "data.h5", "w") as root:
        root["pixels"] = [1, 2, 3]
    with pytest.raises(ValueError, match=r"data\.h5 must be what Keras saves"):
        network.load_weights(network.build(), tmp_path / "data.h5")


def test_training_makes_the_loss_smaller() -> None:
    few = Digits(digits(64), torch.randint(10, (64,)))
    losses: list[str] = []
    network.train(network.build(), few, 8, losses.append)
    first, last = (float(losses[epoch].split()[-1]) for epoch in (0, -1))
    assert last < first
