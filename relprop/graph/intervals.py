"""What an interval of an operator's output reads of its input, along one dimension.

Intervals are `(start, stop)` in the coordinates of the whole activation. The input's interval that
an operator *reads* is cut off at the input's ends. What it *gives*, when it runs on that interval
alone, holds what was asked for; beyond it there may be more, of no meaning.
"""

from __future__ import annotations

from dataclasses import dataclass

Interval = tuple[int, int]
Box = tuple[Interval, ...]


def clipped(interval: Interval, size: int) -> Interval:
    """The part of an interval that lies in `[0, size)`."""
    return max(interval[0], 0), min(interval[1], size)


def hull(a: Box, b: Box) -> Box:
    """The smallest box that holds both."""
    return tuple((min(i[0], j[0]), max(i[1], j[1])) for i, j in zip(a, b, strict=True))


def lengths(box: Box) -> tuple[int, ...]:
    """How long a box is in each dimension."""
    return tuple(stop - start for start, stop in box)


@dataclass(frozen=True)
class Taps:
    """`kernel` taps, `dilation` apart, that meet `size` inputs by a stride and with a padding."""

    kernel: int
    stride: int
    dilation: int
    padding: int
    size: int

    @property
    def span(self) -> int:
        """From the first tap to the last."""
        return self.dilation * (self.kernel - 1)


@dataclass(frozen=True)
class Windows(Taps):
    """Windows of `kernel` taps, a stride apart, over `size` inputs with `padding` before them."""

    def whole(self, out: Interval) -> Interval:
        """What the windows of `out` cover, padding included."""
        first = out[0] * self.stride - self.padding
        return first, (out[1] - 1) * self.stride - self.padding + self.span + 1

    def reads(self, out: Interval) -> Interval:
        """What they cover of the input."""
        return clipped(self.whole(out), self.size)

    def border(self, out: Interval) -> tuple[int, int]:
        """What they cover before the input, and after it."""
        start, stop = self.whole(out)
        return max(0, -start), max(0, stop - self.size)


@dataclass(frozen=True)
class PaddedWindows(Windows):
    """Windows of an operator that pads whatever it is given: both ends of a tile as well.

    A tile so begins where the stride leads to, early enough for the windows that are asked for to
    see none of the padding that is not there in truth.
    """

    ceil: bool

    def first(self, out: Interval) -> int:
        """The first window that the operator gives."""
        return max(0, out[0] - -(-self.padding // self.stride))

    def reads(self, out: Interval) -> Interval:
        """From the first window on, to the end of the last one asked for."""
        return self.first(out) * self.stride, min(self.whole(out)[1], self.size)

    def gives(self, out: Interval) -> Interval:
        """As many windows as torch makes of what is read."""
        start, stop = self.reads(out)
        free = stop - start + 2 * self.padding - self.span - 1
        count = free // self.stride + 1
        if self.ceil and free % self.stride and count * self.stride < stop - start + self.padding:
            count += 1  # the last window must begin inside, or in the padding before
        return self.first(out), self.first(out) + count


@dataclass(frozen=True)
class Scattered(Taps):
    """A transposed convolution: input i goes to `i * stride - padding + dilation * tap`."""

    def reads(self, out: Interval) -> Interval:
        """Every input that goes to one of `out`; at least one."""
        above = -(-(out[0] + self.padding - self.span) // self.stride)
        first = min(above, (out[0] + self.padding) // self.stride)
        last = (out[1] - 1 + self.padding) // self.stride
        return min(max(first, 0), self.size - 1), min(last, self.size - 1) + 1

    def gives(self, out: Interval) -> Interval:
        """What they go to, without any padding taken off, and up to the end of `out`."""
        start, stop = self.reads(out)
        end = (stop - 1) * self.stride - self.padding + self.span + 1
        return start * self.stride - self.padding, max(end, out[1])

    def beyond(self, out: Interval) -> int:
        """How much of `out` lies past where the last input goes to."""
        _, stop = self.reads(out)
        return max(0, out[1] - ((stop - 1) * self.stride - self.padding + self.span + 1))


@dataclass(frozen=True)
class Enlarged:
    """Every input becomes `factor` outputs, each made from `halo` more inputs on both sides."""

    factor: int
    halo: int
    size: int

    def reads(self, out: Interval) -> Interval:
        """The inputs of `out`, and their neighbours."""
        start, stop = out[0] // self.factor - self.halo, -(-out[1] // self.factor) + self.halo
        return clipped((start, stop), self.size)

    def gives(self, out: Interval) -> Interval:
        """All outputs of what is read."""
        start, stop = self.reads(out)
        return start * self.factor, stop * self.factor


@dataclass(frozen=True)
class Shifted:
    """`before` zeros in front of the input (or so many elements off, if it is negative)."""

    before: int
    size: int

    def reads(self, out: Interval) -> Interval:
        """The inputs in `out`; at least one, though it be beside it."""
        start = min(max(out[0] - self.before, 0), self.size - 1)
        return start, max(min(out[1] - self.before, self.size), start + 1)

    def gives(self, out: Interval) -> Interval:
        """`out`, and the inputs that are read."""
        start, stop = self.reads(out)
        return min(out[0], start + self.before), max(out[1], stop + self.before)

    def border(self, out: Interval) -> tuple[int, int]:
        """The zeros before what is read, and after it."""
        (start, stop), given = self.reads(out), self.gives(out)
        return start + self.before - given[0], given[1] - stop - self.before


@dataclass(frozen=True)
class Strided:
    """Every `step`-th element, from `start` on."""

    start: int
    step: int

    def reads(self, out: Interval) -> Interval:
        """From the first element of `out` to the last."""
        return self.start + self.step * out[0], self.start + self.step * (out[1] - 1) + 1
