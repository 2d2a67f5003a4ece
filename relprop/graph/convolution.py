"""Convolutions, plain and transposed, and which kernel serves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from relprop.graph import two_products
from relprop.graph.layout import InOrder
from relprop.graph.linear_map import LinearMap
from relprop.graph.node import Run
from relprop.graph.two_products import ONE_BY_ONE, TwoProducts
from relprop.graph.weights import WHOLE, BySign, Take
from relprop.ops import few_channels, pointwise, winograd


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
        if self._is_pointwise(run, x) and isinstance(take, BySign):
            return self._product(run, self._met(x), take, bias, transposed=False)
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
        """Whether images meet one matrix at every place that the steps lead to."""
        assert self.weight is not None
        weight = run.constants[self.weight]
        suits = pointwise.suits(x, weight, padding=self.padding, groups=self.groups)
        return suits and not self.transposed

    def _met(self, x: Tensor) -> Tensor:
        """The places of images that the steps lead to."""
        rows, columns = self.stride
        return x[:, :, ::rows, ::columns]

    def _product(
        self, run: Run, x: Tensor, take: BySign, bias: Tensor | None, **options: Any
    ) -> Tensor:
        assert self.weight is not None
        weight = run.constants[self.weight]
        return pointwise.pointwise_convolution(
            x, weight, bias, positive=take.positive, negative=take.negative, **options
        )

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
        if isinstance(take, BySign) and self._is_product(run, s):
            return self._sent_back(run, s, take, shape)
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

    def transpose_pair(
        self,
        run: Run,
        s: tuple[Tensor, Tensor],
        takes: tuple[BySign, BySign],
        alpha: float,
        shape: Sequence[int],
    ) -> Tensor:
        """`alpha W'^T s - (alpha - 1) W''^T t` at once, by parts of the weight; see `pairs`."""
        first, other = takes[0].scaled(alpha), takes[1].scaled(1 - alpha)
        two = self._two_products(run, s[0])
        if two is not None:
            return two.back(two.way_back(s[0], shape[2:]), s, (first, other), shape[2:])
        return self._sent_back(
            run,
            s[0],
            first,
            shape,
            other=s[1],
            other_positive=other.positive,
            other_negative=other.negative,
        )

    def pairs(self, run: Run, s: Tensor) -> bool:
        """Whether two tensors go back at once, and in less time than one after the other."""
        two = self._two_products(run, s)
        if two is None:
            return self._is_product(run, s)
        return two.way_back(s, run.shapes[self.inputs[0]][2:]) != ONE_BY_ONE

    def makes_both(self, run: Run, x: Tensor) -> bool:
        """Whether `W+ x` and `W- x` are made at once, in less time than one after the other."""
        two = self._two_products(run, x)
        return two is not None and self._way_forward(run, two, x) != ONE_BY_ONE

    def affine_pair(
        self, run: Run, x: Tensor, biases: tuple[Tensor | None, Tensor | None]
    ) -> tuple[Tensor, Tensor]:
        """`W+ x + b` and `W- x + b'` from one read of x; see `makes_both`."""
        two = self._two_products(run, x)
        assert two is not None
        return two.forward(self._way_forward(run, two, x), x, biases)

    def _way_forward(self, run: Run, two: TwoProducts, x: Tensor) -> str:
        return two.way_forward(x, run.shapes[self.output][2:])

    def _two_products(self, run: Run, x: Tensor) -> TwoProducts | None:
        """Ways of making two products at once, where there may be any."""
        if self.transposed or self.border or not two_products.suits(x, groups=self.groups):
            return None
        assert self.weight is not None
        return TwoProducts(
            run.constants[self.weight],
            lambda part: self.taken(run, part),
            self.stride,
            self.padding,
            self.dilation,
        )

    def _is_product(self, run: Run, s: Tensor) -> bool:
        """Whether the way back is a product of matrices, which takes two tensors at once."""
        assert self.weight is not None
        few = few_channels.suits(
            s, run.constants[self.weight], dilation=self.dilation, groups=self.groups
        )
        return self._is_pointwise(run, s) or (few and not self.transposed)

    def _sent_back(
        self, run: Run, s: Tensor, take: BySign, shape: Sequence[int], **other: Any
    ) -> Tensor:
        """`W'^T s`, and `W''^T t` with what is given of another."""
        if self._is_pointwise(run, s):
            c = self._product(run, s, take, None, transposed=True, **other)
            return self._spread(c, shape)
        assert self.weight is not None
        r = few_channels.few_channel_transpose(
            s,
            run.constants[self.weight],
            input_size=self.bordered_size(shape),
            stride=self.stride,
            padding=self.padding,
            positive=take.positive,
            negative=take.negative,
            **other,
        )
        return self.without_border(r, shape)

    def _spread(self, r: Tensor, shape: Sequence[int]) -> Tensor:
        """What came back to the places that the steps lead to, and 0 everywhere else."""
        if set(self.stride) != {1}:
            met, size = r, (*r.shape[:2], *self.bordered_size(shape))
            r = met.new_zeros(size).contiguous(memory_format=torch.channels_last)
            self._met(r).copy_(met)
        return self.without_border(r, shape)
