"""Nodes that are linear in one activation: `z = W x + b`.

Each can be applied with what is made of its weight in place of it, and transposed: this is all that
the rules need to know of a convolution, a dense layer, a batch norm or an average pool.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from relprop.graph.layout import InOrder
from relprop.graph.node import Call, Node, Run, Value, sum_to
from relprop.graph.weights import WHOLE, BySign, Take
from relprop.ops import winograd

#: Elements of a dense layer's weight to make something of at a time; they stay in a core's cache.
BLOCK = 1 << 19


@dataclass(kw_only=True)
class LinearMap(Node):
    """`z = W x + b`; `weight` and `bias` name constants, or are None where there is none.

    A one-dimensional bias runs along `channel_dim` of the output; any other (`channel_dim` None)
    broadcasts to it.
    """

    weight: Value | None = None
    bias: Value | None = None
    channel_dim: int | None = 1

    def taken(self, run: Run, take: Take) -> Tensor:
        """The weight, or what is made of it."""
        assert self.weight is not None
        whole = take is WHOLE
        return run.constants[self.weight] if whole else run.constants.derive(self.weight, take)

    def apply(self, run: Run, x: Tensor, take: Take = WHOLE) -> Tensor:
        """`W x`, without the bias."""
        raise NotImplementedError

    def transpose(self, run: Run, s: Tensor, shape: Sequence[int], take: Take = WHOLE) -> Tensor:
        """`W^T s`, in the given shape of the input `x`.

        Where a node knows no better way, torch's autograd transposes it: the gradient of a linear
        map is its transpose, at any input.
        """
        with torch.enable_grad():
            x = s.new_zeros(()).expand(*shape).requires_grad_()
            return torch.autograd.grad(self.apply(run, x, take), x, s)[0]

    def rounds_by_tile(self, run: Run, x: Tensor, take: Take) -> bool:
        """Whether errors of `W x` are in proportion to large numbers nearby, not to the result."""
        return False

    def affine(self, run: Run, x: Tensor, take: Take, bias: Tensor | None) -> Tensor:
        """`W x + b`, with any bias of the layer's shape."""
        z = self.apply(run, x, take)
        return z if bias is None else z + self.broadcast(bias, z.dim())

    def compute(self, run: Run, *operands: Tensor) -> Tensor:
        """`W x + b`."""
        return self.affine(run, operands[0], WHOLE, run.constant(self.bias))

    def broadcast(self, bias: Tensor, ndim: int) -> Tensor:
        """The bias in a shape that broadcasts to an output of `ndim` dimensions."""
        if self.channel_dim is None:
            return bias
        return bias.reshape([-1] + [1] * (ndim - self.channel_dim % ndim - 1))


@dataclass(kw_only=True)
class Convolution(LinearMap):
    """A convolution over 1 to 3 spatial dimensions, or a transposed one.

    `border` is zero padding beyond `padding`, before and after the last dimension, the one before
    it, and so on (the order of `F.pad`): what a separate padding step or an uneven
    `padding="same"` leaves.
    """

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int
    transposed: bool = False
    output_padding: list[int]
    border: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """`conv2d` and the like."""
        return f"conv{'_transpose' if self.transposed else ''}{len(self.stride)}d"

    def bordered(self, x: Tensor) -> Tensor:
        """The input, or any tensor of its shape, with the zeros around it."""
        return F.pad(x, self.border) if self.border else x

    def bordered_size(self, shape: Sequence[int]) -> list[int]:
        """The spatial dimensions of an input of this shape with the zeros around it."""
        before, after = self.border[-2::-2], self.border[-1::-2]
        if not self.border:
            return list(shape[2:])
        return [n + b + a for n, b, a in zip(shape[2:], before, after, strict=True)]

    def without_border(self, t: Tensor, shape: Sequence[int]) -> Tensor:
        """The part of a bordered tensor that is the input, of the given shape."""
        for dim, n in enumerate(shape[2:], start=2):
            if self.border:
                t = t.narrow(dim, self.border[2 * (len(shape) - 1 - dim)], n)
        return t

    def taken(self, run: Run, take: Take) -> Tensor:
        """In the order that convolves faster."""
        assert self.weight is not None
        return run.constants.derive(self.weight, InOrder(take))

    def affine(self, run: Run, x: Tensor, take: Take, bias: Tensor | None) -> Tensor:
        """`W x + b` in one call."""
        x = self.bordered(x)
        if self._filters(run, x, take, self.transposed):
            return self._filtered(run, x, take, bias, self.transposed)
        if self._is_pointwise(run, x):
            weight = self.taken(run, take).flatten(1)
            return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
        return torch.convolution(
            x,
            self.taken(run, take),
            bias,
            self.stride,
            self.padding,
            self.dilation,
            self.transposed,
            self.output_padding,
            self.groups,
        )

    def _is_pointwise(self, run: Run, x: Tensor) -> bool:
        """Whether channels-last images meet one matrix at every place: a plain product is faster.

        On the way back, which takes the weight the other way round, torch's convolution is as fast.
        """
        if x.dim() != 4 or x.dtype != torch.float32 or x.device.type != "cpu":
            return False
        assert self.weight is not None
        weight = run.constants[self.weight]
        plain = not self.transposed and self.groups == 1 and not any(self.padding)
        one = set(self.stride) == {1} and weight.shape[2:] == (1, 1)
        return plain and one and x.is_contiguous(memory_format=torch.channels_last)

    def _filters(self, run: Run, x: Tensor, take: Take, transposed: bool) -> bool:
        """Whether there is a faster way of convolving than torch's."""
        if not run.winograd or not isinstance(take, BySign) or any(self.output_padding):
            return False
        assert self.weight is not None
        return winograd.suits(
            x,
            run.constants[self.weight],
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            transposed=transposed,
        )

    def rounds_by_tile(self, run: Run, x: Tensor, take: Take) -> bool:
        """Where it is computed by minimal filtering."""
        return self._filters(run, self.bordered(x), take, self.transposed)

    def _filtered(
        self, run: Run, x: Tensor, take: Take, bias: Tensor | None, transposed: bool
    ) -> Tensor:
        assert self.weight is not None and isinstance(take, BySign)
        return winograd.winograd_convolution(
            x,
            run.constants[self.weight],
            bias,
            padding=self.padding,
            positive=take.positive,
            negative=take.negative,
            transposed=transposed,
        )

    def apply(self, run: Run, x: Tensor, take: Take = WHOLE) -> Tensor:
        """`W x`."""
        return self.affine(run, x, take, None)

    def transpose(self, run: Run, s: Tensor, shape: Sequence[int], take: Take = WHOLE) -> Tensor:
        """`W^T s`: the transposed convolution (or, of a transposed one, the plain one)."""
        if self._filters(run, s, take, not self.transposed):
            r = self._filtered(run, s, take, None, not self.transposed)
            return self.without_border(r, shape)
        weight = self.taken(run, take)
        if self.transposed:
            rest = [0] * len(self.stride)
        else:
            # What the stride left over at the end of each padded dimension.
            rest = [
                n + 2 * p - dil * (k - 1) - 1 - st * (m - 1)
                for n, p, dil, k, st, m in zip(
                    self.bordered_size(shape),
                    self.padding,
                    self.dilation,
                    weight.shape[2:],
                    self.stride,
                    s.shape[2:],
                    strict=True,
                )
            ]
        r = torch.convolution(
            s,
            weight,
            None,
            self.stride,
            self.padding,
            self.dilation,
            not self.transposed,
            rest,
            self.groups,
        )
        return self.without_border(r, shape)


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
        if take is WHOLE or not isinstance(take, BySign) or whole.numel() <= BLOCK:
            weight = self.taken(run, take)
            yield slice(None), weight.t() if self.input_major else weight
            return
        whole = whole.t() if self.input_major else whole
        step = max(1, BLOCK // whole.shape[1])
        for start in range(0, len(whole), step):
            outputs = slice(start, start + step)
            yield outputs, take(whole[outputs])


@dataclass(kw_only=True)
class MatrixProduct(LinearMap):
    """`W @ x` where `weight_first`, else `x @ W`: a constant vector, matrix or batch of matrices.

    What broadcasts does so as in `torch.matmul`; the bias broadcasts to the product.
    """

    channel_dim: int | None = None
    weight_first: bool

    @property
    def label(self) -> str:
        """`matmul`."""
        return "matmul"

    def apply(self, run: Run, x: Tensor, take: Take = WHOLE) -> Tensor:
        """`W x`."""
        weight = self.taken(run, take)
        return weight @ x if self.weight_first else x @ weight


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


#: Layers with weights; all but convolutions count as dense.
WEIGHTED = (Convolution, Dense, MatrixProduct)
RESHAPES = {"view", "_unsafe_view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze"}
