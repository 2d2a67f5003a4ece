"""Images in channels-last order, where a CPU convolves them faster.

oneDNN computes in blocks of channels. Of images in torch's usual order it makes such blocks, and
back, at every convolution of the way there and of the way back; in channels-last order they are
blocks already.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from relprop.graph.weights import Take

#: What oneDNN convolves; float64 goes through matrix products, in whatever order.
FAST = (torch.float32, torch.bfloat16, torch.float16)


def channels_last(images: Tensor) -> Tensor:
    """The same tensor, in channels-last order if it is four-dimensional and that is faster."""
    if images.dim() != 4 or images.dtype not in FAST or images.device.type != "cpu":
        return images
    return images.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class InOrder:
    """What is made of a weight, in channels-last order if images are."""

    take: Take

    def __call__(self, w: Tensor) -> Tensor:
        """The weight to multiply by."""
        return channels_last(self.take(w))
