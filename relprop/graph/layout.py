"""Images in channels-last order, where a CPU convolves them faster.

oneDNN computes in blocks of channels. Of images in torch's usual order it makes such blocks, and
back, at every convolution of the way there and of the way back; in channels-last order they are
blocks already.
"""

from __future__ import annotations

import torch
from torch import Tensor

from relprop.graph.constants import Constants
from relprop.graph.linear import Convolution
from relprop.graph.node import Graph

#: What oneDNN convolves; float64 goes through matrix products, in whatever order.
FAST = (torch.float32, torch.bfloat16, torch.float16)


def lay_out(graph: Graph, constants: Constants) -> None:
    """Let the graph run in channels-last order, if it convolves images: in place."""
    for node in graph.nodes:
        if isinstance(node, Convolution) and len(node.stride) == 2:
            assert node.weight is not None
            name = f"{node.output}.channels_last_weight"
            node.weight = constants.add(name, channels_last, node.weight)
            graph.channels_last = True


def channels_last(images: Tensor) -> Tensor:
    """The same tensor, in channels-last order if it is four-dimensional and that is faster."""
    if images.dim() != 4 or images.dtype not in FAST or images.device.type != "cpu":
        return images
    return images.contiguous(memory_format=torch.channels_last)
