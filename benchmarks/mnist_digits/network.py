"""The network of Shrikumar et al. (2017), section 4.1 and appendix D, and its weights."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.mnist_digits.digits import Digits

SHIFT = 2
"""Pixels by which a digit moves, at most, from one epoch to the next."""

KERAS = (".h5", ".hdf5")
"""How the names of Keras files end."""


def build() -> nn.Sequential:
    """Two convolutions with strides in place of pools, and two dense layers that give logits.

    The softmax that follows in the paper is left out, for its code explains the logits. Inputs are
    the pixels as they are, 0 to 255.
    """
    return nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, stride=2),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(64 * 5 * 5, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )


def train(
    model: nn.Module, digits: Digits, epochs: int, progress: Callable[[str], None] = print
) -> None:
    """Train on digits that move about, with Adam and a learning rate that falls to zero."""
    batch, steps = 64, epochs * -(-len(digits.images) // 64)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps)
    model.train()
    for epoch in range(1, epochs + 1):
        total = 0.0
        for chosen in torch.randperm(len(digits.images)).split(batch):
            logits = model(_shifted(digits.images[chosen]))
            loss = nn.functional.cross_entropy(logits, digits.classes[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(chosen)
        progress(f"epoch {epoch} of {epochs}: loss {total / len(digits.images):.4f}")
    model.eval()


def accuracy(model: nn.Module, digits: Digits) -> float:
    """The share of digits that the model, in evaluation mode, puts in their class."""
    with torch.no_grad():
        return (model(digits.images).argmax(1) == digits.classes).float().mean().item()


def _shifted(images: Tensor) -> Tensor:
    """The batch moved by up to `SHIFT` pixels, zeros coming in."""
    padded = nn.functional.pad(images, [SHIFT] * 4)
    top, left = torch.randint(2 * SHIFT + 1, (2,)).tolist()
    return padded[:, :, top : top + images.shape[2], left : left + images.shape[3]]


def load_weights(model: nn.Sequential, file: Path) -> None:
    """Read a torch state dict, or the `.h5` file of a Keras model of this architecture.

    Raises:
        OSError: the file cannot be read. ValueError: it is not there, or holds something else.
    """
    if not file.is_file():
        raise ValueError(f"{file} must be a file; there is none")
    try:
        state = (
            read_keras(model, file) if file.suffix in KERAS else torch.load(file, weights_only=True)
        )
        model.load_state_dict(state)
    except (RuntimeError, TypeError, pickle.UnpicklingError) as error:
        layers = ", ".join(f"{name} {tuple(w.shape)}" for name, w in model.state_dict().items())
        raise ValueError(f"{file} must be a torch state dict of this network: {layers}") from error
    model.eval()


def read_keras(model: nn.Sequential, file: Path) -> dict[str, Tensor]:
    """The state dict of `model` from the layers of a Keras file, in the order in which they come.

    Raises:
        ValueError: the layers do not fit the model's.
    """
    names = [name for name, layer in model.named_children() if list(layer.parameters())]
    layers = _keras_layers(file)
    if len(layers) != len(names):
        raise ValueError(f"{file} must have {len(names)} layers with weights; got {len(layers)}")
    state: dict[str, Tensor] = {}
    channels = 0  # of the convolution before the first dense layer
    for name, (kernel, bias) in zip(names, layers, strict=True):
        shape = tuple(model.get_parameter(f"{name}.weight").shape)
        converted = from_channels_last(kernel, channels)
        if tuple(converted.shape) != shape or len(bias) != len(converted):
            raise ValueError(
                f"{file} must have weights for layer {name} of shape {shape}; got "
                f"{tuple(converted.shape)}"
            )
        channels = len(bias) if kernel.dim() == 4 else 0
        state[f"{name}.weight"], state[f"{name}.bias"] = converted, bias
    return state


def from_channels_last(kernel: Tensor, channels: int = 0) -> Tensor:
    """A Keras kernel in torch's layout.

    Args:
        kernel: shape (H, W, in, out) of a convolution, (in, out) of a dense layer.
        channels: if the dense layer reads a flattened picture, (H * W * channels) values to Keras
            and (channels * H * W) to torch, how many channels it has; else 0.

    Returns:
        Shape (out, in, H, W) or (out, in).
    """
    if kernel.dim() == 4:
        return kernel.permute(3, 2, 0, 1).contiguous()
    if channels and kernel.shape[0] % channels == 0:
        kernel = kernel.view(-1, channels, kernel.shape[1]).transpose(0, 1).flatten(0, 1)
    return kernel.T.contiguous()


def _keras_layers(file: Path) -> list[tuple[Tensor, Tensor]]:
    """Kernel and bias of every layer that has them."""
    import h5py

    def arrays(group: Any) -> list[Tensor]:
        if isinstance(group, h5py.Dataset):
            return [torch.from_numpy(group[()]).float()]
        return [array for item in group.values() for array in arrays(item)]

    with h5py.File(file, "r") as root:
        # A saved model has a group for its weights; saved weights are the root itself.
        weights = root.get("model_weights", root)
        if "layer_names" not in weights.attrs:
            raise ValueError(f"{file} must be what Keras saves; its layers have no names")
        names = [n.decode() if isinstance(n, bytes) else n for n in weights.attrs["layer_names"]]
        found = [sorted(arrays(weights[name]), key=Tensor.dim) for name in names]
    if any(len(layer) not in (0, 2) for layer in found):
        raise ValueError(f"{file} must have layers with a kernel and a bias, and no other weights")
    return [(layer[1], layer[0]) for layer in found if layer]
