"""Two products by the parts of one weight: one by one, side by side, or by one kernel.

Which way takes least time is measured, on GPUs; see `relprop.ops.convolution_timing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from relprop.graph.weights import NEGATIVE, POSITIVE, BySign
from relprop.ops import tensor_cores
from relprop.ops.convolution_timing import Convolved, fastest, is_worth_measuring
from relprop.ops.geometry import left_over

ONE_BY_ONE, SIDE_BY_SIDE, KERNEL = "one by one", "side by side", "kernel"
PARTS = (POSITIVE, NEGATIVE)
Pair = tuple[Tensor, Tensor]
_sparing: ContextVar[bool] = ContextVar("sparing", default=False)


@contextmanager
def sparing(memory: bool) -> Iterator[None]:
    """Within it, if memory is to be spared, products are made one by one, and none is timed."""
    token = _sparing.set(memory)
    try:
        yield
    finally:
        _sparing.reset(token)


def suits(x: Tensor, *, groups: int) -> bool:
    """Whether there may be a faster way for images x than one product after the other.

    Not where results are to be the same in every process, as each way rounds differently.
    """
    if x.device.type != "cuda" or x.dim() != 4 or groups != 1 or torch.is_grad_enabled():
        return False
    same = torch.backends.cudnn.deterministic or torch.are_deterministic_algorithms_enabled()
    return not same and not _sparing.get()


@dataclass(frozen=True)
class TwoProducts:
    """`W+ x` and `W- x` of a convolution in one group, and `W'^T s + W''^T t`.

    Attributes:
        weight: the convolution's.
        taken: its parts, which others keep.
        stride, padding, dilation: the convolution's.
    """

    weight: Tensor
    taken: Callable[[BySign], Tensor]
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]

    def way_forward(self, x: Tensor, result: Sequence[int]) -> str:
        """The fastest way to `W+ x` and `W- x`, of so many rows and columns."""
        if not is_worth_measuring(x.shape, self.weight.shape, result):
            return ONE_BY_ONE
        none = (None, None)
        ways = {way: partial(self.forward, way, x, none) for way in self._ways(x)}
        return fastest(x, self._convolved("W+ x, W- x", x, result), ways)

    def forward(self, way: str, x: Tensor, biases: tuple[Tensor | None, Tensor | None]) -> Pair:
        """`W+ x + b` and `W- x + b'`."""
        if way == KERNEL:
            return tensor_cores.fused_convolution_pair(
                x, self.weight, *biases, stride=self.stride, padding=self.padding
            )
        if way == SIDE_BY_SIDE:
            given = [b for b in biases if b is not None]
            both = torch.cat(given) if given else None
            z = self._convolved_by(x, torch.cat([self.taken(part) for part in PARTS]), both)
            last = x.is_contiguous(memory_format=torch.channels_last)
            order = torch.channels_last if last else torch.contiguous_format
            above, below = (half.contiguous(memory_format=order) for half in z.chunk(2, 1))
            return above, below
        above, below = (
            self._convolved_by(x, self.taken(part), b)
            for part, b in zip(PARTS, biases, strict=True)
        )
        return above, below

    def way_back(self, s: Tensor, size: Sequence[int]) -> str:
        """The fastest way of two tensors like s to the rows and columns of the input."""
        if not is_worth_measuring(s.shape, self.weight.shape, size):
            return ONE_BY_ONE
        back = partial(self.back, s=(s, s), takes=PARTS, size=size)
        ways = {way: partial(back, way) for way in self._ways(s)}
        return fastest(s, self._convolved("W+^T s + W-^T t", s, size), ways)

    def back(self, way: str, s: Pair, takes: tuple[BySign, BySign], size: Sequence[int]) -> Tensor:
        """`W'^T s + W''^T t`."""
        if way == KERNEL:
            return tensor_cores.fused_convolution(
                s[0],
                self.weight,
                stride=self.stride,
                padding=self.padding,
                positive=takes[0].positive,
                negative=takes[0].negative,
                input_size=size,
                other=s[1],
                other_positive=takes[1].positive,
                other_negative=takes[1].negative,
            )
        if way == SIDE_BY_SIDE:
            both = torch.cat([take(self.weight) for take in takes])
            return self._sent_back_by(torch.cat(s, 1), both, size)
        above, below = (
            self._sent_back_by(one, self.taken(take), size)
            for one, take in zip(s, takes, strict=True)
        )
        return above.add_(below)

    def _ways(self, x: Tensor) -> tuple[str, ...]:
        kernel = tensor_cores.suits(x, self.weight, dilation=self.dilation)
        return (ONE_BY_ONE, SIDE_BY_SIDE, KERNEL) if kernel else (ONE_BY_ONE, SIDE_BY_SIDE)

    def _convolved(self, form: str, x: Tensor, result: Sequence[int]) -> Convolved:
        return Convolved(
            form,
            x=tuple(x.shape),
            weight=tuple(self.weight.shape),
            stride=tuple(self.stride),
            padding=tuple(self.padding),
            dilation=tuple(self.dilation),
            result=tuple(result),
            channels_last=x.is_contiguous(memory_format=torch.channels_last),
            dtype=x.dtype,
            tf32=x.dtype == torch.float32 and tensor_cores.tf32_is_allowed(),
            device=x.device,
        )

    def _convolved_by(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        geometry = (self.stride, self.padding, self.dilation, False, [0, 0], 1)
        return torch.convolution(x, weight, bias, *geometry)

    def _sent_back_by(self, s: Tensor, weight: Tensor, size: Sequence[int]) -> Tensor:
        own = (self.stride, self.padding, self.dilation)
        rest = left_over(size, s.shape[2:], weight.shape[2:], *own)
        return torch.convolution(s, weight, None, *own, True, rest, 1)
