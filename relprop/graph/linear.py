"""Nodes that are linear in one activation: dense layers, affine maps, fixed operators."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from relprop.graph.convolution import Convolution
from relprop.graph.linear_map import LinearMap
from relprop.graph.node import Call, Operand, Run, sum_to
from relprop.graph.weights import WHOLE, BySign, Take

#: Elements of a dense layer's weight to make something of at a time: on a CPU such as stay in a
#: core's cache, elsewhere enough to keep the device busy.
BLOCK, LARGE_BLOCK = 1 << 19, 1 << 24


@dataclass(kw_only=True)
class Dense(LinearMap):
    """`x W^T + b` with a weight of shape (out, in); or of shape (in, out) where `input_major`."""

    channel_dim: int | None = -1
    input_major: bool = False

    @property
    def label(self) -> str:
        """`linear`."""
        return "linear"

    def affine(self, run: Run, x: Tensor, take: Take, bias: Tensor | None) -> Tensor:
        """`W x + b`."""
        parts = [
            F.linear(x, weight, None if bias is None else bias[outputs])
            for outputs, weight in self._blocks(run, take)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    def apply(self, run: Run, x: Tensor, take: Take = WHOLE) -> Tensor:
        """`W x`."""
        return self.affine(run, x, take, None)

    def transpose(self, run: Run, s: Tensor, shape: Sequence[int], take: Take = WHOLE) -> Tensor:
        """`W^T s`."""
        blocks = self._blocks(run, take)
        outputs, weight = next(blocks)
        r = F.linear(s[..., outputs], weight.t())
        for outputs, weight in blocks:
            r += F.linear(s[..., outputs], weight.t())
        return r

    def _blocks(self, run: Run, take: Take) -> Iterator[tuple[slice, Tensor]]:
        """What is made of the weight, as (out, in), and which outputs it is for.

        The signed parts of a large weight come a few outputs at a time, so that there is never a
        copy of it.
        """
        assert self.weight is not None
        whole = run.constants[self.weight]
        most = BLOCK if whole.device.type == "cpu" else LARGE_BLOCK
        if take is WHOLE or not isinstance(take, BySign) or whole.numel() <= most:
            weight = self.taken(run, take)
            yield slice(None), weight.t() if self.input_major else weight
            return
        whole = whole.t() if self.input_major else whole
        step = max(1, most // whole.shape[1])
        for start in range(0, len(whole), step):
            outputs = slice(start, start + step)
            yield outputs, take(whole[outputs])


@dataclass(kw_only=True)
class MatrixProduct(LinearMap):
    """`W @ x` where `weight_first`, else `x @ W`: a constant vector, matrix or batch of matrices.

    What broadcasts does so as in `torch.matmul`; the bias broadcasts to the product. With an
    `equation`, the product is that of `torch.einsum`.
    """

    channel_dim: int | None = None
    weight_first: bool
    equation: str = ""

    @property
    def label(self) -> str:
        """`matmul`."""
        return "matmul"

    def apply(self, run: Run, x: Tensor, take: Take = WHOLE) -> Tensor:
        """`W x`."""
        weight = self.taken(run, take)
        factors = (weight, x) if self.weight_first else (x, weight)
        return torch.einsum(self.equation, *factors) if self.equation else torch.matmul(*factors)


@dataclass(kw_only=True)
class Affine(LinearMap):
    """`w * x + b` with factors and summands that broadcast: batch norm, sums with constants."""

    origin: str = "affine"

    @property
    def label(self) -> str:
        """What it is in the user's code, such as `batch_norm`."""
        return self.origin

    def apply(self, run: Run, x: Tensor, take: Take = WHOLE) -> Tensor:
        """`w * x`."""
        return x if self.weight is None else x * self.taken(run, take)

    def transpose(self, run: Run, s: Tensor, shape: Sequence[int], take: Take = WHOLE) -> Tensor:
        """`w * s`, summed over what was broadcast."""
        return sum_to(s if self.weight is None else s * self.taken(run, take), shape)


@dataclass(kw_only=True)
class Fixed(LinearMap, Call):
    """A linear operator without a weight: average pools, sums, interpolation."""

    def apply(self, run: Run, x: Tensor, take: Take = WHOLE) -> Tensor:
        """Call the operator."""
        result: Tensor = Call.compute(self, run, x)
        return result

    def compute(self, run: Run, *operands: Tensor) -> Tensor:
        """Call the operator."""
        return self.apply(run, operands[0])


@dataclass(kw_only=True)
class Rearrange(Fixed):
    """A linear operator whose every output element copies one input element, or is zero.

    Views, permutations, slices, padding, expansion, nearest-neighbour upsampling: relevance goes
    back to where the element came from, and nothing needs to be divided.
    """

    def transpose(self, run: Run, s: Tensor, shape: Sequence[int], take: Take = WHOLE) -> Tensor:
        """Every element of `s` back to its place and type, summed where one was copied to many."""
        if s.numel() == math.prod(shape) and self.label in RESHAPES:
            return s.reshape(list(shape))
        return super().transpose(run, s, shape, take).to(run.dtypes[self.inputs[0]])


@dataclass(kw_only=True)
class Beside(Rearrange):
    """An activation put beside constants, such as a class token before those of an image."""

    def apply(self, run: Run, x: Tensor, take: Take = WHOLE) -> Tensor:
        """The activation beside zeros: the linear part."""
        parts, *rest = self.args
        own = [isinstance(part, Operand) for part in parts]
        tensors = run.resolve(parts, (x,))
        placed = [t if is_x else torch.zeros_like(t) for t, is_x in zip(tensors, own, strict=True)]
        result: Tensor = self.target(placed, *rest, **self.kwargs)
        return result

    def compute(self, run: Run, *operands: Tensor) -> Tensor:
        """The activation beside the constants."""
        result: Tensor = Call.compute(self, run, *operands)
        return result


#: Layers with weights; all but convolutions count as dense.
WEIGHTED = (Convolution, Dense, MatrixProduct)
RESHAPES = {"view", "_unsafe_view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze"}
